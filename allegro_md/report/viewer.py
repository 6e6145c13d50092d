"""The three-dimensional view: what the script of the page draws with 3Dmol.js."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from allegro_md.config.fields import SYMBOLS
from allegro_md.report.structure import Structure

TOLERANCE = 1.15
"""A bond: closer than so many times the sum of the covalent radii; one element no metal, neither of `IONIC`."""

IONIC = frozenset({"Li", "Na", "K", "Rb", "Cs", "Fr", "Mg", "Ca", "Sr", "Ba", "Ra"})
"""Alkali and alkaline-earth metals, whose sticks would hide the molecules and polyhedra between them."""

NONMETALS = frozenset({
    "H", "He", "B", "C", "N", "O", "F", "Ne", "Si", "P", "S", "Cl", "Ar", "Ge", "As", "Se", "Br", "Kr", "Te", "I",
    "Xe", "At", "Rn",
})  # fmt: skip

BALL = 0.30
"""Radius of a ball in covalent radii, in a structure with bonds."""

FREE_BALL = 0.29
"""Mean radius of the balls in distances to the nearest neighbor, in a structure without bonds."""


@dataclass(frozen=True)
class Element:
    """An entry of the legend.

    Attributes:
        symbol: chemical symbol.
        color: as ``#rrggbb``, of Jmol.
        count: atoms that are shown.
    """

    symbol: str
    color: str
    count: int


def legend(structure: Structure) -> list[Element]:
    """The elements that are shown, in the order of the atomic numbers."""
    numbers, counts = np.unique(structure.number, return_counts=True)
    return [
        Element(SYMBOLS[k - 1], _color(k), count) for k, count in zip(numbers.tolist(), counts.tolist(), strict=True)
    ]


def scene(structure: Structure) -> dict[str, Any]:
    """The atoms, bonds and edges of the cell, JSON-like."""
    from ase.data import covalent_radii

    bonds = bonded_pairs(structure.position, structure.number)
    ball = BALL if len(bonds) else _free_ball(structure)
    styles = {
        element.symbol: {"color": element.color, "radius": round(ball * float(covalent_radii[number]), 3)}
        for element, number in zip(legend(structure), np.unique(structure.number).tolist(), strict=True)
    }
    return {
        "styles": styles,
        "symbols": [SYMBOLS[k - 1] for k in structure.number.tolist()],
        "positions": np.round(structure.position, 3).tolist(),
        "bonds": bonds.tolist(),
        "edges": np.round(_edges(structure), 3).tolist(),
    }


def bonded_pairs(position: NDArray[np.float64], number: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pairs of atoms that are drawn with a stick between them, not across boundaries.

    Args:
        position: (n, 3) Å.
        number: (n,) atomic numbers.

    Returns:
        (bonds, 2) int64, indices of atoms, the smaller one first.
    """
    from ase.data import covalent_radii

    radius = covalent_radii[number]
    nonmetal, ionic = (
        np.isin(number, [SYMBOLS.index(symbol) + 1 for symbol in group]) for group in (NONMETALS, IONIC)
    )
    pairs = cKDTree(position).query_pairs(2.0 * TOLERANCE * float(radius.max()), output_type="ndarray")
    i, j = pairs[:, 0], pairs[:, 1]
    distance = np.linalg.norm(position[i] - position[j], axis=1)
    chosen = (distance < TOLERANCE * (radius[i] + radius[j])) & (nonmetal[i] | nonmetal[j]) & ~ionic[i] & ~ionic[j]
    found = pairs[chosen].astype(np.int64)
    return found[np.lexsort((found[:, 1], found[:, 0]))]


@cache
def library() -> str:
    """The source of 3Dmol.js with its license before it."""
    assets = files("allegro_md.report").joinpath("assets")
    license_text = assets.joinpath("3Dmol-LICENSE.txt").read_text(encoding="utf-8")
    return f"/*!\n{license_text.strip()}\n*/\n" + assets.joinpath("3Dmol-min.js").read_text(encoding="utf-8")


def _free_ball(structure: Structure) -> float:
    """The radius of a ball in covalent radii, in a structure without bonds."""
    from ase.data import covalent_radii

    if len(structure.position) < 2:
        return 1.0
    distance = cKDTree(structure.position).query(structure.position, k=2)[0][:, 1]
    return FREE_BALL * float(np.median(distance)) / float(covalent_radii[structure.number].mean())


def _color(number: int) -> str:
    from ase.data.colors import jmol_colors

    return "#" + "".join(f"{round(255 * float(part)):02x}" for part in jmol_colors[min(number, len(jmol_colors) - 1)])


def _edges(structure: Structure) -> NDArray[np.float64]:
    """The edges of the cell, (edges, 2, 3) Å; none of a part of a system, or along axes without a lattice vector."""
    cell = structure.cell
    axes = [axis for axis in range(3) if not cell.absent[axis]]
    found = []
    for axis in axes if structure.is_whole else []:
        others = [other for other in axes if other != axis]
        for corner in product((0.0, 1.0), repeat=len(others)):
            start = cell.origin + sum((c * cell.matrix[o] for c, o in zip(corner, others, strict=True)), np.zeros(3))
            found.append([start, start + cell.matrix[axis]])
    return np.array(found).reshape(-1, 2, 3)
