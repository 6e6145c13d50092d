"""Tensors of networks of several layers, channel by channel: environments, scalars, and the way back.

Components lm run over degrees², channels u fastest and in whole wide vectors. Edges of center i are `bounds[i]` …
`bounds[i + 1]`. Shapes: y (rows, d²); row, and slope of it (rows, columns), begins with own_lu; a node of environment
weights (rows, d C); environments, grad_environments and readers (centers, K, d² C).

In the dense form a tensor of edge (i, j) is V_0 = own_lu Y_lm times matrices that belong to i alone, so the scalars of
layer k are V_0 · B_k with one reader B_k per center: the products with the environments are taken once per center.

Further arguments: bounds (centers + 1,) int64; norm (centers,); values, gradients (…), buffers of a block, in which
`places` (K,) int64 are offsets; scalars, on_scalars (rows, C); weights, on_weights (rows, d C); on_readers (centers, d²
C); gradient, out (rows, d² C); on_y (rows, d²) eV; by_fraction (rows,) float64 eV; terms (n, 3) int64, coefficients (n,
C) and x (…) of a contraction. All without a dtype are float32 or float64, as the table.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from allegro_md.kernels.cpu_vector import fma, lanes_of, load_wide, splat_as, store, sum_of, times


@numba.njit(cache=True)
def clear(values: NDArray[Any], start: int, n: int) -> None:
    """n zeros, whole wide vectors."""
    nothing = splat_as(0.0, load_wide(values, 0))
    for u in range(start, start + n, lanes_of(values)):
        store(values, u, nothing)


@numba.njit(cache=True)
def sum_environments(
    taken: int,
    bounds: NDArray[np.int64],
    norm: NDArray[Any],
    d: int,
    c: int,
    y: NDArray[Any],
    weights: NDArray[Any],
    k: int,
    environments: NDArray[Any],
) -> None:
    """Γ_k of each center: norm · Σ weights_lu Y_lm."""
    size, step = d * d * c, lanes_of(y)
    for i in range(taken):
        at = (i * environments.shape[1] + k) * size
        clear(environments, at, size)
        for e in range(bounds[i], bounds[i + 1]):
            for degree in range(d):
                for u in range(0, c, step):
                    weight = load_wide(weights, e * (d * c) + degree * c + u)
                    for m in range(degree * degree, (degree + 1) * (degree + 1)):
                        place = at + m * c + u
                        factor = splat_as(y[e, m], weight)
                        store(environments, place, fma(weight, factor, load_wide(environments, place)))
        for u in range(at, at + size, step):
            total = load_wide(environments, u)
            store(environments, u, times(total, splat_as(norm[i], total)))


@numba.njit(cache=True)
def environments_backward(
    taken: int,
    bounds: NDArray[np.int64],
    norm: NDArray[Any],
    d: int,
    c: int,
    y: NDArray[Any],
    k: int,
    grad_environments: NDArray[Any],
    on_weights: NDArray[Any],
) -> None:
    """dE/dweights of each edge; `grad_environments` (dE/dΓ_k) becomes the gradient at the sum without the norm."""
    size, step = d * d * c, lanes_of(y)
    nothing = splat_as(0.0, load_wide(grad_environments, 0))
    for i in range(taken):
        at = (i * grad_environments.shape[1] + k) * size
        for u in range(at, at + size, step):
            store(grad_environments, u, times(load_wide(grad_environments, u), splat_as(norm[i], nothing)))
        for e in range(bounds[i], bounds[i + 1]):
            for degree in range(d):
                for u in range(0, c, step):
                    total = nothing
                    for m in range(degree * degree, (degree + 1) * (degree + 1)):
                        total = fma(load_wide(grad_environments, at + m * c + u), splat_as(y[e, m], total), total)
                    store(on_weights, e * (d * c) + degree * c + u, total)


@numba.njit(cache=True)
def read_scalars(
    taken: int,
    bounds: NDArray[np.int64],
    d: int,
    c: int,
    y: NDArray[Any],
    row: NDArray[Any],
    k: int,
    readers: NDArray[Any],
    scalars: NDArray[Any],
) -> None:
    """scalars_u = Σ_lm own_lu Y_lm B_k[lm, u]."""
    columns, nothing = row.shape[1], splat_as(0.0, load_wide(row, 0))
    for i in range(taken):
        at = (i * readers.shape[1] + k) * (d * d * c)
        for e in range(bounds[i], bounds[i + 1]):
            for u in range(0, c, lanes_of(y)):
                total = nothing
                for degree in range(d):
                    dot = nothing
                    for m in range(degree * degree, (degree + 1) * (degree + 1)):
                        dot = fma(load_wide(readers, at + m * c + u), splat_as(y[e, m], dot), dot)
                    total = fma(load_wide(row, e * columns + degree * c + u), dot, total)
                store(scalars, e * c + u, total)


@numba.njit(cache=True)
def readers_backward(
    taken: int,
    bounds: NDArray[np.int64],
    d: int,
    c: int,
    y: NDArray[Any],
    row: NDArray[Any],
    on_scalars: NDArray[Any],
    on_readers: NDArray[Any],
) -> None:
    """dE/dB[lm, u] = Σ own_lu Y_lm dE/dscalars_u of each center, (centers, d² C)."""
    columns, size = row.shape[1], d * d * c
    for i in range(taken):
        at = i * size
        clear(on_readers, at, size)
        for e in range(bounds[i], bounds[i + 1]):
            for degree in range(d):
                for u in range(0, c, lanes_of(y)):
                    own = load_wide(row, e * columns + degree * c + u)
                    weight = times(own, load_wide(on_scalars, e * c + u))
                    for m in range(degree * degree, (degree + 1) * (degree + 1)):
                        place = at + m * c + u
                        store(on_readers, place, fma(weight, splat_as(y[e, m], weight), load_wide(on_readers, place)))


@numba.njit(cache=True)
def gradients_from_readers(
    taken: int,
    bounds: NDArray[np.int64],
    size: int,
    c: int,
    gradients: NDArray[Any],
    places: NDArray[np.int64],
    readers: NDArray[Any],
    out: NDArray[Any],
) -> None:
    """dE/dV_0 of each edge, (rows, d² C): Σ_k dE/dscalars.k_u B_k[lm, u]; `places` say where those gradients are."""
    layers = readers.shape[1]
    for i in range(taken):
        for e in range(bounds[i], bounds[i + 1]):
            for u in range(0, c, lanes_of(readers)):
                for m in range(u, size, c):
                    total = splat_as(0.0, load_wide(readers, 0))
                    for k in range(layers):
                        gradient = load_wide(gradients, places[k] + e * c + u)
                        total = fma(gradient, load_wide(readers, (i * layers + k) * size + m), total)
                    store(out, e * size + m, total)


@numba.njit(cache=True)
def first_backward(
    edges: int,
    d: int,
    c: int,
    y: NDArray[Any],
    row: NDArray[Any],
    slope: NDArray[Any],
    gradient: NDArray[Any],
    on_y: NDArray[Any],
    by_fraction: NDArray[np.float64],
) -> None:
    """From dE/dV_0 (rows, d² C): dE/dY (not of the constant Y_0), and what own says of the fraction."""
    columns, step, nothing = row.shape[1], lanes_of(y), splat_as(0.0, load_wide(row, 0))
    for e in range(edges):
        at, by_own = e * (d * d * c), nothing
        for degree in range(d):
            for u in range(0, c, step):
                dot = nothing
                for m in range(degree * degree, (degree + 1) * (degree + 1)):
                    dot = fma(load_wide(gradient, at + m * c + u), splat_as(y[e, m], dot), dot)
                by_own = fma(dot, load_wide(slope, e * columns + degree * c + u), by_own)
            for m in range(max(1, degree * degree), (degree + 1) * (degree + 1)):
                total = nothing
                for u in range(0, c, step):
                    own = load_wide(row, e * columns + degree * c + u)
                    total = fma(own, load_wide(gradient, at + m * c + u), total)
                on_y[e, m] = sum_of(total)
        by_fraction[e] += sum_of(by_own)


@numba.njit(cache=True)
def environment_harmonics_backward(
    taken: int,
    bounds: NDArray[np.int64],
    d: int,
    c: int,
    values: NDArray[Any],
    places: NDArray[np.int64],
    grad_environments: NDArray[Any],
    on_y: NDArray[Any],
) -> None:
    """Adds to dE/dY what comes through the environments; `places` say where the weights of each layer are."""
    layers, size = grad_environments.shape[1], d * d * c
    for i in range(taken):
        for e in range(bounds[i], bounds[i + 1]):
            for degree in range(1, d):
                for m in range(degree * degree, (degree + 1) * (degree + 1)):
                    total = splat_as(0.0, load_wide(grad_environments, 0))
                    for k in range(layers):
                        at, from_weights = (i * layers + k) * size + m * c, places[k] + e * (d * c) + degree * c
                        for u in range(0, c, lanes_of(grad_environments)):
                            total = fma(load_wide(values, from_weights + u), load_wide(grad_environments, at + u),
                                total)
                    on_y[e, m] += sum_of(total)


@numba.njit(cache=True)
def contract(
    first: int,
    last: int,
    c: int,
    terms: NDArray[np.int64],
    coefficients: NDArray[Any],
    roles: tuple[int, int, int],
    x: NDArray[Any],
    x_at: int,
    y: NDArray[Any],
    y_at: int,
    out: NDArray[Any],
    out_at: int,
) -> None:
    """out[o, u] += coefficient[u] x[a, u] y[b, u] of some terms; `roles` are the columns of `terms` with a, b, o."""
    for n in range(first, last):
        a, b, o = x_at + terms[n, roles[0]] * c, y_at + terms[n, roles[1]] * c, out_at + terms[n, roles[2]] * c
        for u in range(0, c, lanes_of(x)):
            product = times(load_wide(x, a + u), load_wide(y, b + u))
            store(out, o + u, fma(load_wide(coefficients, n * c + u), product, load_wide(out, o + u)))
