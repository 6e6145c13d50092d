"""Writes DCD through MDAnalysis: positions in float32, lengths and angles of the cell, and equal intervals of time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allegro_md.errors import InputError
from allegro_md.io.convert.orientation import orient
from allegro_md.io.convert.outline import Format, Outline
from allegro_md.io.disk import disk_errors
from allegro_md.io.frames import StoredFrame

_FS_PER_AKMA = 48.88821
"""CHARMM's unit of time, sqrt(amu Å² / (kcal/mol)), with the digits that MDAnalysis and NAMD use."""


class DcdWriter:
    """DCD as NAMD and VMD write it: cosines of the angles."""

    def __init__(self, path: Path, outline: Outline) -> None:
        """Begins the file `path`.

        Raises:
            InputError: MDAnalysis is not installed.
        """
        try:
            from MDAnalysis.lib.formats.libdcd import DCDFile
        except ImportError:
            raise InputError(
                "DCD is written through MDAnalysis, which is not installed", str(path.with_suffix("")),
                "install it: pip install 'allegro-md[analysis]'",
            ) from None
        self._path, self._outline = path, outline
        first, interval, timestep = _schedule(outline)
        with disk_errors(path):
            self._file: Any = DCDFile(str(path), "w")
            self._file.write_header(
                remarks="written by allegro-md", natoms=outline.source.n_atoms, istart=first, nsavc=interval,
                delta=timestep / _FS_PER_AKMA, is_periodic=1,
            )  # fmt: skip
        outline.say("DCD holds numbers in float32")

    def write(self, frame: StoredFrame) -> None:
        """Adds a frame."""
        cell, say = frame.cell, self._outline.say
        box, position = np.zeros(6), frame.position
        if cell.bounded:
            oriented = orient(cell, str(self._outline.source.path))
            if oriented.rotation is not None:
                say("cell turned so that a lies along x and b in the plane of x and y, as the format asks; "
                    "positions turned with it")
            box, position = _lengths_and_cosines(oriented.rows), oriented.turn(position)
            if not all(cell.periodic):
                say("DCD does not say which axes are periodic: readers take all three for periodic")
        elif any(cell.periodic):
            say("DCD holds a whole cell or none: the cell, which lacks a vector, is left out")
        with disk_errors(self._path):
            self._file.write(xyz=position.astype(np.float32), box=box)

    def close(self, whole: bool) -> None:
        """Ends the file."""
        with disk_errors(self._path):
            self._file.close()


def _lengths_and_cosines(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """(6,) as the file has them: A, cos γ, B, cos β, cos α, C of the lattice `rows` (3, 3) Å."""
    a, b, c = np.linalg.norm(rows, axis=1)
    cosine = rows @ rows.T / np.outer((a, b, c), (a, b, c))
    return np.array([a, cosine[0, 1], b, cosine[0, 2], cosine[1, 2], c])


def _schedule(outline: Outline) -> tuple[int, int, float]:
    """First step, steps between frames and time step in fs; 0 fs where the frames do not come at equal intervals."""
    steps, times = outline.steps, outline.times
    interval = int(steps[1] - steps[0]) if len(steps) > 1 else 0
    timestep = float(times[1] - times[0]) / interval if interval > 0 else 0.0
    regular = interval > 0 and timestep > 0.0 and bool((np.diff(steps) == interval).all())
    if not regular or not np.allclose(times, steps * timestep, rtol=1e-6, atol=1e-6 * timestep):
        outline.say("DCD holds a time step and equal intervals only: the steps and times are left out")
        return 0, 1, 0.0
    return int(steps[0]), interval, timestep


FORMAT = Format("DCD", (".dcd",), frozenset({"position", "step", "time"}), True, DcdWriter)
