"""The edges of a block of centers of a bilinear network, in lanes (`cpu_vector`): `cpu_bilinear` for what they mean.

Every edge has a lane to itself until sums over the edges of a center are made, over whole vectors from the center's
own first edge on: its place in the block cannot be seen.

What runs once per block owns nothing and is compiled without counting references (`_nrt`): taking and giving back
one to each array of the work table cost as much as a fifth of the work on the block.

Arguments: energy (n_centers,) float64 eV; source and target (…), float32 or float64, of the workspace.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from allegro_md.kernels.cpu_harmonics import R3, second, second_backward, third, third_backward
from allegro_md.kernels.cpu_vector import (
    LANES,
    cast,
    divide,
    first_of,
    fma,
    least,
    load,
    most,
    root,
    splat,
    store,
    sum_of,
    sums_of_eight,
    transpose,
    truncated,
)

CENTERS = 32
"""Most centers of a block."""


class PackedBilinear(NamedTuple):
    """A bilinear network.

    Attributes:
        degrees: l_max + 1.
        channels: C.
        per_spacing: (n, n) float64, 1/Å, inverse spacing of the table of each ordered pair.
        shifts: (n,) float64, eV.
        table: (n · n, intervals, 4, columns) env, q (eV), a (eV): 2 · degrees · C + 1, filled up to whole vectors.
    """

    degrees: int
    channels: int
    per_spacing: NDArray[np.float64]
    shifts: NDArray[np.float64]
    table: NDArray[Any]


class Workspace(NamedTuple):
    """Memory of a block; real: float32 or float64 like the table. Lanes (edges) are the last axis.

    Attributes:
        starts: (CENTERS + 1,) first edge of each center of the block, and the end.
        other: (m,) index of the neighbor.
        vector: (3, m) Å.
        distance: (m,) Å.
        pair: (m,) first interval of the ordered pair's table, in all intervals.
        per_spacing: (m,) of the pair.
        interval: (m,) of the pair's table.
        fraction: (m,) real, in the interval.
        inverse: (m,) real, 1/r, 1/Å.
        unit: (3, m) real, d/r.
        sphere: (degrees², m) real, harmonics.
        rows: (2, 8, columns) real, of eight edges: values and slopes of the radial functions, edge by edge.
        values: (columns, m) real.
        slopes: (columns, m) real, per interval.
        sums: (≥ 2 · degrees² · C, 8) real, of Γ and Q of a center, before the lanes are added up.
        gamma: (≥ 2 · degrees², C) real, Γ and Q of a center.
        by_interval: (m,) real, dE/dr per interval, eV.
        on_sphere: (degrees², m) real, dE/dY, eV.
        gradient: (3, m) dE/dd, eV/Å.
        fixed: (3, m) the same in fixed-point units.
        kinds: (3, 8) the numbers of `cpu_repulsion` of eight pairs of species.
    """

    starts: NDArray[np.int64]
    other: NDArray[np.int32]
    vector: NDArray[np.float64]
    distance: NDArray[np.float64]
    pair: NDArray[np.int64]
    per_spacing: NDArray[np.float64]
    interval: NDArray[np.int32]
    fraction: NDArray[Any]
    inverse: NDArray[Any]
    unit: NDArray[Any]
    sphere: NDArray[Any]
    rows: NDArray[Any]
    values: NDArray[Any]
    slopes: NDArray[Any]
    sums: NDArray[Any]
    gamma: NDArray[Any]
    by_interval: NDArray[Any]
    on_sphere: NDArray[Any]
    gradient: NDArray[np.float64]
    fixed: NDArray[np.int64]
    kinds: NDArray[np.float64]


@numba.njit(cache=True)
def allocate(edges: int, sums: PackedBilinear) -> Workspace:
    """Memory for `edges` edges, and what vectors reach beyond the last."""
    real, columns, orders = sums.table.dtype, sums.table.shape[3], sums.degrees * sums.degrees
    c, padded = sums.channels, -(-2 * orders // LANES) * LANES
    m = (-(-edges // LANES) + 2) * LANES
    return Workspace(
        starts=np.zeros(CENTERS + 1, np.int64),
        other=np.zeros(m, np.int32),
        vector=np.zeros((3, m)),
        distance=np.zeros(m),
        pair=np.zeros(m, np.int64),
        per_spacing=np.full(m, sums.per_spacing[0, 0]),
        interval=np.zeros(m, np.int32),
        fraction=np.zeros(m, real),
        inverse=np.zeros(m, real),
        unit=np.zeros((3, m), real),
        sphere=np.ones((orders, m), real),
        rows=np.zeros((2, LANES, columns), real),
        values=np.zeros((columns, m), real),
        slopes=np.zeros((columns, m), real),
        sums=np.zeros((padded * c, LANES), real),
        gamma=np.zeros((padded, c), real),
        by_interval=np.zeros(m, real),
        on_sphere=np.zeros((orders, m), real),
        gradient=np.zeros((3, m)),
        fixed=np.zeros((3, m), np.int64),
        kinds=np.zeros((3, LANES)),
    )


@numba.njit(cache=True, _nrt=False)
def places(edges: int, sums: PackedBilinear, work: Workspace) -> None:
    """Places in the tables (the last interval beyond the end), unit vectors, harmonics.

    The distance is float64, since its rounding is multiplied by the number of intervals: a square root in the type of
    the table and a step of Newton's, which costs less.
    """
    real, m = splat(sums.table.dtype.type(1.0)), len(work.other)
    zero, one, top = splat(0.0), splat(1.0), splat(np.float64(sums.table.shape[1] - 1))
    for k in range(0, edges, LANES):
        d0, d1, d2 = _three(work.vector, k, m)
        squared = fma(d2, d2, fma(d1, d1, d0 * d0))
        near = root(cast(squared, real))
        inverse = divide(real, near)
        r = cast(near, zero)
        r = fma(fma(zero - r, r, squared), 0.5 * cast(inverse, zero), r)
        store(work.distance, k, r)
        t = r * load(work.per_spacing, k)
        interval = truncated(least(most(t, zero), top))  # of a NaN: 0
        store(work.interval, k, interval)
        store(work.fraction, k, cast(least(one, t - cast(interval, t)), real))
        x, y, z = cast(d0, real) * inverse, cast(d1, real) * inverse, cast(d2, real) * inverse
        store(work.inverse, k, inverse)
        store(work.unit, k, x)
        store(work.unit, m + k, y)
        store(work.unit, 2 * m + k, z)
        if sums.degrees > 1:
            store(work.sphere, m + k, R3 * x)
            store(work.sphere, 2 * m + k, R3 * y)
            store(work.sphere, 3 * m + k, R3 * z)
        if sums.degrees > 2:
            _put(second(x, y, z), work.sphere, 4 * m + k, m)
        if sums.degrees > 3:
            _put(third(x, y, z), work.sphere, 9 * m + k, m)


@numba.njit(cache=True, _nrt=False)
def _put(vectors: Any, target: NDArray[Any], at: int, step: int) -> None:
    """Stores several vectors, `step` apart."""
    for vector in vectors:
        store(target, at, vector)
        at += step


@numba.njit(cache=True, _nrt=False)
def radial(edges: int, sums: PackedBilinear, work: Workspace) -> None:
    """Radial functions and their slopes: rows of columns, eight edges at a time, then lanes of edges."""
    if sums.table.shape[3] == LANES:
        _radial(LANES, edges, sums, work)
    else:
        _radial(sums.table.shape[3], edges, sums, work)


@numba.njit(cache=True, inline="always")
def _radial(columns: int, edges: int, sums: PackedBilinear, work: Workspace) -> None:
    m, size = len(work.other), LANES * columns
    for k in range(0, edges, LANES):
        for e in range(LANES):
            at, p = (work.pair[k + e] + work.interval[k + e]) * 4 * columns, splat(work.fraction[k + e])
            for c in range(0, columns, LANES):
                cubic, linear = load(sums.table, at + 3 * columns + c), load(sums.table, at + columns + c)
                high = fma(cubic, p, load(sums.table, at + 2 * columns + c))
                low = fma(high, p, linear)
                store(work.rows, e * columns + c, fma(low, p, load(sums.table, at + c)))
                store(work.rows, size + e * columns + c, fma(fma(cubic, p, high), p, low))
        for c in range(0, columns, LANES):
            transpose(work.rows, c, columns, work.values, c * m + k, m)
            transpose(work.rows, size + c, columns, work.slopes, c * m + k, m)


@numba.njit(cache=True, _nrt=False)
def couple(taken: int, sums: PackedBilinear, work: Workspace, energy: NDArray[np.float64]) -> None:
    """Sums Γ and Q of the centers; adds to their energies (taken,) float64, eV; leaves dE/dr and dE/dY of the edges."""
    if sums.degrees == 2 and sums.channels == 1:
        _couple(2, 1, taken, work, energy)
    else:
        _couple(sums.degrees, sums.channels, taken, work, energy)


@numba.njit(cache=True, inline="always")
def _couple(d: int, c: int, taken: int, work: Workspace, energy: NDArray[np.float64]) -> None:
    """Takes center after center: numbers written beyond a center's last edge are overwritten by the next centers."""
    for k in range(taken):
        start, end = work.starts[k], work.starts[k + 1]
        energy[k] += _sums(d, c, start, end, work)
        _backward(d, c, start, end, work)


@numba.njit(cache=True, inline="always")
def _sums(d: int, c: int, start: int, end: int, work: Workspace) -> float:
    """Γ and Q of a center; returns Σ a + Γ Q, eV."""
    width, m, size = d * c, len(work.other), d * d * c * LANES
    nothing = splat(work.values.dtype.type(0.0))
    alone = nothing
    for slot in range(0, 2 * size, LANES):
        store(work.sums, slot, nothing)
    for k in range(start, end, LANES):
        alone = alone + first_of(load(work.values, 2 * width * m + k), end - k)
        for degree in range(d):
            for u in range(c):
                env = first_of(load(work.values, (degree * c + u) * m + k), end - k)
                own = first_of(load(work.values, (width + degree * c + u) * m + k), end - k)
                for order in range(degree * degree, (degree + 1) * (degree + 1)):
                    y, slot = first_of(load(work.sphere, order * m + k), end - k), (order * c + u) * LANES
                    store(work.sums, slot, fma(env, y, load(work.sums, slot)))
                    store(work.sums, size + slot, fma(own, y, load(work.sums, size + slot)))
    for slot in range(0, 2 * size, LANES * LANES):
        store(work.gamma, slot // LANES, sums_of_eight(work.sums, slot))
    result = np.float64(sum_of(alone))
    for order in range(d * d):
        for u in range(c):
            result += np.float64(work.gamma[order, u]) * np.float64(work.gamma[d * d + order, u])
    return result


@numba.njit(cache=True, inline="always")
def _backward(d: int, c: int, start: int, end: int, work: Workspace) -> None:
    """dE/dr and dE/dY of the edges of a center."""
    width, m = d * c, len(work.other)
    nothing = splat(work.values.dtype.type(0.0))
    for k in range(start, end, LANES):
        by_interval = load(work.slopes, 2 * width * m + k)
        for degree in range(d):
            for order in range(degree * degree, (degree + 1) * (degree + 1)):
                along = out = nothing
                for u in range(c):
                    a, b = splat(work.gamma[order, u]), splat(work.gamma[d * d + order, u])
                    env = (degree * c + u) * m + k
                    own = env + width * m
                    along = fma(b, load(work.slopes, env), fma(a, load(work.slopes, own), along))
                    out = fma(b, load(work.values, env), fma(a, load(work.values, own), out))
                by_interval = fma(load(work.sphere, order * m + k), along, by_interval)
                store(work.on_sphere, order * m + k, out)
        store(work.by_interval, k, by_interval)


@numba.njit(cache=True, _nrt=False)
def gradients(edges: int, sums: PackedBilinear, work: Workspace) -> None:
    """dE/dd of the edges; zeros up to a whole vector."""
    m, degrees, real, wide = len(work.other), sums.degrees, splat(sums.table.dtype.type(0.0)), splat(0.0)
    for k in range(0, edges, LANES):
        x, y, z = load(work.unit, k), load(work.unit, m + k), load(work.unit, 2 * m + k)
        inverse = load(work.inverse, k)
        g0 = g1 = g2 = real
        if degrees > 1:
            g0, g1, g2 = _three(work.on_sphere, m + k, m)
            g0, g1, g2 = R3 * g0, R3 * g1, R3 * g2
        if degrees > 2:
            low, high = _three(work.on_sphere, 4 * m + k, m), _three(work.on_sphere, 6 * m + k, m)
            a, b, c = second_backward(x, y, z, (low[0], low[1], high[0], high[1], high[2]))
            g0, g1, g2 = g0 + a, g1 + b, g2 + c
        if degrees > 3:
            early, late = _three(work.on_sphere, 9 * m + k, m), _three(work.on_sphere, 12 * m + k, m)
            a, b, c = third_backward(x, y, z, (*early, *late, load(work.on_sphere, 15 * m + k)))
            g0, g1, g2 = g0 + a, g1 + b, g2 + c
        along = load(work.by_interval, k) * cast(load(work.per_spacing, k), real)
        along = along - (g0 * x + g1 * y + g2 * z) * inverse
        store(work.gradient, k, first_of(cast(fma(along, x, g0 * inverse), wide), edges - k))
        store(work.gradient, m + k, first_of(cast(fma(along, y, g1 * inverse), wide), edges - k))
        store(work.gradient, 2 * m + k, first_of(cast(fma(along, z, g2 * inverse), wide), edges - k))


@numba.njit(cache=True, _nrt=False)
def _three(source: NDArray[Any], at: int, step: int) -> Any:
    """Three vectors, `step` apart."""
    return load(source, at), load(source, at + step), load(source, at + 2 * step)
