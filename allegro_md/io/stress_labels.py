"""Stresses and virials of a file: six or nine numbers, and whether the two say the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from allegro_md.errors import InputError
from allegro_md.io.labeled_frame import Array
from allegro_md.units import EV_PER_A3_IN_GPA, STRESS_UNITS

LARGEST_ASYMMETRY = 0.01
"""Of a stress, relative to its largest component: beyond, nine numbers are not a stress."""

SAME, PROPORTIONAL = 0.01, 0.02
"""Relative deviation of a stress from that of a virial, as it is and times a factor."""


def symmetric(numbers: Array, order: Sequence[str], name: str, source: str) -> Array:
    """(3, 3) of nine numbers row by row, or of six in a given order.

    Args:
        numbers: (3, 3), (9,) or (6,).
        order: "xx", "yy", … of six numbers.
        name: of the entry.
        source: file and frame, for messages.

    Raises:
        InputError: nine numbers are not symmetric.
    """
    if numbers.size == 9:
        stress = numbers.reshape(3, 3)
    else:
        stress = np.empty((3, 3))
        for value, (i, j) in zip(numbers, _places(order), strict=True):
            stress[i, j] = stress[j, i] = value
    if np.isfinite(stress).all() and np.abs(stress - stress.T).max() > LARGEST_ASYMMETRY * np.abs(stress).max():
        what = f"the stress in '{name}' is not symmetric"
        raise InputError(what, source, "give nine numbers row by row, or six; or train without it: loss.stress = 0")
    return 0.5 * stress + 0.5 * stress.T


def _places(order: Sequence[str]) -> Iterator[tuple[int, int]]:
    for word in order:
        yield "xyz".index(word[0]), "xyz".index(word[1])


def compare(pairs: Sequence[tuple[Array, Array]], stress: str, virial: str, unit: str, file: str) -> None:
    """Refuses a stress and a virial of the same frames that contradict each other.

    Args:
        pairs: (3, 3) eV/Å³ of the stress, and of the virial, of each frame.
        stress: name of the stress.
        virial: name of the virial.
        unit: in which the stress was read.
        file: for messages.

    Raises:
        InputError: names the factor between them, and the unit or sign that would explain it.
    """
    one, other = (np.array([pair[k] for pair in pairs]).ravel() for k in (0, 1))
    if np.linalg.norm(one - other) <= SAME * np.linalg.norm(one):
        return
    named = f'name the one that is right, data.labels.stress = "{stress}" or "{virial}"'
    factor = float(one @ other) / float(other @ other) if other.any() else 0.0
    if factor == 0.0 or np.linalg.norm(one - factor * other) > PROPORTIONAL * np.linalg.norm(one):
        raise InputError(f"'{stress}' and −'{virial}'/volume are different stresses", file, named)
    what = f"'{stress}' and '{virial}' contradict each other: the stress is {factor:.4g} times −virial/volume"
    found, sign = factors_of_units(unit, factor)
    if found and sign > 0.0:
        raise InputError(what, file, f'write data.labels.stress_unit = "{found}" if that is its unit, or {named}')
    raise InputError(what + (": one of them has the other sign" if factor < 0.0 else ""), file, named)


def factors_of_units(unit: str, factor: float, tolerance: float = 0.05) -> tuple[str | None, float]:
    """The unit that makes numbers read in another one too large by a factor, and the factor's sign.

    Args:
        unit: in which the numbers were read.
        factor: by which they are too large.
        tolerance: relative.

    Returns:
        The unit, or None if there is none, and 1.0 or −1.0.
    """
    sign = 1.0 if factor > 0.0 else -1.0
    read = STRESS_UNITS.get(unit, EV_PER_A3_IN_GPA)
    for name in ("GPa", "kbar", "bar", "MPa", "Pa", "hartree/bohr^3", "eV/Å^3", "kcal/mol/Å^3", "Ry/bohr^3"):
        if name != unit and abs(abs(factor) * STRESS_UNITS[name] / read - 1.0) < tolerance:
            return name, sign
    return None, sign
