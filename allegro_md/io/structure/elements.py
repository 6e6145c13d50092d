"""Elements of what a file calls its atoms: symbols, names, type numbers, masses."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from allegro_md.config.fields import SYMBOLS
from allegro_md.errors import InputError

NUMBER_OF = {symbol: number for number, symbol in enumerate(SYMBOLS, 1)}
"""Atomic number of a chemical symbol."""

CLOSE_MASS, CLOSEST_MASS = 5e-4, 0.0025
"""Relative and absolute (amu) distance of a mass from that of its element. The united atom CH₂, 14.027, must not pass
for nitrogen, 14.007, nor the 1 of reduced units for hydrogen, 1.008."""

_NUCLIDES = {
    "H": (1.00783, 2.0141, 3.01605), "He": (4.0026,), "Li": (6.01512, 7.016), "B": (10.01294, 11.00931),
    "C": (12.0, 13.00335), "N": (14.00307, 15.00011), "O": (15.99491, 17.99916), "Si": (27.97693,), "U": (235.04393,),
}
"""Masses of isotopes that are simulated, amu. Helium 3 is not told from tritium: it is left out."""

_NO_STANDARD_WEIGHT = {"Tc", "Pm", "Po", "At", "Rn", "Fr", "Ra", "Ac"}


def example(names: Sequence[str]) -> str:
    """The key `types` for some types or names, as an example for a message."""
    if list(names) == [str(k) for k in range(1, len(names) + 1)]:
        return (
            "system.types = ["
            + ", ".join(f'"{s}"' for s in ("Ar", "Kr", "Xe", "Ne")[: len(names)])
            + (", ...]" if len(names) > 4 else "]")
        )
    inside = ", ".join(f'{n if re.fullmatch(r"[A-Za-z0-9_-]+", n) else repr(n)} = "Ar"' for n in names[:3])
    return f"system.types = {{ {inside}{', ...' if len(names) > 3 else ''} }}"


def of_types(kinds: Iterable[int], types: Mapping[str, str] | None, where: str) -> dict[int, int]:
    """Atomic number of each type number, from the key `types`.

    Raises:
        InputError: no key, or a type that it does not name.
    """
    wanted = sorted(set(kinds))
    names = [str(k) for k in wanted]
    if types is None:
        listed = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
        all_types = [str(k) for k in range(1, max(wanted) + 1)] if 0 < min(wanted) <= max(wanted) < 1000 else names
        raise InputError(
            f"numbers the types of its atoms ({listed}) and does not say which elements they are",
            where,
            f"name them, for example {example(all_types)}",
        )
    missing = [n for n in names if n not in types]
    if missing:
        raise InputError(
            f"has atoms of type {', '.join(missing)}, for which system.types names no element",
            where,
            "name an element for each type, the first is that of type 1",
        )
    return {kind: NUMBER_OF[types[str(kind)]] for kind in wanted}


def of_mass(mass: float) -> int | None:
    """The atomic number that a mass (amu) determines, or None."""
    from ase.data import atomic_masses

    found = set()
    for symbol, number in NUMBER_OF.items():
        if symbol in _NO_STANDARD_WEIGHT or number > NUMBER_OF["U"]:
            continue
        for known in (float(atomic_masses[number]), *_NUCLIDES.get(symbol, ())):
            if abs(mass - known) <= max(CLOSE_MASS * known, CLOSEST_MASS):
                found.add(number)
    return found.pop() if len(found) == 1 else None


def of_masses(masses: Mapping[int, float], where: str) -> dict[int, int]:
    """Atomic number of each type from its mass (amu).

    Raises:
        InputError: a mass that determines no element.
    """
    found = {kind: of_mass(mass) for kind, mass in masses.items()}
    doubtful = [kind for kind, number in found.items() if number is None]
    if doubtful:
        listed = ", ".join(f"type {kind} has mass {masses[kind]:g}" for kind in doubtful[:4])
        raise InputError(
            f"does not say which elements its types are, and their masses do not determine it ({listed}: no element's; "
            "reduced units, beads, united atoms or repartitioned masses?)",
            where,
            f"name the elements, for example {example([str(k) for k in range(1, max(masses) + 1)])}",
        )
    return {kind: number for kind, number in found.items() if number is not None}


def listed(numbers: Mapping[int, int]) -> str:
    """The elements of types, for a remark: ``1 = C, 2 = O``."""
    return ", ".join(f"{kind} = {SYMBOLS[number - 1]}" for kind, number in sorted(numbers.items()))


def of_symbols(
    names: Sequence[str], types: Mapping[str, str] | None, where: str, capitals: bool = True
) -> NDArray[np.int64]:
    """(n,) atomic numbers of names that should be chemical symbols.

    Args:
        names: one per atom.
        types: elements of names that are none, or None.
        where: the file, for messages.
        capitals: whether AR and ar may stand for Ar.

    Raises:
        InputError: a name that is no symbol and of which `types` says nothing, or a name of `types` that is not there.
    """
    _refuse_unused(types, names, where)
    symbols = {
        name: (types or {}).get(name) or (name.capitalize() if capitals else name) for name in dict.fromkeys(names)
    }
    unknown = [name for name, symbol in symbols.items() if symbol not in NUMBER_OF]
    if unknown:
        raise _unknown(unknown, where)
    number = {name: NUMBER_OF[symbol] for name, symbol in symbols.items()}
    return np.array([number[name] for name in names], dtype=np.int64)


def of_atom_names(
    names: Sequence[str], types: Mapping[str, str] | None, where: str
) -> tuple[NDArray[np.int64], str | None]:
    """(n,) atomic numbers of atom names as of .gro and PDB files, and a remark on how they were read.

    A name is certain where its letters are one capital that is a symbol (C, H1, O12) or a symbol as it is written (Ar).

    Raises:
        InputError: a name that can be read in more than one way (CA, NA, HW, OW) and is not in `types`.
    """
    number: dict[str, int] = {}
    assumed: dict[str, str] = {}
    doubtful: list[str] = []
    _refuse_unused(types, names, where)
    for name in dict.fromkeys(names):
        letters = name.rstrip("0123456789")
        if types and name in types:
            number[name] = NUMBER_OF[types[name]]
        elif letters in NUMBER_OF and (len(letters) == 1 or letters[1].islower()):
            number[name] = NUMBER_OF[letters]
            if letters != name:
                assumed[name] = letters
        else:
            doubtful.append(name)
    if doubtful:
        raise InputError(
            f"gives its atoms names but no elements, and these names can be read in more than one way: "
            f"{', '.join(doubtful[:8])}{', ...' if len(doubtful) > 8 else ''}",
            where,
            f"name their elements, for example {example(doubtful)}",
        )
    remark = None
    if assumed:
        shown = ", ".join(f"{name} = {symbol}" for name, symbol in list(assumed.items())[:8])
        remark = f"elements taken from the names of the atoms: {shown}{', ...' if len(assumed) > 8 else ''}"
    return np.array([number[name] for name in names], dtype=np.int64), remark


def _refuse_unused(types: Mapping[str, str] | None, names: Iterable[str], where: str) -> None:
    present = set(names)
    absent = [name for name in types or () if name not in present and not name.isdigit()]
    if absent:
        raise InputError(f"system.types names {absent[0]}, which no atom is called", where,
                         f"its atoms are called {', '.join(sorted(present)[:8])}")


def _unknown(names: Sequence[str], where: str) -> InputError:
    """The error of names that are no chemical symbols."""
    name = names[0]
    if name in ("D", "T"):
        mass = {"D": "2.014", "T": "3.016"}[name]
        return InputError(
            f"names an element {name}; deuterium and tritium are hydrogen with another mass",
            where,
            f"write H in the file and give masses = {{ H = {mass} }} in [system] or a masses column in the file",
        )
    if name in ("X", "Xx", "Vc", "0"):
        return InputError(
            f"has dummy atoms ({name}), which are of no element", where,
            "remove them from the file, or say what they are, for example " + example([name]),
        )
    if name.isdigit():
        return InputError(
            f"has numbers ({name}) in the column of the elements: atomic numbers or types?", where,
            f"write symbols, or name the elements, for example {example(names)}",
        )
    return InputError(
        f"has atoms named {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}: no chemical symbols", where,
        f"write symbols, or name the elements, for example {example(names)}",
    )
