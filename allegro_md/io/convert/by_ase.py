"""Writes whatever else ASE writes, such as CIF, POSCAR, PDB or .traj; what got lost is found by reading it back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from allegro_md.errors import InputError, one_line
from allegro_md.io.convert.outline import Format, FrameWriter, Outline
from allegro_md.io.disk import disk_errors
from allegro_md.io.frames import StoredFrame

_DATABASES = ("db", "json")
"""Formats that ASE chooses by the name of the file, which is another one while it is being written."""


class AseWriter:
    """A file of a format of ASE; formats that cannot be added to hold all frames in memory."""

    def __init__(self, path: Path, outline: Outline, kind: str) -> None:
        """Begins the file `path` in ASE's format `kind`."""
        from ase.io.formats import ioformats

        self._path, self._outline, self._kind = path, outline, kind
        self._adds = bool(ioformats[kind].can_append)
        self._images: list[Any] = []

    def write(self, frame: StoredFrame) -> None:
        """Adds a frame."""
        atoms = atoms_of(frame, self._outline)
        if not self._images or not self._adds:
            self._images.append(atoms)
        if self._adds:
            self._put(atoms, append=True)

    def close(self, whole: bool) -> None:
        """Writes the frames that wait, and says what is not found when the file is read back."""
        if not whole:
            return
        if not self._adds:
            self._put(self._images if len(self._images) > 1 else self._images[0])
        self._compare()

    def _put(self, images: Any, **options: Any) -> None:
        from ase.io import write

        with disk_errors(self._path):
            try:
                write(self._path, images, format=self._kind, parallel=False, **options)
            except (OSError, MemoryError):
                raise
            except Exception as error:  # ASE's writers raise anything
                reason = one_line(error)
                raise InputError(
                    f"ASE cannot write it as {self._kind} ({reason})", str(self._path.with_suffix("")),
                    "choose another format, such as extended XYZ (.extxyz)",
                ) from None

    def _compare(self) -> None:
        """Says what of the first frame the file does not hold."""
        from ase.io import read

        wanted, say = self._images[0], self._outline.say
        found: Any
        try:
            found = read(self._path, index=0, format=self._kind, parallel=False)
        except Exception:  # noqa: BLE001  formats that ASE writes only
            say(f"ASE does not read {self._kind}: not compared with what was to be written")
            return
        lost = [name for name, there in _contents(wanted).items() if there and not _contents(found)[name]]
        if lost:
            say(f"{self._kind} as ASE writes it holds no {', '.join(lost)}: left out")
        if not np.array_equal(found.numbers, wanted.numbers):
            say(f"{self._kind} as ASE writes it has the atoms in another order")
            return
        others, whole = range(len(found)), bool(found.cell.rank == 3 and found.pbc.all())
        error = found.get_distances(0, others, mic=whole) - wanted.get_distances(0, others, mic=whole)
        if np.abs(error).max() > 1e-12:
            say(f"{self._kind} as ASE writes it changes distances by up to {np.abs(error).max():.0e} Å")
        if found.has("momenta") and wanted.has("momenta"):
            before, after = (np.linalg.norm(atoms.get_velocities(), axis=1) for atoms in (wanted, found))
            share = np.abs(after - before).max() / before.max() if before.any() else 0.0
            if share > 1e-10:
                say(f"{self._kind} as ASE writes it changes velocities by up to {share:.0e} of the largest")


def _contents(atoms: Any) -> Mapping[str, bool]:
    """Parts that a configuration of ASE has."""
    return {
        "velocities": atoms.has("momenta"), "forces": atoms.calc is not None and "forces" in atoms.calc.results,
        "masses": atoms.has("masses"), "cell": bool(atoms.cell.any()),
    }  # fmt: skip


def atoms_of(frame: StoredFrame, outline: Outline) -> Any:
    """A frame as `ase.Atoms`, with velocities in ASE's unit, and forces as results of a calculation."""
    from ase import Atoms, units
    from ase.calculators.singlepoint import SinglePointCalculator

    source = outline.source
    atoms = Atoms(
        numbers=source.species, positions=frame.position.astype(np.float64), cell=frame.cell.given_rows,
        pbc=frame.cell.periodic,
    )  # fmt: skip
    if not outline.ordinary_masses:
        atoms.set_masses(outline.masses)
    if "velocity" in source.fields:
        atoms.set_velocities(frame.velocity.astype(np.float64) / units.fs)
    if "force" in source.fields:
        atoms.calc = SinglePointCalculator(atoms, forces=frame.force.astype(np.float64))
    return atoms


def format_of(path: Path) -> Format | None:
    """The format of ASE that a name stands for, or None where ASE writes none of it."""
    from ase.io.formats import UnknownFileTypeError, filetype, ioformats

    try:
        kind = filetype(str(path), read=False)
    except UnknownFileTypeError:
        return None
    if kind not in ioformats or not ioformats[kind].can_write or kind in _DATABASES:
        return None

    def begin(unfinished: Path, outline: Outline) -> FrameWriter:
        return AseWriter(unfinished, outline, kind)

    holds = frozenset({"position", "velocity", "force", "mass"})  # as far as ASE writes them: they are looked for
    return Format(kind, (path.suffix,), holds, not ioformats[kind].single, begin)
