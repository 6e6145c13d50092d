"""Tables of the radial functions of a folded network: cubic splines with continuous curvature on a uniform grid.

Value, slope and curvature vanish at the cutoff: in the last interval a spline is c (r_c − r)³, which leaves its value
at the last inner knot to the continuity of the curvature instead of the sample.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_banded

from allegro_md.models.fused.fold import Fold

Array = NDArray[np.float64]

_CONTACT = 1e-9
"""Reduced distance that stands for 0, where the radial functions have a limit but their formula does not."""


def tabulate(fold: Fold, intervals: int) -> Array:
    """Samples the radial functions of all ordered pairs.

    Returns:
        (n · n, intervals, 4, columns) coefficients of the cubic in the fraction of each interval of length
        r_c / intervals, lowest power first; ordered pair center · n + neighbor. The columns of a folded model are
        those of `Fold.sample`, those of a bilinear one of `bilinear_sample`.
    """
    n = len(fold.factors)
    x = np.arange(intervals + 1) / intervals
    x[0] = _CONTACT
    sample = bilinear_sample if fold.kind == "bilinear" else Fold.sample
    return np.stack([splines(sample(fold, i, j, x)) for i in range(n) for j in range(n)])


def bilinear_sample(fold: Fold, center: int, neighbor: int, x: Array) -> Array:
    """Radial functions of a bilinear network at `x` (m,) reduced distances: (m, 2 · degrees · C + 1) env_lu, q_lu, a.

    They make the energy Σ_j a + Σ_lmu (Σ_j env_lu Y_lm) (Σ_j q_lu Y_lm) + shift.
    """
    (level,) = fold.levels
    width = fold.degrees * fold.channels
    values = fold.sample(center, neighbor, x)
    weight = level.matrix[:, 0]
    own = values[:, width : 2 * width] * (np.tile(weight, fold.degrees) if fold.shared else weight)
    if level.cut:
        own = own * values[:, -1:]
    factor = fold.factors[center]
    alone = values[:, 2 * width : 2 * width + 1]
    return np.concatenate([values[:, :width], factor * own, factor * alone], axis=1)


def scaled(fold: Fold, table: Array, weight: float) -> tuple[Fold, Array]:
    """Multiplies all energies of a folded network and its table (n · n, intervals, 4, columns) by `weight`."""
    if weight == 1.0:
        return fold, table
    if fold.kind == "bilinear":  # whose factors are in the table, behind the environment
        table = table.copy()
        table[..., fold.degrees * fold.channels :] *= weight
    repulsion = fold.repulsion * np.array([weight, 1.0, 1.0])[:, None, None]
    return replace(fold, factors=weight * fold.factors, shifts=weight * fold.shifts, repulsion=repulsion), table


def splines(values: Array) -> Array:
    """Cubics through samples at whole numbers 0 … n; see the module for the end at n.

    Args:
        values: (n + 1, w), n ≥ 6; the last row is taken as zero.

    Returns:
        (n, 4, w) coefficients in the fraction of each interval, lowest power first.
    """
    f = np.array(values)
    n = len(f) - 1
    m = np.zeros_like(f)
    m[0] = np.array([-25.0, 48.0, -36.0, 16.0, -3.0]) @ f[:5] / 12.0  # one-sided, of fourth order
    bands = np.ones((3, n - 2))  # slopes at 1 … n − 2
    bands[1] = 4.0
    bands[1, -1] = 3.5
    right = 3.0 * (f[2:n] - f[: n - 2])
    right[0] -= m[0]
    right[-1] = 1.5 * f[n - 2] - 3.0 * f[n - 3]
    m[1 : n - 1] = solve_banded((1, 1), bands, right)
    f[n - 1] = (m[n - 2] + 3.0 * f[n - 2]) / 12.0
    m[n - 1] = -3.0 * f[n - 1]
    f[n] = 0.0
    rise, left, end = np.diff(f, axis=0), m[:-1], m[1:]
    cubics = np.stack([f[:-1], left, 3.0 * rise - 2.0 * left - end, left + end - 2.0 * rise], axis=1)
    c = f[n - 1]
    cubics[-1] = np.stack([c, -(3.0 * c), 3.0 * c, -c])  # value and slope are exactly zero at the end
    return cubics
