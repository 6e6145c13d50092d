"""Checks that positions can be in the unit they are said to be in, or are fractions of the cell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product

import numpy as np
from ase.data import covalent_radii
from ase.neighborlist import primitive_neighbor_list
from scipy.spatial import cKDTree

from allegro_md.cell import Cell
from allegro_md.io.labeled import Frame
from allegro_md.training.doubt import Array, Doubt, Sample
from allegro_md.units import DIMENSIONS

SHORTEST, LONGEST = 0.5, 6.0
"""Å; medians of the distance to the nearest atom beyond these are no distances of atoms in Å."""

STRETCHED, SQUEEZED = 1.5, 0.6
"""That median over the sum of covalent radii: 0.8 to 1.2 in molecules, metals and oxides; a bohr makes it 1.9 or 0.53
times as large."""

_FRACTION = 1.05
"""Largest coordinate of atoms that may be fractions of the cell, a little outside of it."""

_ENVIRONMENT = 5.0
"""Å around an atom within which `asymmetry` looks."""

_NOBLE = (2, 10, 18, 36, 54, 86)


def check_lengths(sample: Sample) -> Iterator[Doubt]:
    """Doubts about positions."""
    found = _medians(sample.frames)
    if found is None or _plausible(found):
        return
    middle, relative = found
    unit = sample.labels.length_unit
    what = f"the nearest atom is {middle:.3g} Å away (median), {relative:.2f} times the sum of the covalent radii"
    if _fractional(sample.frames, DIMENSIONS["length"][unit]):
        remedy = "write Cartesian coordinates: multiply them by the vectors of the cell"
        yield Doubt(f"{what}: all positions are within −1 and 1, fractions of the cell?", "", remedy)
        return
    factor = DIMENSIONS["length"][unit]
    others = [other for other in ("bohr", "Å", "nm", "pm") if DIMENSIONS["length"][other] != factor]
    scaled = {other: DIMENSIONS["length"][other] / factor for other in others}
    other = next((name for name, s in scaled.items() if _plausible((s * middle, s * relative))), None)
    if middle < SHORTEST or relative < SQUEEZED:
        hint = f'write data.labels.length_unit = "{other}" if they are' if other else "correct them"
        yield Doubt(what, "", f"the positions are not in {unit}; {hint}")
    else:
        hint = f'write data.labels.length_unit = "{other}"' if other else "correct the positions"
        yield Doubt(what, "length_unit", f'{hint}, or data.labels.length_unit = "{unit}" if that is their unit')


def _plausible(found: tuple[float, float]) -> bool:
    middle, relative = found
    return SHORTEST <= middle <= LONGEST and SQUEEZED <= relative <= STRETCHED


def _medians(frames: Sequence[Frame]) -> tuple[float, float] | None:
    """Å to the nearest atom, and that over the sum of the covalent radii; None where no frame tells."""
    found = [_nearest(frame) for frame in frames if len(frame.numbers) > 2]
    length = np.concatenate([length for length, _ in found]) if found else np.zeros(0)
    ratio = np.concatenate([ratio for _, ratio in found]) if found else np.zeros(0)
    return (float(np.median(length)), float(np.median(ratio))) if len(ratio) else None


def _fractional(frames: Sequence[Frame], unit: float) -> bool:
    """True where the numbers of the file make sense as fractions of the cell, in whatever unit the cell may be.

    Args:
        frames: some.
        unit: Å, by which the numbers were multiplied.
    """
    whole = [frame for frame in frames if frame.volume > 0.0]
    if not whole or max(float(np.abs(frame.position).max()) for frame in whole) > _FRACTION * unit:
        return False
    read = _medians([replace(frame, position=frame.position / unit @ frame.cell) for frame in whole])
    lengths = {DIMENSIONS["length"][other] / unit for other in ("Å", "bohr", "nm")}
    return read is not None and any(_plausible((scale * read[0], scale * read[1])) for scale in lengths)


def _nearest(frame: Frame) -> tuple[Array, Array]:
    """Å to the nearest atom, and that over the sum of the covalent radii, of each atom that is no noble gas."""
    distance, index = nearest_atoms(frame)
    other = frame.numbers[index]
    some = ~np.isin(frame.numbers, _NOBLE) & ~np.isin(other, _NOBLE)
    ratio = distance / (covalent_radii[frame.numbers] + covalent_radii[other])
    return distance[some], ratio[some]


def nearest_atoms(frame: Frame) -> tuple[Array, Array]:
    """Distance (n,) Å to the nearest atom or image of one, infinite without any, and its index (n,) int."""
    cell = Cell.from_rows(frame.cell, frame.periodic, frame.source)
    fraction, periodic = frame.position @ cell.inverse, np.array(frame.periodic)
    fraction -= np.where(periodic, np.floor(fraction), 0.0)
    shifts = [s for s in product(*((0, -1, 1) if flag else (0,) for flag in frame.periodic))]
    places = (fraction[None] + np.array(shifts)[:, None]).reshape(-1, 3) @ cell.matrix
    distance, index = cKDTree(places).query(places[: len(fraction)], k=2)
    return distance[:, 1], index[:, 1] % len(frame.numbers)


def asymmetry(frame: Frame) -> float:
    """Largest sum of the vectors to the neighbors of an atom, over the sum of their lengths, weighted; 0 to 1.

    It vanishes with the force where the symmetry of a site lets no vector be, and where there are no neighbors.
    """
    center, other, vector, distance = primitive_neighbor_list(
        "ijDd", frame.periodic, frame.cell, frame.position, _ENVIRONMENT
    )
    weight = frame.numbers[other] * (1.0 - distance / _ENVIRONMENT) ** 8  # steep: nearer on one side must count
    n_atoms = len(frame.numbers)
    sums = [np.bincount(center, weight * vector[:, axis], minlength=n_atoms) for axis in range(3)]
    lengths = np.bincount(center, weight * distance, minlength=n_atoms)
    return float(np.max(np.linalg.norm(sums, axis=0) / np.maximum(lengths, 1e-300), initial=0.0))
