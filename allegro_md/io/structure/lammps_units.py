"""Units of LAMMPS files: what the file says, else the key `units`, else metal."""

from __future__ import annotations

from dataclasses import dataclass

import scipy.constants as _codata

from allegro_md.errors import InputError
from allegro_md.units import FORCE_UNITS

_BOHR = _codata.value("Bohr radius") * 1e10


@dataclass(frozen=True)
class LammpsUnits:
    """Factors to our units.

    Attributes:
        name: of the style.
        length: Å.
        velocity: Å/fs.
        force: eV/Å.
        time: fs.
    """

    name: str
    length: float
    velocity: float
    force: float
    time: float


STYLES = {
    "metal": LammpsUnits("metal", 1.0, 1e-3, 1.0, 1e3),
    "real": LammpsUnits("real", 1.0, 1.0, FORCE_UNITS["kcal/mol/Å"], 1.0),
    # LAMMPS: "atomic time unit [1.03275e-15 seconds]", that of bohr, amu and hartree.
    "electron": LammpsUnits("electron", _BOHR, _BOHR / 1.03275, FORCE_UNITS["hartree/bohr"], 1.0),
}


def choose_units(stated: str | None, key: str | None, where: str) -> LammpsUnits:
    """The units of a file.

    Args:
        stated: by the file, or None.
        key: ``[system] units``, or None.
        where: the file, for messages.

    Raises:
        InputError: units that cannot be converted, or a key that contradicts the file.
    """
    if stated == "lj":
        raise InputError(
            "is in reduced units (units = lj), which do not say what an Å, an amu or a fs is",
            where,
            "convert it to metal units with the sigma, epsilon and mass you mean, and state units = metal in it",
        )
    if stated is not None and stated not in STYLES:
        raise InputError(f"is in units = {stated}; only {', '.join(STYLES)} can be read", where, "convert it to metal")
    if stated is not None and key is not None and stated != key:
        raise InputError(
            f'says units = {stated}, but system.units is "{key}"', where, "remove system.units, or correct the file"
        )
    return STYLES[stated or key or "metal"]


def assumed_units(stated: str | None, key: str | None) -> list[str]:
    """The remark where neither file nor input say the units of velocities."""
    if stated is not None or key is not None:
        return []
    return ["the file does not state its units: velocities taken in Å/ps (metal); system.units says otherwise"]
