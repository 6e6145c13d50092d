"""Unit cells of crystals of one element."""

from __future__ import annotations

from typing import Any

import numpy as np

_FCC = ((0.0, 0.0, 0.0), (0.0, 0.5, 0.5), (0.5, 0.0, 0.5), (0.5, 0.5, 0.0))

BASES: dict[str, tuple[tuple[float, float, float], ...]] = {
    "sc": ((0.0, 0.0, 0.0),),
    "bcc": ((0.0, 0.0, 0.0), (0.5, 0.5, 0.5)),
    "fcc": _FCC,
    "diamond": tuple((x + shift, y + shift, z + shift) for x, y, z in _FCC for shift in (0.0, 0.25)),
    "hcp": ((0.0, 0.0, 0.0), (1.0 / 3.0, 2.0 / 3.0, 0.5)),
}
"""Lattice → fractional coordinates of the atoms of a cubic cell, of a hexagonal one for hcp, as in `ase.build.bulk`.

That function loads a large part of ASE and scipy, which takes as long as all else at the start of a small run.
"""


def unit_cell(symbol: str, lattice: str, a: float, c: float | None = None) -> Any:
    """An `ase.Atoms` of one cell.

    Args:
        symbol: chemical symbol.
        lattice: key of `BASES`.
        a: lattice constant, Å.
        c: second lattice constant of hcp, Å; None: ideal.
    """
    from ase import Atoms

    basis, rows = BASES[lattice], a * np.eye(3)
    if lattice == "hcp":
        height = a * np.sqrt(8.0 / 3.0) if c is None else c
        rows = np.array([(a, 0.0, 0.0), (-0.5 * a, a * np.sqrt(3.0) / 2.0, 0.0), (0.0, 0.0, height)])
    return Atoms([symbol] * len(basis), scaled_positions=basis, cell=rows, pbc=True)
