"""Finds the energies, forces and stresses of a file and converts them to the units of the package."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allegro_md.config.training import LabelsConfig
from allegro_md.errors import InputError
from allegro_md.io.frame import Array, Frame
from allegro_md.units import DIMENSIONS, EV_PER_A3_IN_GPA

_PREFIX = r"(?:(?:ref|reference|dft|qm|vasp|target|label|true)_?)?"
_NAMES = {
    "energy": re.compile(_PREFIX + r"(?:(?:total|tot|free|potential)_?)?energy|toten|e_?tot"),
    "forces": re.compile(_PREFIX + r"forces?"),
    "stress": re.compile(_PREFIX + r"stress"),
    "virial": re.compile(_PREFIX + r"virials?"),
}
"""What labels are called, in lower case with underscores."""

LARGEST_ASYMMETRY = 0.01
"""Of a stress, relative to its largest component: beyond, nine numbers are not a stress."""

_SHOWN = 12


@dataclass(frozen=True)
class Raw:
    """A configuration as a file has it.

    Attributes:
        numbers: (n,) atomic numbers.
        position: (n, 3).
        cell: (3, 3), rows.
        periodic: per axis.
        values: every entry of the frame and of its atoms, by name.
        kind: its ``config_type``.
        source: file and frame, for messages.
    """

    numbers: NDArray[np.int64]
    position: Array
    cell: Array
    periodic: tuple[bool, bool, bool]
    values: Mapping[str, Any]
    kind: str
    source: str


@dataclass(frozen=True)
class Keys:
    """Names of the entries that hold the labels; None: the file has none."""

    energy: str | None
    forces: str | None
    stress: str | None
    virial: str | None


def convert(raws: Sequence[Raw], labels: LabelsConfig, path: Path) -> list[Frame]:
    """Frames in eV and Å.

    Raises:
        InputError: several entries could be a label, or one has a wrong shape.
    """
    keys, units = find_keys(raws, labels, path), Units.of(labels)
    return [frame_of(raw, keys, units) for raw in raws]


# --- names --------------------------------------------------------------------------------------------------------


def find_keys(raws: Sequence[Raw], labels: LabelsConfig, path: Path) -> Keys:
    """The entries named by the user, else those that are called as a label usually is.

    Raises:
        InputError: several could be meant and they differ; or the named one is absent although others could be meant.
    """
    stress = None if labels.virial else _choose("stress", labels.stress, raws, path)
    named = labels.stress if labels.virial else None
    # A stress and a virial say the same; a virial is looked for where nothing better is named.
    virial = _choose("virial", named, raws, path) if stress is None and (labels.virial or not labels.stress) else None
    return Keys(
        _choose("energy", labels.energy, raws, path), _choose("forces", labels.forces, raws, path), stress, virial
    )


def names_in(raws: Sequence[Raw]) -> list[str]:
    """Names of all entries, each once."""
    return list(dict.fromkeys(name for raw in raws for name in raw.values))


def _choose(what: str, named: str | None, raws: Sequence[Raw], path: Path) -> str | None:
    present = names_in(raws)
    if named in present:
        return named
    found = [name for name in present if _NAMES[what].fullmatch(re.sub(r"[-\s]", "_", name.strip().lower()))]
    option = "stress" if what == "virial" else what
    if named is not None:
        if not found:  # another file has it, or the check of the whole set complains
            return None
        raise InputError(f"has no '{named}'", str(path), f'did you mean data.labels.{option} = "{found[0]}"?')
    if len(found) > 1 and not _agree(found, raws):
        some = " and ".join(f"'{name}'" for name in found[:_SHOWN])
        raise InputError(
            f"has several entries that may be the {what}: {some}",
            str(path),
            f'name the one to learn, for example data.labels.{option} = "{found[0]}"',
        )
    return max(found, key=lambda name: sum(name in raw.values for raw in raws), default=None)


def _agree(names: Sequence[str], raws: Sequence[Raw]) -> bool:
    """Tells if one of the entries is in all frames and the others are equal to it wherever present."""
    values = [[raw.values[name] for name in names if name in raw.values] for raw in raws]
    whole = any(all(name in raw.values for raw in raws) for name in names)
    return whole and all(np.array_equal(value, some[0]) for some in values for value in some)


# --- units --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Units:
    """Factors to eV, Å, eV/Å and eV/Å³ (with the sign of a tension); `order` of six stress components."""

    energy: float
    length: float
    stress: float
    order: tuple[str, ...]

    @property
    def force(self) -> float:
        """To eV/Å."""
        return self.energy / self.length

    @staticmethod
    def of(labels: LabelsConfig) -> Units:
        """Describes the labels for a message."""
        energy, length = DIMENSIONS["energy"][labels.energy_unit], DIMENSIONS["length"][labels.length_unit]
        if labels.stress_unit == "energy/length^3":
            stress = energy / length**3
        else:
            stress = DIMENSIONS["pressure"][labels.stress_unit] / EV_PER_A3_IN_GPA
        sign = -1.0 if labels.stress_sign == "compression" else 1.0
        return Units(energy, length, sign * stress, labels.stress_order)


def frame_of(raw: Raw, keys: Keys, units: Units) -> Frame:
    """One frame in eV and Å.

    Raises:
        InputError: an entry of a wrong shape, or that is no number.
    """
    n = len(raw.numbers)
    energy = _array(raw, keys.energy, ((), (1,)))
    forces = _array(raw, keys.forces, ((n, 3),))
    cell = raw.cell * units.length
    volume = abs(float(np.linalg.det(cell)))
    stress = _array(raw, keys.stress or keys.virial, ((3, 3), (9,), (6,)))
    if stress is not None:
        stress = _symmetric(_square(stress, units.order), raw.source)
        # Without a volume, as for a molecule, there is no stress, whatever the file holds.
        factor = units.stress if keys.stress else -units.energy / (volume or np.inf)
        stress = stress * factor if volume > 0.0 else None
    return Frame(
        numbers=raw.numbers,
        position=raw.position * units.length,
        cell=cell,
        periodic=raw.periodic,
        energy=None if energy is None else float(energy.reshape(())) * units.energy,
        forces=None if forces is None else forces * units.force,
        stress=stress,
        kind=raw.kind,
        source=raw.source,
    )


def _array(raw: Raw, key: str | None, shapes: Sequence[tuple[int, ...]]) -> Array | None:
    """An entry as numbers of one of some shapes; None where the frame has none."""
    if key is None or raw.values.get(key) is None:
        return None
    try:
        array = np.asarray(raw.values[key], dtype=np.float64)
    except (TypeError, ValueError):
        remedy = "correct the file, or name another entry"
        raise InputError(f"'{key}' does not hold numbers", raw.source, remedy) from None
    if array.shape not in shapes:
        wanted = " or ".join(_show(shape) for shape in shapes)
        raise InputError(f"'{key}' has the shape {_show(array.shape)} instead of {wanted}", raw.source, "correct it")
    return array


def _show(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape)) or "one number"


def _square(stress: Array, order: Sequence[str]) -> Array:
    """Returns (3, 3) float64 from `stress` (9,), or (6,) in a given order of components, in any unit."""
    if stress.size == 9:
        return stress.reshape(3, 3)
    result = np.empty((3, 3))
    for value, (i, j) in zip(stress, _places(order), strict=True):
        result[i, j] = result[j, i] = value
    return result


def _places(order: Sequence[str]) -> Iterator[tuple[int, int]]:
    for word in order:
        yield "xyz".index(word[0]), "xyz".index(word[1])


def _symmetric(stress: Array, source: str) -> Array:
    """Symmetrizes `stress` (3, 3), in any unit.

    Raises:
        InputError: it differs from its transpose by more than rounding.
    """
    if np.abs(stress - stress.T).max() > LARGEST_ASYMMETRY * np.abs(stress).max():
        raise InputError("the stress is not symmetric", source, "give nine numbers row by row, or six")
    return 0.5 * (stress + stress.T)
