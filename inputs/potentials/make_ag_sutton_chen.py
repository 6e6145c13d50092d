"""Write ag-sutton-chen.eam.alloy: silver after Sutton and Chen, as a setfl table.

    E_i = eps [ 1/2 sum_j (a/r_ij)^12 w(r_ij)  -  c sqrt( sum_j (a/r_ij)^6 w(r_ij) ) ]

The exponents 12 and 6 are those of A. P. Sutton and J. Chen, Phil. Mag. Lett. 61, 139 (1990) for silver. The
published sums run over the infinite crystal; here w takes them smoothly to zero between 6.5 and 7.5 Å, and eps
and c are solved again from the two quantities the paper fits them to: no pressure at the lattice constant 4.09 Å
and a cohesive energy of 2.96 eV. (Without w the same two lines give the published eps = 2.5415e-3 eV, c = 144.41.)

Run it here:  python make_ag_sutton_chen.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

LATTICE, COHESION = 4.09, 2.96  # Å, eV per atom
INNER, CUTOFF = 6.5, 7.5  # Å, where w starts to fall, where it is zero
POINTS, RHO_MAX = 1000, 400.0  # rows of each table; twice the density of the perfect crystal and more
R_CORE = 1.0  # Å, the tables stay constant inside: no physics is claimed there

Array = NDArray[np.float64]


def taper(r: Array) -> Array:
    """Quintic step from 1 at INNER to 0 at CUTOFF, first and second derivatives zero at both ends."""
    t = np.clip((r - INNER) / (CUTOFF - INNER), 0.0, 1.0)
    return 1.0 - t**3 * (10.0 - 15.0 * t + 6.0 * t**2)


def power(r: Array, n: int) -> Array:
    """(a/r)^n w(r)."""
    return (LATTICE / r) ** n * taper(r)


def fcc_distances(a: float) -> Array:
    """Distances (Å) from an atom of an fcc crystal to its neighbors within CUTOFF."""
    cells = np.arange(-4, 5)
    corners = np.stack(np.meshgrid(cells, cells, cells, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    basis = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    r = a * np.linalg.norm(corners + basis, axis=-1).ravel()
    return r[(r > 0) & (r < CUTOFF)]


def solve() -> tuple[float, float]:
    """Energy scale eps (eV) and c from zero pressure and the cohesive energy."""

    def sums(a: float) -> tuple[float, float]:
        r = fcc_distances(a)
        return float(power(r, 12).sum()), float(np.sqrt(power(r, 6).sum()))

    h = 1e-5
    (up12, up6), (down12, down6) = sums(LATTICE + h), sums(LATTICE - h)
    c = 0.5 * (up12 - down12) / (up6 - down6)
    s12, s6 = sums(LATTICE)
    return COHESION / (c * s6 - 0.5 * s12), c


def write(path: Path) -> None:
    """The setfl file: header, F(rho), rho(r), r V(r)."""
    eps, c = solve()
    rho = np.linspace(0.0, RHO_MAX, POINTS)
    dr = CUTOFF / (POINTS - 1)
    r = dr * np.arange(POINTS)
    core = np.maximum(r, R_CORE)
    tables = (0.0 - eps * c * np.sqrt(rho), power(core, 6), r * eps * power(core, 12))
    lines = [
        "Silver, Sutton-Chen 12-6 with a smooth cutoff; Phil. Mag. Lett. 61, 139 (1990)",
        f"eps = {eps:.10e} eV, c = {c:.10f}, a = {LATTICE} A, w falls from {INNER} to {CUTOFF} A",
        "Units eV and A. Written by make_ag_sutton_chen.py of allegro-md, MIT license",
        "1 Ag",
        f"{POINTS} {rho[1]:.17e} {POINTS} {dr:.17e} {CUTOFF:.17e}",
        f"47 107.8682 {LATTICE} fcc",
    ]
    lines += [f"{value:.16e}" for table in tables for value in table]
    path.write_text("\n".join(lines) + "\n", encoding="ascii")


if __name__ == "__main__":
    write(Path(__file__).parent / "ag-sutton-chen.eam.alloy")
