"""Image sums for the tests: every pair of atoms and images, numpy only, nothing of the engine."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def shifts(x: Array, rows: Array, periodic: Sequence[bool], reach: float) -> NDArray[np.int64]:
    """All lattice shifts that can bring some atom within `reach` of another, and more than that.

    Along each periodic vector: the part of it at right angles to the other periodic vectors is how far one shift moves
    the atoms apart at least.
    """
    counts = []
    for axis in range(3):
        if not periodic[axis]:
            counts.append(0)
            continue
        others = np.array([rows[k] for k in range(3) if k != axis and periodic[k]]).reshape(-1, 3)
        basis = np.linalg.qr(others.T)[0]
        normal = rows[axis] - basis @ (basis.T @ rows[axis])
        height = float(np.linalg.norm(normal))
        counts.append(int(np.ceil((reach + np.ptp(x @ normal / height)) / height)))
    ranges = [range(-n, n + 1) for n in counts]
    return np.array(list(itertools.product(*ranges)), dtype=np.int64)


def pairs(
    x: Array, rows: Array, periodic: Sequence[bool], cutoff: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], Array]:
    """All ordered pairs closer than the cutoff: center i, neighbor j, shift S (n, 3), vector x_j + S·h − x_i."""
    parts = []
    for s in shifts(x, rows, periodic, cutoff):
        vector = x[None, :, :] - x[:, None, :] + s @ rows
        near = (vector**2).sum(axis=-1) < cutoff**2
        if not s.any():
            np.fill_diagonal(near, False)
        i, j = np.nonzero(near)
        parts.append((i, j, np.tile(s, (len(i), 1)), vector[i, j]))
    i, j, s, d = (np.concatenate(column) for column in zip(*parts, strict=True))
    return i, j, s, d


def lennard_jones(
    x: Array, rows: Array, periodic: Sequence[bool], epsilon: float, sigma: float, cutoff: float
) -> tuple[Array, Array, Array]:
    """Energies (n,), forces (n, 3) and virial −dE/dstrain (6,); shifted to zero at the cutoff."""
    i, j, _, d = pairs(x, rows, periodic, cutoff)
    r = np.sqrt((d**2).sum(axis=1))
    at_cutoff = 4 * epsilon * ((sigma / cutoff) ** 12 - (sigma / cutoff) ** 6)
    phi = 4 * epsilon * ((sigma / r) ** 12 - (sigma / r) ** 6) - at_cutoff
    slope = 4 * epsilon * (-12 * (sigma / r) ** 12 + 6 * (sigma / r) ** 6) / r
    energy, force = np.zeros(len(x)), np.zeros_like(x)
    np.add.at(energy, i, 0.5 * phi)
    np.add.at(force, i, (slope / r)[:, None] * d)
    tensor = -0.5 * np.einsum("p,pa,pb->ab", slope / r, d, d)
    return energy, force, tensor[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]


def total(
    center: NDArray[np.int64], neighbor: NDArray[np.int64], d: Array, gradient: Array, n: int
) -> tuple[Array, Array]:
    """Forces (n, 3) and virial (6,) from dE/dd of every ordered pair."""
    force = np.zeros((n, 3))
    np.add.at(force, center, gradient)
    np.subtract.at(force, neighbor, gradient)
    tensor = -np.einsum("pa,pb->ab", d, gradient)
    tensor = 0.5 * (tensor + tensor.T)
    return force, tensor[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
