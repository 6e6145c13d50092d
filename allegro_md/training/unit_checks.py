"""Checks of units: compares the magnitudes of the labels of a file with what their stated units allow.

A doubt about a unit that the input does not state is an error; stating the unit makes it a warning.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from ase.data import covalent_radii
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from allegro_md.cell import Cell
from allegro_md.config.training import LabelsConfig
from allegro_md.errors import InputError
from allegro_md.io.labeled import Frame
from allegro_md.io.total_energy import unit_of_total
from allegro_md.units import DIMENSIONS, EV_PER_A3_IN_GPA

Array = NDArray[np.float64]

SAMPLE = 60
"""Frames of a file that are looked at."""

SHORTEST, LONGEST = 0.5, 6.0
"""Å; medians of the distance to the nearest atom beyond these are no distances of atoms in Å."""

STRETCHED, SQUEEZED = 1.5, 0.6
"""That median over the sum of covalent radii: 0.8 to 1.2 in molecules, metals and oxides; a bohr makes it 1.9 or 0.53
times as large."""

LARGEST_FORCE, SMALLEST_FORCE = 50.0, 1e-4
"""eV/Å, root mean square of the components."""

STIFFEST = 150.0
"""eV/Å²; see `_stiffness`. 35 in organic molecules, 18 in water, below 10 in metals."""

STRONG = 5.0
"""eV/Å; weaker forces tell nothing by the stiffness: energies of small displacements of one size hardly differ."""

LARGEST_STRESS = 0.6
"""eV/Å³ (100 GPa), root mean square of the components."""

_NOBLE = (2, 10, 18, 36, 54, 86)
_ENOUGH = 10


@dataclass(frozen=True)
class Doubt:
    """Something that does not look right.

    Attributes:
        what: does not look right.
        about: the key of ``data.labels`` whose statement would settle it; empty where none would.
        remedy: what to do.
    """

    what: str
    about: str
    remedy: str


def check_units(files: Sequence[tuple[Path, Sequence[Frame]]], labels: LabelsConfig, stress: bool) -> list[str]:
    """Checks some frames of each file; returns warnings.

    Args:
        files: path and frames.
        labels: as the input has them.
        stress: whether stresses are learned.

    Raises:
        InputError: names the file and the unit that has to be stated, or cannot be right.
    """
    remarks = []
    for path, frames in files:
        sample = [frames[k] for k in np.unique(np.linspace(0, len(frames) - 1, SAMPLE).astype(int))]
        for find in _FINDERS:
            for doubt in find(sample, labels):
                unimportant = doubt.about.startswith("stress") and not stress
                if doubt.about in labels.model_fields_set or unimportant:
                    remarks.append(f"{path.name}: {doubt.what}")
                else:
                    raise InputError(doubt.what, str(path), doubt.remedy)
        remarks += [f"{path.name}: {what}" for what in _net_force(sample)]
    return remarks


def _state(about: str, unit: str, other: str) -> str:
    """Writes the remedy for a doubtful unit."""
    return f'write data.labels.{about} = "{other}", or "{unit}" if they are'


# --- lengths ------------------------------------------------------------------------------------------------------


def _lengths(sample: Sequence[Frame], labels: LabelsConfig) -> Iterator[Doubt]:
    found = [_nearest(frame) for frame in sample if len(frame.numbers) > 2]
    length = np.concatenate([length for length, _ in found]) if found else np.zeros(0)
    ratio = np.concatenate([ratio for _, ratio in found]) if found else np.zeros(0)
    if not len(ratio):
        return
    middle, relative = float(np.median(length)), float(np.median(ratio))
    what = f"the nearest atom is {middle:.3g} Å away (median), {relative:.2f} times the sum of the covalent radii"
    other = "Å" if labels.length_unit == "bohr" else "nm" if middle < 0.3 else "bohr"
    if middle < SHORTEST or relative < SQUEEZED:
        yield Doubt(what, "", f'the positions are not in {labels.length_unit}; data.labels.length_unit = "{other}"?')
    elif middle > LONGEST or relative > STRETCHED:
        yield Doubt(what, "length_unit", _state("length_unit", labels.length_unit, other))


def _nearest(frame: Frame) -> tuple[Array, Array]:
    """Å to the nearest atom, and that over the sum of the covalent radii, of each atom that is no noble gas."""
    cell = Cell.from_rows(frame.cell, frame.periodic, frame.source)
    fraction, periodic = frame.position @ cell.inverse, np.array(frame.periodic)
    fraction -= np.where(periodic, np.floor(fraction), 0.0)
    shifts = [s for s in product(*((0, -1, 1) if flag else (0,) for flag in frame.periodic))]
    places = (fraction[None] + np.array(shifts)[:, None]).reshape(-1, 3) @ cell.matrix
    distance, index = cKDTree(places).query(places[: len(fraction)], k=2)
    other = frame.numbers[index[:, 1] % len(frame.numbers)]
    some = ~np.isin(frame.numbers, _NOBLE) & ~np.isin(other, _NOBLE)
    ratio = distance[:, 1] / (covalent_radii[frame.numbers] + covalent_radii[other])
    return distance[some, 1], ratio[some]


# --- energies and forces ------------------------------------------------------------------------------------------


def _energies(sample: Sequence[Frame], labels: LabelsConfig) -> Iterator[Doubt]:
    """All-electron total energies have known magnitudes."""
    factor = DIMENSIONS["energy"][labels.energy_unit]
    energies = [(frame.numbers, frame.energy / factor) for frame in sample if frame.energy is not None]
    units = Counter(unit_of_total(numbers, energy) for numbers, energy in energies)
    unit, count = units.most_common(1)[0] if units else (None, 0)
    if unit is not None and count > 0.9 * len(energies) and DIMENSIONS["energy"][unit] != factor:
        what = f"the energies are those of all electrons in {unit}, not in {labels.energy_unit}"
        yield Doubt(what, "energy_unit", _state("energy_unit", labels.energy_unit, unit))


def _forces(sample: Sequence[Frame], labels: LabelsConfig) -> Iterator[Doubt]:
    forces = [frame.forces for frame in sample if frame.forces is not None]
    if not forces:
        return
    rms, unit = _rms(forces), labels.energy_unit
    energies = [frame.energy for frame in sample if frame.energy is not None]
    if rms > LARGEST_FORCE:
        what = f"the forces are {rms:.3g} eV/Å (root mean square)"
        yield Doubt(what, "energy_unit", _state("energy_unit", unit, "kcal/mol" if unit == "eV" else "eV"))
    elif rms < SMALLEST_FORCE and len(energies) > 1 and np.ptp(energies) > 0.01:
        what = f"the forces are {rms:.1g} eV/Å (root mean square), although the energies differ"
        yield Doubt(what, "forces", "name the entry that holds the forces: data.labels.forces")
    stiffness = _stiffness(sample)
    if stiffness > STIFFEST and rms > STRONG:
        what = f"forces of {rms:.3g} eV/Å and the spread of the energies would make bonds of {stiffness:.0f} eV/Å²"
        yield Doubt(what, "energy_unit", _state("energy_unit", unit, "kcal/mol" if unit == "eV" else "eV"))


def _stiffness(sample: Sequence[Frame]) -> float:
    """Mean curvature of the energy, eV/Å², if the commonest composition is a thermal harmonic solid; 0 if unknown.

    In 3n harmonic coordinates ⟨F²⟩ = k k_B T and the variance of the potential energy is (3n/2) (k_B T)², so that
    k = ⟨F²⟩ √(3n/2) / std(E). Any other spread of the energies makes it smaller, never larger.
    """
    groups = _by_composition([frame for frame in sample if frame.energy is not None and frame.forces is not None])
    group = max(groups, key=len, default=[])
    energies = np.array([frame.energy for frame in group], dtype=np.float64)
    spread = float(energies.std()) if len(group) >= _ENOUGH else 0.0
    if spread == 0.0:
        return 0.0
    square = _rms([frame.forces for frame in group if frame.forces is not None]) ** 2
    return square * float(np.sqrt(1.5 * len(group[0].numbers))) / spread


def _net_force(sample: Sequence[Frame]) -> Iterator[str]:
    """Forces of an isolated or periodic system add up to zero, unless some are constrained or in an outer field."""
    forces = [frame.forces for frame in sample if frame.forces is not None and len(frame.numbers) > 1]
    if not forces:
        return
    net = float(np.median([np.abs(force.sum(axis=0)).max() / np.sqrt(len(force)) for force in forces]))
    if net > 0.05 * _rms(forces) and net > 1e-3:
        yield f"the forces of a frame do not add up to zero (by {net:.2g} eV/Å per √atom): fixed atoms, or noise?"


# --- stress -------------------------------------------------------------------------------------------------------


def _stresses(sample: Sequence[Frame], labels: LabelsConfig) -> Iterator[Doubt]:
    some = [frame for frame in sample if frame.stress is not None]
    if not some:
        return
    rms = _rms([frame.stress for frame in some if frame.stress is not None])
    if rms > LARGEST_STRESS:
        what = f"the stress is {rms * EV_PER_A3_IN_GPA:.3g} GPa (root mean square)"
        remedy = "name the unit of the file in data.labels.stress_unit, or data.labels.virial = true"
        yield Doubt(what, "stress_unit", remedy)
    group = max(_by_composition(some), key=len)
    volume = np.array([frame.volume for frame in group])
    tension = np.array([np.trace(frame.stress) for frame in group if frame.stress is not None])
    if len(group) < _ENOUGH or volume.std() < 0.01 * volume.mean() or tension.std() == 0.0:
        return
    if np.corrcoef(volume, tension)[0, 1] < -0.7:
        what = "the larger the cell, the smaller its tension: the stress seems to have the other sign"
        remedy = 'data.labels.stress_sign = "compression", or "tension" if that is so; a virial has to be −dE/dstrain'
        yield Doubt(what, "stress_sign", remedy)


def _rms(arrays: Sequence[Array]) -> float:
    return float(np.sqrt(np.mean(np.concatenate([array.ravel() for array in arrays]) ** 2)))


def _by_composition(frames: Sequence[Frame]) -> list[list[Frame]]:
    groups: dict[bytes, list[Frame]] = defaultdict(list)
    for frame in frames:
        groups[np.sort(frame.numbers).tobytes()].append(frame)
    return list(groups.values())


_FINDERS: tuple[Callable[[Sequence[Frame], LabelsConfig], Iterator[Doubt]], ...] = (
    _lengths, _energies, _forces, _stresses,
)
