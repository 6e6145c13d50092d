"""The tensor sum of a single-layer network: environments and dots of a block, scalars of a tile, and the way back.

Components lm of harmonics run over degrees², channels u fastest and in whole wide vectors. Arrays and their shapes:
`cpu_single_layer_arrays.Workspace`; a row of radial functions begins with own_lu. Scalars and their gradient are rows
of `network.widths[0]` elements, the first C or d C of which count. Tiles are given as their first edge and the one
after the last.
"""

from __future__ import annotations

from typing import Any

import numba
from numpy.typing import NDArray

from allegro_md.kernels.cpu_centers import components_backward, multiply_edges, sum_edges
from allegro_md.kernels.cpu_single_layer_arrays import PackedSingleLayer, Workspace
from allegro_md.kernels.cpu_vector import fma, lanes_of, load_wide, store, sums_of_wide, times


@numba.njit(cache=True)
def environments(centers: int, network: PackedSingleLayer, work: Workspace) -> None:
    """Computes A[lm, u] = Σ env_lu Y_lm of each center, and dots_lu = Σ_m Y_lm A[lm, u] of each edge."""
    d, y, bounds = network.degrees, work.harmonics, work.bounds
    sum_edges(d, y, work.env, bounds, centers, work.environment)
    multiply_edges(d, y, work.environment, bounds, centers, work.dots)


@numba.njit(cache=True)
def make_scalars(tile: tuple[int, int], network: PackedSingleLayer, work: Workspace, scalars: NDArray[Any]) -> None:
    """Computes the scalars (edges · stride,) of each edge."""
    row, dots, lanes, (first, last) = work.row, work.dots, lanes_of(work.row), tile
    d, c, stride, columns = network.degrees, network.channels, network.widths[0], row.shape[1]
    for e in range(first, last):
        own, at, to = (e - first) * columns, e * d * c, (e - first) * stride
        for u in range(0, c, lanes):
            total = times(load_wide(row, own + u), load_wide(dots, at + u))
            store(scalars, to + u, total)
            for degree in range(1, d):
                k = degree * c + u
                if network.shared:
                    total = fma(load_wide(row, own + k), load_wide(dots, at + k), total)
                    store(scalars, to + u, total)
                else:
                    store(scalars, to + k, times(load_wide(row, own + k), load_wide(dots, at + k)))


@numba.njit(cache=True)
def scalars_backward(
    tile: tuple[int, int], network: PackedSingleLayer, work: Workspace, gradient: NDArray[Any]
) -> None:
    """Replaces dots by dE/d(dots), and adds to dE/d(fraction); `gradient` (edges · stride,) is dE/d(scalars), eV."""
    row, slope, dots, partial, lanes = work.row, work.row_slope, work.dots, work.partial, lanes_of(work.partial)
    d, c, stride, columns, (first, last) = network.degrees, network.channels, network.widths[0], row.shape[1], tile
    for e in range(first, last):
        own, at, to = (e - first) * columns, e * d * c, (e - first) * stride
        by_own = load_wide(partial, e * partial.shape[1] * lanes)
        for u in range(0, c, lanes):
            for degree in range(d):
                k = degree * c + u
                on_scalars = load_wide(gradient, to + (u if network.shared else k))
                on_own = times(on_scalars, load_wide(dots, at + k))
                by_own = fma(on_own, load_wide(slope, own + k), by_own)
                store(dots, at + k, times(on_scalars, load_wide(row, own + k)))
        store(partial, e * partial.shape[1] * lanes, by_own)


@numba.njit(cache=True)
def environments_backward(centers: int, edges: int, network: PackedSingleLayer, work: Workspace) -> None:
    """Makes of dE/d(dots) dE/dY of each edge of a block, and dE/d(fraction) in place of that of the constant Y_0."""
    d, y, env, slope, dots, bounds = network.degrees, work.harmonics, work.env, work.env_slope, work.dots, work.bounds
    environment, grad_environment, on_env, partial = work.environment, work.grad_environment, work.on_env, work.partial
    sum_edges(d, y, dots, bounds, centers, grad_environment)
    multiply_edges(d, y, grad_environment, bounds, centers, on_env)
    components_backward(d, env, dots, grad_environment, environment, bounds, centers, partial)
    width, components, lanes = d * network.channels, d * d, lanes_of(partial)
    for e in range(edges):
        total = load_wide(partial, e * components * lanes)
        for k in range(e * width, (e + 1) * width, lanes):
            total = fma(load_wide(on_env, k), load_wide(slope, k), total)
        store(partial, e * components * lanes, total)
    for k in range(0, edges * components, lanes):
        store(work.sums, k, sums_of_wide(partial, k * lanes))
