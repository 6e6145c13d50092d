"""Finds the energies, forces and stresses of a file and converts them to the units of the package."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from allegro_md.config.training import LabelsConfig
from allegro_md.errors import InputError
from allegro_md.io.label_notes import Notes
from allegro_md.io.label_units import Units, check_force_unit, with_stated_units
from allegro_md.io.labeled_frame import Array, Frame, Raw
from allegro_md.io.stress_labels import compare, symmetric

_PREFIX = r"(?:(?:ref|reference|dft|qm|vasp|target|label|true)_?)?"
_NAMES = {
    "energy": re.compile(_PREFIX + r"(?:(?:total|tot|free|potential)_?)?energy|toten|e_?tot"),
    "forces": re.compile(_PREFIX + r"forces?"),
    "stress": re.compile(_PREFIX + r"stress"),
    "virial": re.compile(_PREFIX + r"virials?"),
}
"""What labels are called, in lower case with underscores."""

_CONVERGED = re.compile(r"(?:(?:scf|electronic|dft|is)_?)*converged")
"""Entries that say whether a calculation is converged, in lower case."""

_SHOWN = 12


@dataclass(frozen=True)
class Keys:
    """Names of the entries that hold the labels; None: the file has none.

    A stress and a virial say the same; where both are there, a frame's virial is used only if it has no stress.
    """

    energy: str | None
    forces: str | None
    stress: str | None
    virial: str | None


def convert(raws: Sequence[Raw], labels: LabelsConfig, path: Path, notes: Notes) -> list[Frame]:
    """Frames in eV and Å, without those that say themselves that they are not converged.

    Raises:
        InputError: several entries could be a label, one has a wrong shape, a unit is unclear; no frame converged.
    """
    kept = [raw for raw in raws if not _unconverged(raw, notes)]
    if not kept:
        raise InputError("no frame is converged", str(path), "give converged calculations")
    keys, units = resolve(kept, labels, path, notes)
    return [frame_of(raw, keys, units, notes) for raw in kept]


def _unconverged(raw: Raw, notes: Notes) -> bool:
    for name, value in raw.values.items():
        if _CONVERGED.fullmatch(name.strip().lower()) and str(value).strip().lower() in ("false", "f", "0", "no"):
            notes.leave_out("frame", "the electronic iteration did not converge", raw.source)
            return True
    return False


def resolve(raws: Sequence[Raw], labels: LabelsConfig, path: Path, notes: Notes) -> tuple[Keys, Units]:
    """Names and units of the labels of a file.

    Raises:
        InputError: see `convert`; a stress and a virial contradict each other.
    """
    labels = with_stated_units(raws, labels, path.name, notes)
    keys = find_keys(raws, labels, path, notes)
    units = Units.of(labels, stress_beside=keys.stress is not None)
    if keys.virial and not keys.stress:
        notes.virials.add(path.name)
    _check_cp2k(raws, keys, labels, path)
    check_force_unit(labels, keys.forces is not None and "forces" not in notes.optional, str(path))
    if keys.stress and keys.virial:
        try:
            _compare(raws, keys, units, labels, path)
        except InputError as error:
            if "stress" not in notes.optional:
                raise
            notes.say(path.name, f"{error.what}: both are left out")
            keys = replace(keys, stress=None, virial=None)
    elif keys.virial and units.virial_per_volume:
        sign = labels.stress_sign or "compression"
        notes.say(path.name, f"'{keys.virial}' is read as a stress in {labels.stress_unit}, positive in {sign}")
    elif keys.virial and labels.stress_sign == "tension":
        notes.say(path.name, f"'{keys.virial}' is read as +dE/dstrain, positive in tension")
    if "stress_order" not in labels.model_fields_set:
        for key in (keys.stress, keys.virial):
            if key and any(np.shape(raw.values.get(key, ())) == (6,) for raw in raws):
                order = f'"{" ".join(labels.stress_order)}"'
                notes.say(path.name, f"the six numbers of '{key}' are read in data.labels.stress_order = {order}")
    return keys, units


def _compare(raws: Sequence[Raw], keys: Keys, units: Units, labels: LabelsConfig, path: Path) -> None:
    """Compares stress and virial of the frames that have both."""
    assert keys.stress and keys.virial
    both = [raw for raw in raws if raw.values.get(keys.stress) is not None and raw.values.get(keys.virial) is not None]
    pairs = [
        (_stress(raw, replace(keys, virial=None), units), _stress(raw, replace(keys, stress=None), units))
        for raw in both
    ]
    found = [(one, other) for one, other in pairs if one is not None and other is not None]
    finite = [pair for pair in found if np.isfinite(pair).all()]
    compare(finite, keys.stress, keys.virial, labels.stress_unit, str(path))


def _check_cp2k(raws: Sequence[Raw], keys: Keys, labels: LabelsConfig, path: Path) -> None:
    """Refuses CP2K's comment line, "i = …, time = …, E = …", whose energies are in hartree, without a stated unit."""
    if keys.energy == "E" and {"i", "time"} <= set(raws[0].values) and "energy_unit" not in labels.model_fields_set:
        what = "has the comment lines of CP2K, whose energies are in hartree"
        raise InputError(what, str(path), 'write data.labels.energy_unit = "hartree"')


# --- names --------------------------------------------------------------------------------------------------------


def find_keys(raws: Sequence[Raw], labels: LabelsConfig, path: Path, notes: Notes) -> Keys:
    """The entries named by the user, else those that are called as a label usually is.

    Raises:
        InputError: several could be meant and they differ; or the named one is absent although others could be meant.
    """
    named = labels.stress
    forces = _choose("forces", labels.forces, raws, path, notes)
    energy = _choose("energy", labels.energy, raws, path, notes, forces)
    if labels.virial or (named and "virial" not in labels.model_fields_set and _is_called(named, "virial")):
        return Keys(energy, forces, None, _choose("virial", named, raws, path, notes))
    stress = _choose("stress", named, raws, path, notes)
    return Keys(energy, forces, stress, None if named else _choose("virial", None, raws, path, notes))


def names_in(raws: Sequence[Raw]) -> list[str]:
    """Names of all entries, each once."""
    return list(dict.fromkeys(name for raw in raws for name in raw.values))


def _is_called(name: str, what: str) -> bool:
    return _NAMES[what].fullmatch(re.sub(r"[-\s]", "_", name.strip().lower())) is not None


def _choose(
    what: str, named: str | None, raws: Sequence[Raw], path: Path, notes: Notes, forces: str | None = None
) -> str | None:
    """The name of the entry that holds a label; `forces`: that of the forces, to which an energy may belong."""
    present = names_in(raws)
    if named in present:
        return named
    found = [name for name in present if _is_called(name, what)]
    option = "stress" if what == "virial" else what
    if named is not None:
        if not found:  # another file has it, or the check of the whole set complains
            return None
        raise InputError(f"has no '{named}'", str(path), f'did you mean data.labels.{option} = "{found[0]}"?')
    if len(found) > 1 and not _agree(found, raws):
        some = " and ".join(f"'{name}'" for name in found[:_SHOWN])
        problem = f"has several entries that may be the {what}: {some}"
        if option in notes.optional:
            notes.say(path.name, f"{problem}; the {what} has no weight and is left out")
            return None
        best, why = _advised(what, found, forces)
        raise InputError(problem, str(path), f'name the one to learn, for example data.labels.{option} = "{best}"{why}')
    return max(found, key=lambda name: sum(name in raw.values for raw in raws), default=None)


def _advised(what: str, found: Sequence[str], forces: str | None) -> tuple[str, str]:
    """The energy whose derivative the forces are, and why; of other labels the first."""
    if what != "energy" or forces is None:
        return found[0], ""
    prefix = re.sub(r"forces?$", "", forces.lower())
    same = [name for name in found if name.lower().startswith(prefix)] or list(found)
    free = next((name for name in same if "free" in name.lower() or "toten" in name.lower()), None)
    if free is not None:
        return free, ", to which the forces belong: with smeared electrons they are derivatives of the free energy"
    return same[0], f", as the forces are '{forces}'" if prefix and same != list(found) else ""


def _agree(names: Sequence[str], raws: Sequence[Raw]) -> bool:
    """Tells if one of the entries is in all frames and the others are equal to it wherever present."""
    values = [[raw.values[name] for name in names if name in raw.values] for raw in raws]
    whole = any(all(name in raw.values for raw in raws) for name in names)
    return whole and all(np.array_equal(value, some[0]) for some in values for value in some)


# --- frames -------------------------------------------------------------------------------------------------------


def frame_of(raw: Raw, keys: Keys, units: Units, notes: Notes) -> Frame:
    """One frame in eV and Å; labels that nobody asks for and that cannot be used are left out.

    Raises:
        InputError: an entry of a wrong shape, or that is no number.
    """
    found: dict[str, Array | None] = {}
    for label in ("energy", "forces", "stress"):
        try:
            found[label] = usable(label, _label(label, raw, keys, units), raw.source, notes)
        except InputError as error:
            if label not in notes.optional:
                raise
            notes.leave_out(label, f"{error.what} (it has no weight)", raw.source)
            found[label] = None
    energy = found["energy"]
    return Frame(
        numbers=raw.numbers,
        position=raw.position * units.length,
        cell=raw.cell * units.length,
        periodic=raw.periodic,
        energy=None if energy is None else float(energy.reshape(())),
        forces=found["forces"],
        stress=found["stress"],
        kind=raw.kind,
        source=raw.source,
    )


def usable(label: str, value: Array | None, source: str, notes: Notes) -> Array | None:
    """A label, value (1,), (n, 3) or (6,) float64, or None if it has no weight and is not finite."""
    if value is None or label not in notes.optional or np.all(np.isfinite(value)):
        return value
    notes.leave_out(label, "it is not finite, and has no weight", source)
    return None


def _label(label: str, raw: Raw, keys: Keys, units: Units) -> Array | None:
    """A label of a frame in the units of the package."""
    if label == "stress":
        return _stress(raw, keys, units)
    if label == "energy":
        energy = _array(raw, keys.energy, ((), (1,)))
        return None if energy is None else energy * units.energy
    forces = _array(raw, keys.forces, ((len(raw.numbers), 3),))
    return None if forces is None else forces * units.force


def _stress(raw: Raw, keys: Keys, units: Units) -> Array | None:
    """(3, 3) eV/Å³, positive in tension; None without a volume, as for a molecule, whatever the file holds."""
    volume = abs(float(np.linalg.det(raw.cell * units.length)))
    key = keys.stress if raw.values.get(keys.stress or "") is not None else keys.virial
    numbers = _array(raw, key, ((3, 3), (9,), (6,)))
    if numbers is None or key is None:
        return None
    stress = symmetric(numbers, units.order, key, raw.source)
    if volume == 0.0:
        return None
    if key == keys.stress:
        return stress * units.stress
    return stress * units.virial / (1.0 if units.virial_per_volume else volume)


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
