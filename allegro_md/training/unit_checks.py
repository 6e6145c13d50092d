"""Checks that the labels of a file can be what they are said to be, judged by their magnitudes and by each other.

A doubt about a unit that the input does not state is an error; stating the unit makes it a remark, unless the labels
themselves contradict it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from allegro_md.config.training import LabelsConfig
from allegro_md.errors import InputError
from allegro_md.io.labeled import Frame, Notes
from allegro_md.io.total_energy import unit_of_total
from allegro_md.training.doubt import Array, Doubt, Sample, by_composition, rms
from allegro_md.training.length_checks import asymmetry, check_lengths
from allegro_md.training.work_checks import check_work, energies_confirm_stress
from allegro_md.units import DIMENSIONS, EV_PER_A3_IN_GPA

SAMPLE = 60
"""Frames of a file that are looked at."""

LARGEST_FORCE, SMALLEST_FORCE = 50.0, 1e-4
"""eV/Å, root mean square of the components."""

STIFFEST = 150.0
"""eV/Å²; see `_stiffness`. 35 in organic molecules, 18 in water, below 10 in metals."""

STRONG = 5.0
"""eV/Å; weaker forces tell nothing by the stiffness: energies of small displacements of one size hardly differ."""

LARGEST_STRESS = 0.6
"""eV/Å³ (100 GPa), root mean square of the components."""

UNEVEN = 5e-4
"""See `asymmetry`; an atom displaced by 0.01 Å has 0.002 to 0.02, coordinates of five decimals make 1e-5."""

_ENOUGH = 10

PER_ATOM = 0.4
"""Deviation of energies from one linear in the fractions of the elements, over that from one linear in their numbers:
below, they are energies per atom."""


def check_units(
    files: Sequence[tuple[Path, Sequence[Frame]]], labels: LabelsConfig, notes: Notes
) -> list[str]:
    """Looks at some frames of each file; returns remarks.

    Args:
        files: path and frames.
        labels: as the input has them.
        notes: of the readers; doubts about labels that are optional there are remarks.

    Raises:
        InputError: names the file and what has to be stated, or cannot be right.
    """
    remarks = []
    for path, frames in files:
        some = [frames[k] for k in np.unique(np.linspace(0, len(frames) - 1, SAMPLE).astype(int))]
        sample = Sample(some, labels, path.name in notes.virials)
        for find in _FINDERS:
            for doubt in find(sample):
                if doubt.about is None or doubt.about in labels.model_fields_set or doubt.label in notes.optional:
                    remarks.append(f"{path.name}: {doubt.what}")
                else:
                    raise InputError(doubt.what, str(path), doubt.remedy)
    return remarks


def _state(about: str, unit: str, other: str) -> str:
    """Writes the remedy for a doubtful unit."""
    return f'write data.labels.{about} = "{other}", or "{unit}" if they are'


# --- energies and forces ------------------------------------------------------------------------------------------


def _energies(sample: Sample) -> Iterator[Doubt]:
    """All-electron total energies have known magnitudes."""
    labels = sample.labels
    factor = DIMENSIONS["energy"][labels.energy_unit]
    energies = [(frame.numbers, frame.energy / factor) for frame in sample.frames if frame.energy is not None]
    units = Counter(unit_of_total(numbers, energy) for numbers, energy in energies)
    unit, count = units.most_common(1)[0] if units else (None, 0)
    if unit is not None and count > 0.9 * len(energies) and DIMENSIONS["energy"][unit] != factor:
        what = f"the energies are those of all electrons in {unit}, not in {labels.energy_unit}"
        yield Doubt(what, "energy_unit", _state("energy_unit", labels.energy_unit, unit), "energy")


def _constant(sample: Sample) -> Iterator[Doubt]:
    """One energy of frames with different forces is none."""
    for group in by_composition([frame for frame in sample.frames if frame.energy is not None]):
        forces = [frame.forces for frame in group if frame.forces is not None]
        size = rms(forces) if forces else 0.0
        if len(group) > 2 and size > SMALLEST_FORCE and len({frame.energy for frame in group}) == 1:
            what = f"all energies are {group[0].energy:.6g} eV, although the forces are {size:.3g} eV/Å (RMS)"
            yield Doubt(f"{what}: if the file holds no energies, set loss.energy = 0", None, "", "energy")
            return


def _per_atom(sample: Sample) -> Iterator[Doubt]:
    """Energies of frames of different sizes grow with the number of atoms."""
    frames = [f for f in sample.frames if f.energy is not None and (len(f.numbers) > 1 or any(f.periodic))]
    sizes = np.array([len(frame.numbers) for frame in frames], dtype=np.float64)
    if len(frames) < _ENOUGH or sizes.max() < 2.0 * sizes.min():
        return
    elements = np.unique(np.concatenate([frame.numbers for frame in frames]))
    counts = np.array([[(frame.numbers == z).sum() for z in elements] for frame in frames], dtype=np.float64)
    if len(np.unique(counts, axis=0)) <= len(elements):
        return
    energies = np.array([frame.energy for frame in frames])
    whole, each = (_deviation(matrix, energies) for matrix in (counts, counts / sizes[:, None]))
    if each < PER_ATOM * whole:
        what = "the energies do not grow with the number of atoms: they seem to be energies per atom"
        remedy = "give the energy of all atoms of a frame: multiply it by their number; or, if it is that, name it in "
        yield Doubt(what, "energy", f"{remedy}data.labels.energy", "energy")


def _deviation(matrix: Array, values: Array) -> float:
    """Root mean square residual of a linear fit of values (n,) by the columns of a matrix (n, k), float64."""
    return float(np.sqrt(np.mean((values - matrix @ np.linalg.lstsq(matrix, values, rcond=1e-10)[0]) ** 2)))


def _forces(sample: Sample) -> Iterator[Doubt]:
    forces = [frame.forces for frame in sample.frames if frame.forces is not None]
    if not forces:
        return
    size, unit = rms(forces), sample.labels.energy_unit
    if size > LARGEST_FORCE:
        what = f"the forces are {size:.3g} eV/Å (root mean square)"
        yield Doubt(what, "energy_unit", _state("energy_unit", unit, "kcal/mol" if unit == "eV" else "eV"), "forces")
    elif size < SMALLEST_FORCE:
        yield from _no_forces(size, sample.frames)
    stiffness = _stiffness(sample.frames)
    if stiffness > STIFFEST and size > STRONG:
        what = f"forces of {size:.3g} eV/Å and the spread of the energies would make bonds of {stiffness:.0f} eV/Å²"
        yield Doubt(what, "energy_unit", _state("energy_unit", unit, "kcal/mol" if unit == "eV" else "eV"), "forces")


def _no_forces(size: float, frames: Sequence[Frame]) -> Iterator[Doubt]:
    """Forces of 0 are right by symmetry, of single atoms and of perfect crystals; of others they are missing."""
    energies = [frame.energy for frame in frames if frame.energy is not None]
    uneven = [frame.energy for frame in frames if frame.energy is not None and asymmetry(frame) > UNEVEN]
    what = f"the forces are {size:.1g} eV/Å (root mean square)"
    if len(uneven) > 1 and np.ptp(uneven) > 0.01:
        remedy = "name the entry that holds the forces: data.labels.forces"
        yield Doubt(f"{what}, although the energies differ", "forces", remedy, "forces")
    elif len(energies) > 1 and np.ptp(energies) > 0.01:
        yield Doubt(f"{what}: right by symmetry, or missing?", None, "", "forces")


def _stiffness(sample: Sequence[Frame]) -> float:
    """Mean curvature of the energy, eV/Å², if the commonest composition is a thermal harmonic solid; 0 if unknown.

    In 3n harmonic coordinates ⟨F²⟩ = k k_B T and the variance of the potential energy is (3n/2) (k_B T)², so that
    k = ⟨F²⟩ √(3n/2) / std(E). Any other spread of the energies makes it smaller, never larger.
    """
    groups = by_composition([frame for frame in sample if frame.energy is not None and frame.forces is not None])
    group = max(groups, key=len, default=[])
    energies = np.array([frame.energy for frame in group], dtype=np.float64)
    spread = float(energies.std()) if len(group) >= _ENOUGH else 0.0
    if spread == 0.0:
        return 0.0
    square = rms([frame.forces for frame in group if frame.forces is not None]) ** 2
    return square * float(np.sqrt(1.5 * len(group[0].numbers))) / spread


def _net_force(sample: Sample) -> Iterator[Doubt]:
    """Forces of an isolated or periodic system add up to zero, unless some are constrained or in an outer field."""
    forces = [frame.forces for frame in sample.frames if frame.forces is not None and len(frame.numbers) > 1]
    if not forces:
        return
    net = float(np.median([np.abs(force.sum(axis=0)).max() / np.sqrt(len(force)) for force in forces]))
    if net > 0.05 * rms(forces) and net > 1e-3:
        what = f"the forces of a frame do not add up to zero (by {net:.2g} eV/Å per √atom): fixed atoms, or noise?"
        yield Doubt(what, None, "", "forces")


# --- stress -------------------------------------------------------------------------------------------------------


def _stresses(sample: Sample) -> Iterator[Doubt]:
    some = [frame for frame in sample.frames if frame.stress is not None]
    if not some:
        return
    size = rms([frame.stress for frame in some if frame.stress is not None])
    forces = [frame.forces for frame in some if frame.forces is not None]
    if size == 0.0 and len(some) > 1 and forces and rms(forces) > SMALLEST_FORCE:
        what = "all stresses are exactly 0, although the forces are not"
        yield Doubt(what, "stress", "set loss.stress = 0, or name the stress in data.labels.stress", "stress")
    if size > LARGEST_STRESS:
        what = f"the stress is {size * EV_PER_A3_IN_GPA:.3g} GPa (root mean square)"
        remedy = "name the unit of the file in data.labels.stress_unit, or data.labels.virial = true"
        yield Doubt(what, "stress_unit", remedy, "stress")
    group = max(by_composition(some), key=len)
    volume = np.array([frame.volume for frame in group])
    tension = np.array([np.trace(frame.stress) for frame in group if frame.stress is not None])
    if len(group) < _ENOUGH or tension.std() == 0.0:
        return
    if volume.std() < 1e-6 * volume.mean():
        yield from _at_one_volume(group, tension)
    elif (
        volume.std() > 0.01 * volume.mean()
        and np.corrcoef(volume, tension)[0, 1] < -0.7
        and not energies_confirm_stress(sample.frames)  # as along a path of reaction, whose volumes tell nothing
    ):
        what = "the larger the cell, the smaller its tension: the stress seems to have the other sign"
        now = "compression" if sample.other_sign == "tension" else "tension"
        remedy = f'write data.labels.stress_sign = "{sample.other_sign}", or "{now}" if that is so'
        yield Doubt(what, "stress_sign", remedy, "stress")


def _at_one_volume(group: Sequence[Frame], tension: Array) -> Iterator[Doubt]:
    """Compares tension (n,), eV/Å³, with energy: nearly every material is less tense when hotter at one volume."""
    energies = np.array([np.nan if frame.energy is None else frame.energy for frame in group])
    if np.isfinite(energies).all() and energies.std() > 0.0 and np.corrcoef(energies, tension)[0, 1] > 0.7:
        what = "at one volume, frames of higher energy are under more tension: does the stress have the other sign?"
        yield Doubt(what, None, "", "stress")


_FINDERS: tuple[Callable[[Sample], Iterator[Doubt]], ...] = (
    check_lengths, _energies, _constant, _per_atom, _forces, check_work, _stresses, _net_force,
)  # fmt: skip
