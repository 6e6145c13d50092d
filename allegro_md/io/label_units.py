"""Units of labels: those of the input, and those that a file states itself."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from allegro_md.config.training import LabelsConfig
from allegro_md.errors import InputError
from allegro_md.io.label_notes import Notes
from allegro_md.io.labeled_frame import Raw
from allegro_md.units import DIMENSIONS, EV_PER_A3_IN_GPA, FORCE_UNITS, STRESS_UNITS

_QUANTITIES = {
    "energy": "energy", "energies": "energy", "length": "length", "position": "length", "positions": "length",
    "pos": "length", "distance": "length", "coordinate": "length", "coordinates": "length", "force": "force",
    "forces": "force", "stress": "stress", "unit": "all", "units": "all",
}  # fmt: skip
_UNIT_KEY = re.compile(r"(?:(\w+?)_?)?units?")

_ALIASES = {
    "energy": {
        "electronvolt": "eV", "hartrees": "hartree", "eh": "hartree", "a.u.": "hartree", "au": "hartree",
        "rydberg": "Ry", "kcal/mole": "kcal/mol", "kj/mole": "kJ/mol",
    },
    "length": {"angstroms": "Å", "ang": "Å", "ångström": "Å", "a0": "bohr", "a.u.": "bohr", "au": "bohr"},
    "force": {"a.u.": "hartree/bohr", "au": "hartree/bohr"},
    "stress": {"a.u.": "hartree/bohr^3", "au": "hartree/bohr^3"},
}  # fmt: skip
"""Spellings of files, in lower case."""

_SYSTEMS = {
    "metal": {"energy": "eV", "length": "Å"},
    "real": {"energy": "kcal/mol", "length": "Å"},
    "electron": {"energy": "hartree", "length": "bohr"},
    "atomic": {"energy": "hartree", "length": "bohr"},
    "a.u.": {"energy": "hartree", "length": "bohr"},
    "au": {"energy": "hartree", "length": "bohr"},
}
"""Systems of units by name, those of LAMMPS among them."""

LARGE_ENERGIES = ("hartree", "Ha", "Ry")
"""Units of energies whose forces are usually given per bohr, whatever the unit of positions."""


@dataclass(frozen=True)
class Units:
    """Factors to eV, Å, eV/Å, and of a stress to eV/Å³, positive in tension.

    Attributes:
        energy: to eV.
        length: to Å.
        force: to eV/Å.
        stress: of a stress, with its sign.
        virial: of a virial to volume times stress, with its sign; of a stress where `virial_per_volume`.
        virial_per_volume: the input states a unit of stress for an entry that is called a virial.
        order: of six components.
    """

    energy: float
    length: float
    force: float
    stress: float
    virial: float
    virial_per_volume: bool
    order: tuple[str, ...]

    @staticmethod
    def of(labels: LabelsConfig, *, stress_beside: bool = False) -> Units:
        """Factors of an input.

        Args:
            labels: the input's table.
            stress_beside: the file has a stress beside a virial, so that `stress_unit` is that of the stress.
        """
        energy, length = DIMENSIONS["energy"][labels.energy_unit], DIMENSIONS["length"][labels.length_unit]
        force = energy / length if labels.force_unit == "energy/length" else FORCE_UNITS[labels.force_unit]
        if labels.stress_unit == "energy/length^3":
            stress = energy / length**3
        else:
            stress = STRESS_UNITS[labels.stress_unit] / EV_PER_A3_IN_GPA
        per_volume = "stress_unit" in labels.model_fields_set and not stress_beside
        tension = {"tension": 1.0, "compression": -1.0}
        # A virial is −dE/dstrain, positive in compression, unless the input says that it is not.
        virial = tension[labels.stress_sign or "compression"] * (stress if per_volume else energy)
        stress *= tension[labels.stress_sign or "tension"]
        return Units(energy, length, force, stress, virial, per_volume, labels.stress_order)


def with_stated_units(raws: Sequence[Raw], labels: LabelsConfig, file: str, notes: Notes) -> LabelsConfig:
    """Labels with the units that entries such as ``energy-unit=hartree`` state, unless the input states others.

    Raises:
        InputError: frames state different units, or one that is unknown and not stated in the input.
    """
    stated: dict[str, tuple[str, str]] = {}
    for raw in raws:
        for what, unit, text in _stated(raw, labels):
            if stated.setdefault(what, (unit, text))[0] != unit:
                remedy = "convert the frames to one unit, or give them in two files"
                raise InputError(f"states {text}, and an earlier frame {stated[what][1]}", raw.source, remedy)
    update: dict[str, str] = {}
    for what, (unit, text) in stated.items():
        key = f"{what}_unit"
        given = getattr(labels, key)
        if key not in labels.model_fields_set:
            update[key] = unit
            if unit != given:
                notes.say(file, f"the file states {text}: {key} = \"{unit}\" is used")
        elif given != unit:
            notes.say(file, f'the file states {text}, the input {key} = "{given}": the input is followed')
    return labels.model_copy(update=update)


def _stated(raw: Raw, labels: LabelsConfig) -> list[tuple[str, str, str]]:
    """Quantity, unit and wording of each unit that a frame states."""
    found = []
    for name, value in raw.values.items():
        match = _UNIT_KEY.fullmatch(re.sub(r"[-\s.]", "_", name.strip().lower()))
        quantity = _QUANTITIES.get(match[1] or "units") if match else None
        if quantity is None or not isinstance(value, str):
            continue
        text = f"{name}={value}"
        if quantity == "all":
            system = _SYSTEMS.get(value.strip().lower())
            some: dict[str, str | None] = dict(system) if system else {"energy": known_unit(value, "energy")}
        else:
            some = {quantity: known_unit(value, quantity)}
        for what, unit in some.items():
            if unit is not None:
                found.append((what, unit, text))
            elif f"{what}_unit" not in labels.model_fields_set:
                default = getattr(LabelsConfig(), f"{what}_unit")
                remedy = f'state it in the input, for example data.labels.{what}_unit = "{default}"'
                raise InputError(f"states an unknown unit ({text})", raw.source, remedy)
    return found


def known_unit(text: str, quantity: str) -> str | None:
    """The name by which the input knows a unit that a file spells in its own way; None if there is none."""
    word = re.sub(r"\s*([/*^])\s*", r"\1", text.strip().lower()).replace("**", "^")
    word = re.sub(r"[åa]ngstr[öo]ms?", "å", word)
    word = re.sub(r"(?<=[a-zå])3$", "^3", word)
    units: dict[str, Any] = {"force": FORCE_UNITS, "stress": STRESS_UNITS}.get(quantity) or DIMENSIONS[quantity]
    spelled = {name.lower(): name for name in units} | _ALIASES[quantity]
    if word in spelled:
        return spelled[word]
    if quantity in ("force", "stress") and "/" in word:
        energy, _, length = word.rpartition("/")
        length, power, cube = length.partition("^")
        one, other = known_unit(energy, "energy"), known_unit(length, "length")
        name = f"{one}/{other}{power}{cube}"
        return name if name in units else None
    return None


def check_force_unit(labels: LabelsConfig, has_forces: bool, file: str) -> None:
    """Refuses forces whose unit can be read in several ways.

    Raises:
        InputError: energies are in hartree or rydberg, positions in Å, and nothing tells the unit of the forces.
    """
    if not has_forces or labels.energy_unit not in LARGE_ENERGIES or "force_unit" in labels.model_fields_set:
        return
    if DIMENSIONS["length"][labels.length_unit] != 1.0:
        return
    energy = "Ry" if labels.energy_unit == "Ry" else "hartree"
    raise InputError(
        f"has energies in {labels.energy_unit} and positions in Å, and its forces may be in {energy}/bohr, {energy}/Å "
        "or eV/Å",
        file,
        f'write data.labels.force_unit = "{energy}/bohr", or another unit',
    )
