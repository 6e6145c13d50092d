"""Writes LAMMPS data files in units metal and atom_style atomic, for `read_data`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from allegro_md.io.convert.lammps import PER_PS, LammpsBox, boundary, box_of, types_of
from allegro_md.io.convert.outline import Format, Outline
from allegro_md.io.convert.text_rows import columns_of, lines_of, number
from allegro_md.io.disk import disk_errors
from allegro_md.io.frames import StoredFrame


class DataWriter:
    """A data file with the sections Masses, Atoms and Velocities."""

    def __init__(self, path: Path, outline: Outline) -> None:
        """Begins the file `path`."""
        self._path, self._outline = path, outline
        outline.say("the data file is in LAMMPS's units metal")

    def write(self, frame: StoredFrame) -> None:
        """Writes the frame."""
        fields, types = self._outline.source.fields, types_of(self._outline)
        box = box_of(frame, self._outline)
        if not all(frame.cell.periodic):
            kinds = " ".join(flag[0] for flag in boundary(frame.cell))
            self._outline.say(f"a data file does not say which axes are periodic: boundary {kinds} in LAMMPS")
        masses = "".join(
            f"{kind} {number(mass)} # {symbol}\n"
            for kind, (mass, symbol) in enumerate(zip(types.masses, types.symbols, strict=True), 1)
        )
        ids = columns_of(np.arange(1, len(frame) + 1))
        atoms = [*ids, *columns_of(types.of), *columns_of(box.oriented.turn(frame.position))]
        if "image" in fields:
            atoms += columns_of(frame.image)
        text = (
            f"LAMMPS data file, units = metal, step {frame.step}\n\n{len(frame)} atoms\n"
            f"{len(types.symbols)} atom types\n\n{_header(box)}\nMasses\n\n{masses}\n"
            f"Atoms # atomic\n\n{lines_of(atoms)}"
        )
        if "velocity" in fields:
            velocity = box.oriented.turn(frame.velocity) * PER_PS
            text += f"\nVelocities\n\n{lines_of([*ids, *columns_of(velocity)])}"
        with disk_errors(self._path):
            self._path.write_text(text, encoding="utf-8")

    def close(self, whole: bool) -> None:
        """Does nothing: the file has been written."""


def _header(box: LammpsBox) -> str:
    """The lines about the box."""
    text = "".join(
        f"{number(low)} {number(high)} {axis}lo {axis}hi\n"
        for axis, low, high in zip("xyz", box.lower, box.upper, strict=True)
    )
    return text + (" ".join(map(number, box.tilts)) + " xy xz yz\n" if any(box.tilts) else "")


FORMAT = Format(
    "LAMMPS data", (".data", ".lmp", ".lammps-data"),
    frozenset({"position", "image", "velocity", "mass", "origin"}), False, DataWriter,
)
