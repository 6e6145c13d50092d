"""Writes LAMMPS dump files as text in units metal, with the nine lines before the atoms that other readers expect."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from allegro_md.io.convert.lammps import PER_PS, LammpsBox, boundary, box_of, types_of
from allegro_md.io.convert.outline import Format, Outline
from allegro_md.io.convert.text_rows import columns_of, lines_of, number
from allegro_md.io.disk import disk_errors
from allegro_md.io.frames import StoredFrame


class DumpWriter:
    """A dump with the columns id, type, element, mass, coordinates, images, velocities and forces."""

    def __init__(self, path: Path, outline: Outline) -> None:
        """Begins the file `path`."""
        self._path, self._outline = path, outline
        with disk_errors(path):
            self._file = path.open("w", encoding="utf-8")
        types = types_of(outline)
        self._fixed = [
            *columns_of(np.arange(1, outline.source.n_atoms + 1)), *columns_of(types.of),
            [types.symbols[kind - 1] for kind in types.of.tolist()], *columns_of(outline.masses),
        ]  # fmt: skip
        outline.say("the dump is in LAMMPS's units metal")

    def write(self, frame: StoredFrame) -> None:
        """Adds a frame."""
        fields, box = self._outline.source.fields, box_of(frame, self._outline)
        turn = box.oriented.turn
        names, columns = "id type element mass x y z", [*self._fixed, *columns_of(turn(frame.position))]
        if "image" in fields:
            names += " ix iy iz"
            columns += columns_of(frame.image)
        if "velocity" in fields:
            names += " vx vy vz"
            columns += columns_of(turn(frame.velocity) * PER_PS)
        if "force" in fields:
            names += " fx fy fz"
            columns += columns_of(turn(frame.force))
        with disk_errors(self._path):
            self._file.write(
                f"ITEM: TIMESTEP\n{frame.step}\nITEM: NUMBER OF ATOMS\n{len(frame)}\n"
                f"{_bounds(box, ' '.join(boundary(frame.cell)))}ITEM: ATOMS {names}\n{lines_of(columns)}"
            )

    def close(self, whole: bool) -> None:
        """Ends the file."""
        with disk_errors(self._path):
            self._file.close()


def _bounds(box: LammpsBox, flags: str) -> str:
    """The item BOX BOUNDS; a tilted box by the box that bounds it, as LAMMPS has it."""
    lower, upper, (xy, xz, yz) = box.lower.copy(), box.upper.copy(), box.tilts
    if not any(box.tilts):
        rows = [f"{number(a)} {number(b)}\n" for a, b in zip(lower, upper, strict=True)]
        return f"ITEM: BOX BOUNDS {flags}\n" + "".join(rows)
    lower += (min(0.0, xy, xz, xy + xz), min(0.0, yz), 0.0)
    upper += (max(0.0, xy, xz, xy + xz), max(0.0, yz), 0.0)
    rows = [" ".join(map(number, words)) + "\n" for words in zip(lower, upper, box.tilts, strict=True)]
    return f"ITEM: BOX BOUNDS xy xz yz {flags}\n" + "".join(rows)


FORMAT = Format(
    "LAMMPS dump", (".dump", ".lammpstrj"),
    frozenset({"position", "image", "velocity", "force", "mass", "step", "origin"}), True, DumpWriter,
)
