"""Writes extended XYZ with the names of columns that ASE reads; velocities as momenta in ASE's unit."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from allegro_md.config.fields import SYMBOLS
from allegro_md.io.convert.outline import Format, Outline
from allegro_md.io.convert.text_rows import columns_of, lines_of, number
from allegro_md.io.disk import disk_errors
from allegro_md.io.frames import StoredFrame


class ExtxyzWriter:
    """Extended XYZ: positions as stored, images beside them."""

    def __init__(self, path: Path, outline: Outline) -> None:
        """Begins the file `path`."""
        self._path, self._outline = path, outline
        with disk_errors(path):
            self._file = path.open("w", encoding="utf-8")
        self._symbols = [SYMBOLS[z - 1] for z in outline.source.species.tolist()]

    def write(self, frame: StoredFrame) -> None:
        """Adds a frame."""
        from ase.units import fs

        outline, fields = self._outline, self._outline.source.fields
        names, columns = "species:S:1:pos:R:3", [self._symbols, *columns_of(frame.position)]
        if "velocity" in fields:
            names += ":momenta:R:3"
            columns += columns_of(outline.masses[:, None] * (frame.velocity.astype(np.float64) / fs))
        if "force" in fields:
            names += ":forces:R:3"
            columns += columns_of(frame.force)
        if "image" in fields:
            names += ":image:I:3"
            columns += columns_of(frame.image)
        if not outline.ordinary_masses:
            names += ":masses:R:1"
            columns += columns_of(outline.masses)
        comment = f'Properties={names} pbc="{" ".join("FT"[flag] for flag in frame.cell.periodic)}" step={frame.step}'
        if outline.timed:
            comment += f" time_fs={number(frame.time)}"
        if frame.cell.given_rows.any():
            comment = f'Lattice="{" ".join(map(number, frame.cell.given_rows.ravel()))}" {comment}'
        with disk_errors(self._path):
            self._file.write(f"{len(frame)}\n{comment}\n{lines_of(columns)}")

    def close(self, whole: bool) -> None:
        """Ends the file."""
        with disk_errors(self._path):
            self._file.close()


FORMAT = Format(
    "extended XYZ", (".extxyz", ".xyz"),
    frozenset({"position", "image", "velocity", "force", "mass", "step", "time"}), True, ExtxyzWriter,
)
