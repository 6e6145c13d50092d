"""Tensors that are carried through the layers, and the paths of the tensor products between them.

A tensor is an irreducible representation (l, p) of O(3): degree and parity. Order everywhere: l ascending, and within
one l even before odd. Paths: result slowest, then feature, then environment.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from allegro_md.kernels.contract import Terms

Irrep = tuple[int, int]


@dataclass(frozen=True)
class Layer:
    """One tensor product.

    Attributes:
        features: irreps of the edge's tensor.
        environment: irreps of the center's environment.
        out: irreps of the result.
        paths: (feature, environment, result) as indices into these, in order.
    """

    features: tuple[Irrep, ...]
    environment: tuple[Irrep, ...]
    out: tuple[Irrep, ...]
    paths: tuple[tuple[int, int, int], ...]


def allowed(a: Irrep, b: Irrep, c: Irrep) -> bool:
    """True if the product of a and b contains c."""
    return abs(a[0] - b[0]) <= c[0] <= a[0] + b[0] and a[1] * b[1] == c[1]


def size(irreps: tuple[Irrep, ...]) -> int:
    """Number of components."""
    return sum(2 * l + 1 for l, _ in irreps)  # noqa: E741


def starts(irreps: tuple[Irrep, ...]) -> list[int]:
    """First component of each."""
    return [size(irreps[:k]) for k in range(len(irreps))]


def harmonics(l_max: int, parity: int = -1) -> tuple[Irrep, ...]:
    """Irreps of the spherical harmonics; parity 1 disregards inversion (so3)."""
    return tuple((l, parity**l) for l in range(l_max + 1))  # noqa: E741


def both_parities(l_max: int) -> tuple[Irrep, ...]:
    """All irreps up to l_max."""
    return tuple((l, p) for l in range(l_max + 1) for p in (1, -1))  # noqa: E741


def build_layers(
    environment: tuple[Irrep, ...], carried: tuple[Irrep, ...], n_layers: int, narrowing: bool
) -> list[Layer]:
    """The tensor products of all layers, without paths that lead to no scalar.

    Args:
        environment: irreps of the spherical harmonics.
        carried: what may be carried between layers.
        n_layers: the last one makes scalars only.
        narrowing: an irrep that a layer cannot reach is not reconsidered by later layers (the 2023 code).
    """
    tensors, candidates = [environment], carried
    for k in range(n_layers):
        wanted = ((0, 1),) if k == n_layers - 1 else candidates
        reached = tuple(c for c in wanted if any(allowed(a, b, c) for a in tensors[-1] for b in environment))
        tensors.append(reached)
        if narrowing:
            candidates = reached
    for k in range(n_layers - 1, -1, -1):
        tensors[k] = tuple(
            a for a in tensors[k] if any(allowed(a, b, c) for b in environment for c in tensors[k + 1])
        )
    return [_layer(tensors[k], environment, tensors[k + 1]) for k in range(n_layers)]


def _layer(features: tuple[Irrep, ...], environment: tuple[Irrep, ...], out: tuple[Irrep, ...]) -> Layer:
    paths = tuple(
        (a, b, c)
        for c, irrep_c in enumerate(out)
        for a, irrep_a in enumerate(features)
        for b, irrep_b in enumerate(environment)
        if allowed(irrep_a, irrep_b, irrep_c)
    )
    return Layer(features, environment, out, paths)


@cache
def coupling(l1: int, l2: int, l3: int) -> NDArray[np.float64]:
    """√(2 l3 + 1) times the Wigner 3j tensor of unit norm, (2 l1 + 1, 2 l2 + 1, 2 l3 + 1)."""
    from e3nn import o3  # a second to load, and not every run has a network

    tensor: NDArray[np.float64] = o3.wigner_3j(l1, l2, l3, dtype=torch.float64).numpy() * np.sqrt(2 * l3 + 1)
    return tensor


@dataclass(frozen=True, eq=False)
class TensorProduct:
    """Nonzero terms of a tensor product.

    Attributes:
        terms: components.
        path: (n,) path of each term.
        value: (n,) its coupling coefficient.
    """

    terms: Terms
    path: NDArray[np.int64]
    value: NDArray[np.float64]


@cache
def summed_paths(layer: Layer) -> TensorProduct:
    """The product in which paths to the same irrep are summed: result components in irrep order."""
    return _product(layer, range(len(layer.paths)), starts(layer.out), [1] * len(layer.out), size(layer.out), None)


@cache
def separate_paths(layer: Layer, out: int) -> TensorProduct:
    """The product to one irrep with paths kept apart: component m · n_paths + path."""
    chosen = [p for p, path in enumerate(layer.paths) if path[2] == out]
    width = (2 * layer.out[out][0] + 1) * len(chosen)
    first, stride = [0] * len(layer.out), [len(chosen)] * len(layer.out)
    return _product(layer, chosen, first, stride, width, {p: k for k, p in enumerate(chosen)})


def _product(
    layer: Layer, chosen: range | list[int], first: list[int], stride: list[int], width: int,
    offset: dict[int, int] | None,
) -> TensorProduct:
    columns: list[tuple[int, int, int, int, float]] = []
    at_a, at_b = starts(layer.features), starts(layer.environment)
    for p in chosen:
        a, b, c = layer.paths[p]
        tensor = coupling(layer.features[a][0], layer.environment[b][0], layer.out[c][0])
        for i, j, k in np.argwhere(np.abs(tensor) > 1e-14):
            out = first[c] + int(k) * stride[c] + (offset[p] if offset else 0)
            columns.append((at_a[a] + int(i), at_b[b] + int(j), out, p, float(tensor[i, j, k])))
    columns.sort(key=lambda term: term[2])
    a_, b_, out_, path = (np.array([term[k] for term in columns], dtype=np.int64) for k in range(4))
    value = np.array([term[4] for term in columns])
    return TensorProduct(Terms(a_, b_, out_, (size(layer.features), size(layer.environment), width)), path, value)


def weighted_harmonics(irreps: tuple[Irrep, ...], individual: bool = True) -> Terms:
    """Terms of w[weight(i), u] · Y[i]: a weight per irrep, or one for all."""
    component = np.arange(size(irreps), dtype=np.int64)
    weight = np.repeat(np.arange(len(irreps)), [2 * l + 1 for l, _ in irreps]).astype(np.int64)  # noqa: E741
    if not individual:
        weight = np.zeros_like(weight)
    return Terms(weight, component, component, (int(weight.max()) + 1, len(component), len(component)))
