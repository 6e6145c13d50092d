"""Contractions, segment sums and tiled products: against einsum, and their derivatives by difference quotients."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from allegro_md.kernels import contract, segment, tile
from allegro_md.kernels.blocks import BLOCK_ROWS
from allegro_md.kernels.contract import Rows, Terms, product, trace, weighting

E, C, U = 7, 3, 11
CENTER = torch.tensor([0, 0, 0, 2, 2, 2, 2])
TERMS = Terms(np.array([0, 1, 2, 2, 0]), np.array([1, 0, 1, 1, 0]), np.array([0, 0, 1, 3, 3]), (3, 2, 4))


def tensors(*shapes: Any, dtype: Any = torch.float64) -> Any:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(s, generator=generator, dtype=dtype, requires_grad=True) for s in shapes]


def dense_terms(coefficient: Any) -> Any:
    full = torch.zeros((3, 2, 4, coefficient.shape[1]), dtype=coefficient.dtype)
    for n, key in enumerate(zip(TERMS.a, TERMS.b, TERMS.out, strict=True)):
        full[key] += coefficient[n]
    return full


PLACES = {
    "edges": (Rows(E, (None, None, None), (E, E, E)), (E, E)),
    "centers-in": (Rows(E, (None, CENTER, None), (E, C, E)), (E, C)),
    "centers-out": (Rows(E, (None, None, CENTER), (E, E, C)), (E, E)),
}


@pytest.mark.parametrize(("dtype", "channels"), [
    (torch.float64, U), (torch.float64, 16), (torch.float32, 1), (torch.float32, 3), (torch.float32, 33),
])  # fmt: skip
@pytest.mark.parametrize("place", PLACES)
def test_against_einsum(place: Any, dtype: Any, channels: Any) -> None:
    """Numbers of channels below, at and above what a wide vector holds; and the gradients of every input."""
    rows, (nx, ny) = PLACES[place]
    inputs = tensors((5, channels), (nx, 3, channels), (ny, 2, channels), (ny, 2), dtype=dtype)
    coefficient, x, y, flat = inputs
    places = (rows.index[0], rows.index[1], rows.index[1])
    at_edges = [values if i is None else values[i] for values, i in zip((x, y, flat), places, strict=True)]
    full = dense_terms(coefficient)
    ones = dense_terms(torch.ones((5, channels), dtype=dtype))
    expected = {
        "product": torch.einsum("abou,eau,ebu->eou", full, *at_edges[:2]),
        "weighting": torch.einsum("abou,eau,eb->eou", ones, at_edges[0], at_edges[2]),
        "trace": torch.einsum("abou,eau,ebu->eo", ones, *at_edges[:2]),
    }
    got = {
        "product": product(coefficient, x, y, TERMS, rows),
        "weighting": weighting(x, flat, TERMS, rows),
        "trace": trace(x, y, TERMS, rows),
    }
    for name, values in expected.items():
        if rows.index[2] is not None:
            values = torch.zeros((C, *values.shape[1:]), dtype=dtype).index_add(0, CENTER, values)
        tolerance = 1e-13 if dtype == torch.float64 else 3e-5
        assert torch.allclose(got[name], values, rtol=0, atol=tolerance), name
        gradients = (
            torch.autograd.grad(v.pow(2).sum(), inputs, allow_unused=True, retain_graph=True)
            for v in (got[name], values)
        )
        for ours, theirs in zip(*gradients, strict=True):
            assert (ours is None) == (theirs is None)
            assert ours is None or torch.allclose(ours, theirs, rtol=10 * tolerance, atol=10 * tolerance), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bits_of_a_row_depend_on_its_own_data_only(dtype: Any) -> None:
    """Edges in another order, and fewer of them: the same bits."""
    coefficient, x, y, flat = (t.detach() for t in tensors((5, U), (E, 3, U), (E, 2, U), (E, 2), dtype=dtype))
    order = torch.tensor([4, 0, 6, 3, 1])
    all_rows, some = (Rows(n, (None, None, None), (n, n, n)) for n in (E, len(order)))
    z, w, f = x[order], y[order], flat[order]
    assert torch.equal(product(coefficient, x, y, TERMS, all_rows)[order], product(coefficient, z, w, TERMS, some))
    assert torch.equal(weighting(x, flat, TERMS, all_rows)[order], weighting(z, f, TERMS, some))
    assert torch.equal(trace(x, y, TERMS, all_rows)[order], trace(z, w, TERMS, some))
    centers, fewer = (Rows(len(c), (None, None, c), (len(c), len(c), C)) for c in (CENTER, CENTER[3:]))
    kernels: list[Any] = [(weighting, (x, flat)), (trace, (x, y)), (partial(product, coefficient), (x, y))]
    for kernel, operands in kernels:
        whole, part = kernel(*operands, TERMS, centers), kernel(*(v[3:] for v in operands), TERMS, fewer)
        assert torch.equal(whole[2], part[2])


@pytest.mark.parametrize("place", PLACES)
def test_derivatives(place: Any) -> None:
    rows, (nx, ny) = PLACES[place]
    coefficient, x, y, flat = tensors((5, 2), (nx, 3, 2), (ny, 2, 2), (ny, 2))
    cases: list[Any] = [
        (lambda c, a, b: product(c, a, b, TERMS, rows), (coefficient, x, y)),
        (lambda a, b: weighting(a, b, TERMS, rows), (x, flat)),
        (lambda a, b: trace(a, b, TERMS, rows), (x, y)),
    ]
    for function, inputs in cases:
        assert torch.autograd.gradcheck(function, inputs)
    second: list[Any] = [(lambda a, b: product(coefficient.detach(), a, b, TERMS, rows), (x, y)), *cases[1:]]
    for function, inputs in second:
        assert torch.autograd.gradgradcheck(function, inputs)


def test_a_force_loss_reaches_the_coefficients() -> None:
    """d/dc of a function of d/dx: what training on forces needs."""
    rows = PLACES["centers-in"][0]
    coefficient, x, y = tensors((5, 2), (E, 3, 2), (C, 2, 2))

    def loss(c: Any) -> Any:
        (slope,) = torch.autograd.grad(product(c, x, y, TERMS, rows).pow(2).sum(), x, create_graph=True)
        return slope.pow(2).sum()

    assert torch.autograd.gradcheck(loss, (coefficient,))


@pytest.mark.parametrize("place", PLACES)
def test_elsewhere_than_on_the_cpu(place: Any) -> None:
    """The torch code for other devices gives the same as the compiled one."""
    rows, (nx, ny) = PLACES[place]
    coefficient, x, y, flat = (t.detach() for t in tensors((5, U), (nx, 3, U), (ny, 2, U), (ny, 2)))
    for ours, theirs in [
        (product(coefficient, x, y, TERMS, rows), contract._on_device(coefficient, x, y, TERMS, rows, trace=False)),
        (weighting(x, flat, TERMS, rows), contract._on_device(None, x, flat, TERMS, rows, trace=False)),
        (trace(x, y, TERMS, rows), contract._on_device(None, x, y, TERMS, rows, trace=True)),
    ]:
        assert torch.allclose(ours, theirs, rtol=0, atol=1e-14)


def test_segment_sum() -> None:
    values, per_center = tensors((E, 2, 3), (C, 2))
    expected = torch.zeros((C, 2, 3), dtype=torch.float64).index_add(0, CENTER, values)
    assert torch.allclose(segment.segment_sum(values, CENTER, C), expected, rtol=0, atol=1e-14)
    assert torch.allclose(segment.sum_on_device(values, CENTER, C), expected, rtol=0, atol=1e-14)
    assert torch.equal(segment.gather(per_center, CENTER), per_center[CENTER])
    assert torch.autograd.gradgradcheck(lambda v: segment.segment_sum(v, CENTER, C), (values,))
    assert torch.autograd.gradgradcheck(lambda v: segment.gather(v, CENTER), (per_center,))


@pytest.mark.parametrize("rows", [5, 2 * BLOCK_ROWS])
def test_products(rows: Any) -> None:
    x, z, v, w = tensors((rows, 4), (rows, 3), (4, 2), (3, 2))
    assert torch.allclose(tile.matmul(x, v), x @ v, rtol=0, atol=1e-13)
    assert torch.allclose(tile.gathered_matmul([x, z], [v, w]), x @ v + z @ w, rtol=0, atol=1e-13)

    def loss(matmul: Any) -> Any:
        hidden = torch.tanh(matmul(x, v))
        (slope,) = torch.autograd.grad(hidden.pow(2).sum(), x, create_graph=True)
        return torch.autograd.grad(slope.pow(2).sum(), (x, v))

    for ours, theirs in zip(loss(tile.matmul), loss(torch.matmul), strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-12, atol=1e-12)


def test_rows_of_a_tile_do_not_depend_on_their_place() -> None:
    """The premise of the constant tile, measured on this machine's libraries."""
    generator = torch.Generator().manual_seed(3)
    for dtype in (torch.float32, torch.float64):
        x = torch.randn((BLOCK_ROWS, 72), generator=generator, dtype=dtype)
        order = torch.randperm(BLOCK_ROWS, generator=generator)
        for width in (1, 16, 33, 64, 160):
            w = torch.randn((72, width), generator=generator, dtype=dtype)
            for matrix in (w, w.t().contiguous().t()):
                assert torch.equal(tile.matmul(x, matrix)[order], tile.matmul(x[order], matrix))
        for act in (torch.nn.functional.silu, torch.nn.functional.gelu, torch.nn.functional.mish, torch.sin, torch.cos):
            assert torch.equal(act(x)[order], act(x[order]))
