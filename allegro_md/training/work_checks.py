"""Checks that energies, forces and stresses of a file belong together: the work along the way between similar frames.

From one frame to another of the same atoms the energy changes by −F·Δu + V σ:ε, to third order with the mean of both
ends. A fit of the two coefficients over pairs of similar frames gives 1 and 1, or the wrong sign or unit.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from allegro_md.cell import Cell
from allegro_md.io.labeled import Frame
from allegro_md.io.stress_labels import factors_of_units
from allegro_md.training.doubt import Array, Doubt, Sample
from allegro_md.units import DIMENSIONS, FORCE_UNITS

FARTHEST = 0.35
"""Å, root mean square of the displacements between two frames, a strain of 1 counting as 3 Å: the third order grows."""

FEWEST, PAIRS_PER_FRAME = 6, 3

EXPLAINED = 0.9
"""Least part of the variance of the energy differences that the fit must explain, and see `_MATTERS`."""

_MATTERS = 0.05
"""Least part of it to which a term must contribute so that its coefficient is judged."""

CLOSE = (0.7, 1.4)
"""Coefficients that are taken for 1."""

SAME_FACTOR = 0.1
"""Relative; how near the factor of a unit must be."""

_STRAIN = 3.0


@dataclass(frozen=True)
class _Work:
    """Of some pairs of frames, each weighted by the inverse of the square of its distance.

    Attributes:
        energy: (p,) eV differences.
        forces: (p,) eV, −F·Δu.
        stress: (p,) eV, V σ:ε; zeros where the frames have no stress.
        atoms: per frame.
        volume: Å³, mean.
    """

    energy: Array
    forces: Array
    stress: Array
    atoms: int
    volume: float


def check_work(sample: Sample) -> Iterator[Doubt]:
    """Doubts about sign and unit of forces and stresses, as far as frames are similar enough to tell.

    Args:
        sample: frames of a file.
    """
    work = _work(sample.frames)
    if work is None:
        return
    forces, stress = _coefficients(work)
    if forces is not None and not CLOSE[0] < forces < CLOSE[1]:
        yield from _about_forces(forces, work.atoms, sample)
    elif stress is not None and not CLOSE[0] < stress < CLOSE[1]:
        yield from _about_stress(stress, work.volume, sample)


def energies_confirm_stress(frames: Sequence[Frame]) -> bool:
    """Tells if differences of energy between similar frames show that sign and unit of the stresses are right."""
    work = _work(frames)
    stress = None if work is None else _coefficients(work)[1]
    return stress is not None and CLOSE[0] < stress < CLOSE[1]


def _about_forces(coefficient: float, atoms: int, sample: Sample) -> Iterator[Doubt]:
    """The energies change by `coefficient` times what the forces say."""
    what = f"between similar frames the energies change by {coefficient:.3g} times the work of the forces"
    if -CLOSE[1] < coefficient < -CLOSE[0]:
        yield Doubt(f"{what}: the forces have the other sign (they are dE/dx)", "", "reverse their sign in the file",
                    "forces")  # fmt: skip
        return
    if atoms > 1 and abs(coefficient * atoms - 1.0) < SAME_FACTOR:
        remedy = "give the energy of all atoms of a frame: multiply it by their number"
        yield Doubt(f"{what}, and a frame has {atoms} atoms: they seem to be energies per atom", "", remedy, "energy")
        return
    labels = sample.labels
    read = FORCE_UNITS.get(labels.force_unit)
    if read is None:
        read = DIMENSIONS["energy"][labels.energy_unit] / DIMENSIONS["length"][labels.length_unit]
    for unit in ("eV/Å", "hartree/bohr", "Ry/bohr", "hartree/Å", "eV/bohr", "kcal/mol/Å", "kJ/mol/Å", "meV/Å"):
        if abs(coefficient * read / FORCE_UNITS[unit] - 1.0) < SAME_FACTOR:
            remedy = f'write data.labels.force_unit = "{unit}", or the energy\'s unit in data.labels.energy_unit'
            yield Doubt(f"{what}: one of them is in another unit", "", remedy, "forces")
            return


def _about_stress(coefficient: float, volume: float, sample: Sample) -> Iterator[Doubt]:
    """The energies change by `coefficient` times what the stresses say."""
    if CLOSE[0] < -coefficient < CLOSE[1]:
        unit, sign = None, -1.0
    elif sample.virial and "stress_unit" not in sample.labels.model_fields_set:
        # Divided by the volume although it is a stress?
        unit, sign = factors_of_units("", volume / coefficient, 2.0 * SAME_FACTOR)
    else:
        unit, sign = factors_of_units(sample.labels.stress_unit, 1.0 / coefficient, 2.0 * SAME_FACTOR)
    what = f"between similar frames the energies change by {coefficient:.3g} times the work of the stresses"
    remedies = []
    if unit is not None:
        what += f": the stress seems to be in {unit}"
        remedies.append(f'data.labels.stress_unit = "{unit}"')
    if sign < 0.0:
        what += f"{', and' if unit else ':'} the stress seems to have the other sign"
        remedies.append(f'data.labels.stress_sign = "{sample.other_sign}"')
    if unit is None and not (sign < 0.0 and CLOSE[0] < -coefficient < CLOSE[1]):
        return  # no unit explains it: the frames may be too far from each other
    yield Doubt(what, "", f"write {' and '.join(remedies)}, or train without it: loss.stress = 0", "stress")


# --- the fit ------------------------------------------------------------------------------------------------------


def _coefficients(work: _Work) -> tuple[float | None, float | None]:
    """Of the work of forces and of stresses in the differences of energy; None: they do not tell."""
    total = float(work.energy @ work.energy)
    terms = [work.forces, work.stress]
    used = [k for k, term in enumerate(terms) if term.any()]
    if total == 0.0 or not used:
        return None, None
    matrix = np.stack([terms[k] for k in used], axis=1)
    scale = np.linalg.norm(matrix, axis=0)
    found, _, rank, _ = np.linalg.lstsq(matrix / scale, work.energy, rcond=1e-6)
    rest = work.energy - (matrix / scale) @ found
    if rank < len(used) or float(rest @ rest) > (1.0 - EXPLAINED) * total:
        return None, None
    result: list[float | None] = [None, None]
    for k, value in zip(used, found, strict=True):
        if value**2 > _MATTERS * total:
            result[k] = float(value / scale[used.index(k)])
    return result[0], result[1]


@dataclass(frozen=True)
class _Place:
    """A frame, its cell's matrix (3, 3) Å, and the fractional coordinates (n, 3) of its atoms."""

    frame: Frame
    matrix: Array
    fraction: Array

    @staticmethod
    def of(frame: Frame) -> _Place:
        cell = Cell.from_rows(frame.cell, frame.periodic, frame.source)
        return _Place(frame, np.asarray(cell.matrix), frame.position @ cell.inverse)


def _work(sample: Sequence[Frame]) -> _Work | None:
    """Of the pairs of similar frames of the group with most of them."""
    groups: dict[tuple[bytes, tuple[bool, ...]], list[Frame]] = defaultdict(list)
    for frame in sample:
        if frame.energy is not None and frame.forces is not None and np.isfinite(frame.forces).all():
            groups[frame.numbers.tobytes(), frame.periodic].append(frame)
    group = max(groups.values(), key=len, default=[])
    places = [_Place.of(frame) for frame in group]
    pairs = [pair for i, a in enumerate(places) for b in places[:i] if (pair := _pair(a, b)) is not None]
    pairs = sorted(pairs)[: PAIRS_PER_FRAME * len(group)]
    if len(pairs) < FEWEST:
        return None
    distance, *rows = np.array(pairs).T
    energy, forces, stress = (row / distance**2 for row in rows)
    volume = float(np.mean([frame.volume for frame in group]))
    return _Work(energy, forces, stress, len(group[0].numbers), volume)


def _pair(one: _Place, other: _Place) -> tuple[float, float, float, float] | None:
    """Distance (Å), difference of energy, work of forces and of stresses (eV) of two frames; None if too far apart."""
    a, b = one.frame, other.frame
    assert a.energy is not None and b.energy is not None and a.forces is not None and b.forces is not None
    mean = 0.5 * (one.matrix + other.matrix)
    strain: Array = np.zeros((3, 3))
    if all(a.periodic):
        strain = np.asarray(np.linalg.solve(mean, other.matrix - one.matrix))
    elif np.abs(one.matrix - other.matrix).max() > 1e-6:  # along a free axis the cell is no information
        return None
    fraction = other.fraction - one.fraction
    moved: Array = (fraction - np.where(a.periodic, np.round(fraction), 0.0)) @ mean
    moved -= moved.mean(axis=0)
    distance = float(np.sqrt((moved**2).sum(axis=1).mean() + _STRAIN**2 * (strain**2).sum()))
    if not 1e-5 < distance < FARTHEST:
        return None
    tension = np.zeros((3, 3))
    if a.stress is not None and b.stress is not None:
        tension = 0.5 * (a.volume * a.stress + b.volume * b.stress)
    elif strain.any():
        return None
    stress = float((tension * strain).sum())
    return distance, b.energy - a.energy, -0.5 * float(((a.forces + b.forces) * moved).sum()), stress
