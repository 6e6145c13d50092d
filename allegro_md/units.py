"""Units: eV, Å, fs, amu, K, GPa. The only place with conversion constants (CODATA 2022 through scipy).

Quantities in an input are numbers in these units or strings such as ``"2 fs"``.
"""

from __future__ import annotations

import math
import re

from scipy import constants as _codata

from allegro_md.errors import InputError

_EV = _codata.e  # J

BOLTZMANN = _codata.k / _EV
"""Boltzmann constant, eV/K."""

AMU_A2_PER_FS2 = _codata.atomic_mass * 1e10 / _EV
"""Energy of 1 amu·Å²/fs², in eV."""

EV_PER_A3_IN_GPA = _EV * 1e30 * 1e-9
"""1 eV/Å³ in GPa."""

AMU_PER_A3_IN_G_PER_CM3 = _codata.atomic_mass * 1e27
"""1 amu/Å³ in g/cm³."""

COULOMB_EV_A = _EV / (4.0 * math.pi * _codata.epsilon_0) * 1e10
"""e²/(4πε₀), eV·Å."""

A2_PER_FS_IN_CM2_PER_S = 0.1
"""1 Å²/fs in cm²/s."""

GPA_FS_IN_MPA_S = 1e-3
"""1 GPa·fs in mPa·s."""

E2_PER_EV_A_FS_IN_S_PER_CM = _EV * 1e25 * 1e-2
"""1 e²/(eV·Å·fs), a conductivity, in S/cm."""

EV_PER_A2_FS_IN_GW_PER_M2 = _EV * 1e35 * 1e-9
"""1 eV/(Å²·fs), a heat flux density, in GW/m²."""

EV_PER_A_FS_K_IN_W_PER_M_K = _EV * 1e25
"""1 eV/(Å·fs·K), a thermal conductivity, in W/(m·K)."""

_KCAL_PER_MOL = 4184.0 / _codata.N_A / _EV
_KJ_PER_MOL = 1000.0 / _codata.N_A / _EV

DIMENSIONS: dict[str, dict[str, float]] = {
    "time": {"fs": 1.0, "ps": 1e3, "ns": 1e6, "as": 1e-3, "s": 1e15},
    "length": {
        "Å": 1.0,
        "A": 1.0,
        "angstrom": 1.0,
        "nm": 10.0,
        "pm": 0.01,
        "bohr": _codata.value("Bohr radius") * 1e10,
    },
    "temperature": {"K": 1.0},
    "pressure": {
        "GPa": 1.0,
        "MPa": 1e-3,
        "kPa": 1e-6,
        "Pa": 1e-9,
        "bar": 1e-4,
        "kbar": 0.1,
        "atm": 1.01325e-4,
        "eV/Å^3": EV_PER_A3_IN_GPA,
        "eV/A^3": EV_PER_A3_IN_GPA,
    },
    "compressibility": {"1/GPa": 1.0, "/GPa": 1.0, "1/MPa": 1e3, "/MPa": 1e3, "1/bar": 1e4, "/bar": 1e4, "1/Pa": 1e9},
    "energy": {
        "eV": 1.0,
        "meV": 1e-3,
        "kcal/mol": _KCAL_PER_MOL,
        "kJ/mol": _KJ_PER_MOL,
        "hartree": _codata.value("Hartree energy in eV"),
        "Ha": _codata.value("Hartree energy in eV"),
        "Ry": _codata.value("Rydberg constant times hc in eV"),
        "K": BOLTZMANN,
    },
    "mass": {"amu": 1.0, "u": 1.0, "Da": 1.0},
    "velocity": {"Å/fs": 1.0, "A/fs": 1.0, "Å/ps": 1e-3, "A/ps": 1e-3, "m/s": 1e-5, "km/s": 1e-2},
    "acceleration": {"Å/fs^2": 1.0, "A/fs^2": 1.0, "Å/ps^2": 1e-6, "A/ps^2": 1e-6, "m/s^2": 1e-20},
    "force": {
        "eV/Å": 1.0, "eV/A": 1.0, "meV/Å": 1e-3, "meV/A": 1e-3, "nN": 1e-19 / _EV, "pN": 1e-22 / _EV,
    },
    "viscosity": {"mPa·s": 1.0, "mPa s": 1.0, "Pa·s": 1e3, "Pa s": 1e3, "cP": 1.0},
    "rate": {
        **{"1/fs": 1.0, "1/ps": 1e-3, "1/ns": 1e-6, "1/s": 1e-15},
        **{"/fs": 1.0, "/ps": 1e-3, "/ns": 1e-6, "/s": 1e-15},  # "1/ps" is 1 and "/ps"
    },
    "wall time": {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0},
}
"""Unit name → factor to the internal unit, per dimension."""

_LABEL_ENERGIES = ("eV", "meV", "kcal/mol", "kJ/mol", "hartree", "Ha", "Ry")
_LABEL_LENGTHS = ("Å", "A", "bohr", "nm")

FORCE_UNITS = {
    f"{energy}/{length}": DIMENSIONS["energy"][energy] / DIMENSIONS["length"][length]
    for energy in _LABEL_ENERGIES
    for length in _LABEL_LENGTHS
}
"""Unit of labeled forces → factor to eV/Å."""

STRESS_UNITS = DIMENSIONS["pressure"] | {
    f"{energy}/{length}^3": DIMENSIONS["energy"][energy] / DIMENSIONS["length"][length] ** 3 * EV_PER_A3_IN_GPA
    for energy in _LABEL_ENERGIES
    for length in _LABEL_LENGTHS
    if energy != "eV" or length in ("bohr", "nm")
}
"""Unit of labeled stresses → factor to GPa."""

_INTERNAL = {
    "time": "fs",
    "length": "Å",
    "temperature": "K",
    "pressure": "GPa",
    "compressibility": "1/GPa",
    "energy": "eV",
    "mass": "amu",
    "velocity": "Å/fs",
    "acceleration": "Å/fs^2",
    "force": "eV/Å",
    "viscosity": "mPa·s",
    "rate": "1/fs",
    "wall time": "s",
}
_QUANTITY = re.compile(r"^\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(\S.*?)?\s*$")


def parse_quantity(value: float | str, dimension: str, where: str = "") -> float:
    """Converts a number (already in internal units) or a string with a unit to a float in internal units.

    Args:
        value: for example ``2.0`` or ``"2 fs"``.
        dimension: a key of `DIMENSIONS`.
        where: file and key, for the error message.

    Raises:
        InputError: not a finite number, or a unit of another dimension.
    """
    units = DIMENSIONS[dimension]
    if isinstance(value, str):
        match = _QUANTITY.match(value)
        if match is None:
            raise InputError(
                f"'{value}' is not a number with a unit",
                where,
                f'write for example "1.0 {_INTERNAL[dimension]}"',
            )
        number, unit = float(match.group(1)), match.group(2) or _INTERNAL[dimension]
        if unit not in units:
            raise InputError(f"unknown unit '{unit}' for a {dimension}", where, f"use one of {', '.join(units)}")
        result = number * units[unit]
    elif isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InputError(
            f"expected a {dimension}, got {value!r}",
            where,
            f"write a number in {_INTERNAL[dimension]} or a string with a unit",
        )
    else:
        result = float(value)
    if not math.isfinite(result):
        remedy = f"give a number in {_INTERNAL[dimension]}"
        raise InputError(f"{dimension} must be finite, got {value!r}", where, remedy)
    return result
