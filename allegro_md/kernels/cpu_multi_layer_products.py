"""The tensor products of networks of several layers: once per center (dense form), or edge by edge (residual form).

Arguments, float32 or float64: scalars and on_scalars (rows, C), of edges; environments, on_readers and
grad_environments (centers, K, d² C), of one layer without K; chain (2, K + 1, components · C); source and target (…)
buffers.
"""

from __future__ import annotations

from typing import Any

import numba
from numpy.typing import NDArray

from allegro_md.kernels.cpu_matrix import multiply
from allegro_md.kernels.cpu_multi_layer_arrays import SLICE, MultiLayerWorkspace, PackedMultiLayer, part
from allegro_md.kernels.cpu_multi_layer_tensor import clear, contract, read_scalars, readers_backward
from allegro_md.kernels.cpu_vector import lanes_of, load_wide, plus, splat_as, store, times

_TENSOR, _ENVIRONMENT, _RESULT = 0, 1, 2


@numba.njit(cache=True, inline="always")
def make_readers(
    k: int, taken: int, network: PackedMultiLayer, work: MultiLayerWorkspace, scalars: NDArray[Any]
) -> None:
    """scalars.k from the environments up to Γ_k (dense form)."""
    d, c = network.degrees, network.channels
    size, layers = d * d * c, len(network.components)
    for i in range(taken):
        _read_back(k, 0, i, network, work.environments, work.chain)
        for u in range(0, size, lanes_of(work.chain)):
            store(work.readers, (i * layers + k) * size + u, load_wide(work.chain, u))
    read_scalars(taken, work.bounds, d, c, work.harmonics, work.row, k, work.readers, scalars)


@numba.njit(cache=True, inline="always")
def chains_backward(
    k: int, taken: int, network: PackedMultiLayer, work: MultiLayerWorkspace, on_scalars: NDArray[Any]
) -> None:
    """From dE/dscalars.k to dE/dΓ_0 … Γ_k (dense form)."""
    readers_backward(
        taken, work.bounds, network.degrees, network.channels, work.harmonics, work.row, on_scalars, work.on_readers
    )
    for i in range(taken):
        _read_back(k, 1, i, network, work.environments, work.chain)
        _chain_backward(k, i, network, work.environments, work.on_readers, work.chain, work.grad_environments)


@numba.njit(cache=True, inline="always")
def _read_back(
    k: int, down_to: int, i: int, network: PackedMultiLayer, environments: NDArray[Any], chain: NDArray[Any]
) -> None:
    """chain[0, j], j = k … down_to: what V_j of an edge of center i is to be multiplied with to give scalars.k."""
    c, layers, size = network.channels, len(network.components), network.degrees * network.degrees * network.channels
    length = chain.shape[2]
    for u in range(0, c, lanes_of(chain)):
        store(chain, (k + 1) * length + u, splat_as(1.0, load_wide(chain, 0)))
    for j in range(k, down_to - 1, -1):
        last = network.scalar_terms[j] if j == k else network.term_starts[j + 1]
        clear(chain, j * length, network.components[j] * c)
        contract(
            network.term_starts[j], last, c, network.terms, network.coefficients, (_ENVIRONMENT, _RESULT, _TENSOR),
            environments, (i * layers + j) * size, chain, (j + 1) * length, chain, j * length,
        )


@numba.njit(cache=True, inline="always")
def _chain_backward(
    k: int, i: int, network: PackedMultiLayer, environments: NDArray[Any], on_readers: NDArray[Any],
    chain: NDArray[Any],
    grad_environments: NDArray[Any],
) -> None:
    """Adds to dE/dΓ_0 … Γ_k of a center what comes from dE/dB_k; chain[1, j] is dE/dchain[0, j]."""
    c, layers, size = network.channels, len(network.components), network.degrees * network.degrees * network.channels
    length = chain.shape[2]
    second = (layers + 1) * length
    for u in range(0, size, lanes_of(chain)):
        store(chain, second + u, load_wide(on_readers, i * size + u))
    for j in range(k + 1):
        first = network.term_starts[j]
        last = network.scalar_terms[j] if j == k else network.term_starts[j + 1]
        gamma = (i * layers + j) * size
        contract(
            first, last, c, network.terms, network.coefficients, (_TENSOR, _RESULT, _ENVIRONMENT), chain,
            second + j * length, chain, (j + 1) * length, grad_environments, gamma,
        )
        if j < k:
            clear(chain, second + (j + 1) * length, network.components[j + 1] * c)
            contract(
                first, last, c, network.terms, network.coefficients, (_TENSOR, _ENVIRONMENT, _RESULT), chain,
                second + j * length, environments, gamma, chain, second + (j + 1) * length,
            )


@numba.njit(cache=True, inline="always")
def first_tensors(edges: int, network: PackedMultiLayer, work: MultiLayerWorkspace) -> None:
    """V_0 of each edge (residual form)."""
    d, c, row, tensors, y = network.degrees, network.channels, work.row, work.tensors, work.harmonics
    for e in range(edges):
        for degree in range(d):
            for u in range(0, c, lanes_of(row)):
                weight = load_wide(row, e * row.shape[1] + degree * c + u)
                for m in range(degree * degree, (degree + 1) * (degree + 1)):
                    store(tensors, e * (d * d * c) + m * c + u, times(weight, splat_as(y[e, m], weight)))


@numba.njit(cache=True)
def _move(
    edges: int, width: int, source: NDArray[Any], start: int, stride: int, target: NDArray[Any], to: int, step: int
) -> None:
    """Copies rows of `width` numbers, whole wide vectors, between places that are `stride` and `step` apart."""
    for e in range(edges):
        for u in range(0, width, lanes_of(source)):
            store(target, to + e * step + u, load_wide(source, start + e * stride + u))


@numba.njit(cache=True, inline="always")
def multiply_tensors(
    k: int, edges: int, network: PackedMultiLayer, work: MultiLayerWorkspace, scalars: NDArray[Any]
) -> None:
    """scalars.k and V_{k+1} of each edge (residual form): product by product, and what mixing makes of them."""
    c, layers = network.channels, len(network.components)
    size, length = network.degrees * network.degrees * c, network.components[k] * c
    tensors = part(work.tensors, network.tensor_places, k)
    first, column = network.product_starts[k], 0
    for p in range(first, network.product_starts[k + 1]):
        m, width = network.results[p, 0], network.results[p, 1] * c
        for start in range(0, edges, SLICE):
            count = min(SLICE, edges - start)
            clear(work.parts, 0, count * m * width)
            for e in range(start, start + count):
                contract(
                    network.term_starts[p], network.term_starts[p + 1], c, network.terms, network.coefficients,
                    (_TENSOR, _ENVIRONMENT, _RESULT), tensors, e * length, work.environments,
                    (work.center[e] * layers + k) * size, work.parts, (e - start) * m * width,
                )
            if p == first:
                _move(count, width, work.parts, 0, width, scalars, start * width, width)
            if k + 1 < layers:
                after, stride = part(work.tensors, network.tensor_places, k + 1), network.components[k + 1] * c
                multiply(work.parts, width, width, network.mixings, network.mixing_places[p], work.mixed, c, count * m)
                _move(count, m * c, work.mixed, 0, m * c, after, start * stride + column, stride)
        column += m * c


@numba.njit(cache=True, inline="always")
def tensors_backward(
    k: int, edges: int, network: PackedMultiLayer, work: MultiLayerWorkspace, on_scalars: NDArray[Any]
) -> None:
    """From dE/dscalars.k and dE/dV_{k+1} to dE/dV_k and dE/dΓ_k (residual form)."""
    c, layers = network.channels, len(network.components)
    size, length = network.degrees * network.degrees * c, network.components[k] * c
    tensors, on_tensors = part(work.tensors, network.tensor_places, k), part(work.on_tensors, network.tensor_places, k)
    clear(on_tensors, 0, edges * length)
    first, column, parts = network.product_starts[k], 0, work.parts
    for p in range(first, network.product_starts[k + 1]):
        m, width = network.results[p, 0], network.results[p, 1] * c
        for start in range(0, edges, SLICE):
            count = min(SLICE, edges - start)
            if k + 1 < layers:
                after, stride = part(work.on_tensors, network.tensor_places, k + 1), network.components[k + 1] * c
                _move(count, m * c, after, start * stride + column, stride, work.mixed, 0, m * c)
                multiply(work.mixed, c, c, network.unmixings, network.mixing_places[p], parts, width, count * m)
            else:
                clear(parts, 0, count * m * width)
            if p == first:
                for u in range(0, count * width, lanes_of(parts)):
                    store(parts, u, plus(load_wide(parts, u), load_wide(on_scalars, start * width + u)))
            for e in range(start, start + count):
                at, gamma = e * length, (work.center[e] * layers + k) * size
                contract(
                    network.term_starts[p], network.term_starts[p + 1], c, network.terms, network.coefficients,
                    (_RESULT, _ENVIRONMENT, _TENSOR), parts, (e - start) * m * width, work.environments, gamma,
                    on_tensors, at,
                )
                contract(
                    network.term_starts[p], network.term_starts[p + 1], c, network.terms, network.coefficients,
                    (_RESULT, _TENSOR, _ENVIRONMENT), parts, (e - start) * m * width, tensors, at,
                    work.grad_environments, gamma,
                )
        column += m * c
