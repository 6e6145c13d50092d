"""Sparse contractions of per-edge tensors with C channels: all tensor algebra of the Allegro networks.

A contraction runs over a list of terms n, each naming a component of x, of y and of the result:

    product:   out[o_n, u] += coefficient[n, u] · x[a_n, u] · y[b_n, u]
    weighting: out[o_n, u] += x[a_n, u] · y[b_n]
    trace:     out[o_n]    += Σ_u x[a_n, u] · y[b_n, u]

for every edge. Each operand lives on edges, or on something an edge points to (its center, its pair of species): then
`rows` gives the row per edge, a result summed in edge order. A derivative of a product is a product, those of a
weighting are a weighting and a trace, and those of a trace are weightings: three kernels, differentiable to any order.
The loops add term by term, edge by edge, so a row's bits depend on nothing but its own data.

Arguments, float32 or float64: coefficient (n, C); x, y and a result (rows, components, C), without the last axis where
a kind of contraction has no channels; like, tensor, values (rows, …); grad (…), as the result it belongs to.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from allegro_md.kernels import cpu_contract
from allegro_md.kernels.segment import sum_on_device


@dataclass(frozen=True, eq=False)
class Terms:
    """The terms of a contraction.

    Attributes:
        a: (n,) int64, component of x.
        b: (n,) component of y.
        out: (n,) component of the result.
        sizes: number of components of x, y and the result.
    """

    a: NDArray[np.int64]
    b: NDArray[np.int64]
    out: NDArray[np.int64]
    sizes: tuple[int, int, int]

    def permuted(self, x: int, y: int, out: int) -> Terms:
        """The same terms with other roles; 0, 1, 2 stand for the present x, y, result."""
        if (x, y, out) not in self._permuted:
            columns, sizes = (self.a, self.b, self.out), self.sizes
            made = Terms(columns[x], columns[y], columns[out], (sizes[x], sizes[y], sizes[out]))
            self._permuted[x, y, out] = made
        return self._permuted[x, y, out]

    @cached_property
    def _permuted(self) -> dict[tuple[int, int, int], Terms]:
        """Those made so far: a training step asks for the same ones again and again."""
        return {}

    @cached_property
    def by_result(self) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        """Sorted by component of the result: where each begins (and the last ends), and rows (term, a, b)."""
        order = np.argsort(self.out, kind="stable")
        starts = np.searchsorted(self.out[order], np.arange(self.sizes[2] + 1))
        return starts.astype(np.uint64), np.stack([order, self.a[order], self.b[order]], axis=1)


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of the operands of a contraction.

    Attributes:
        n_edges: E.
        index: for x, y and the result, the row per edge, (E,) int64; None for the edge itself.
        counts: number of rows of x, y and the result.
    """

    n_edges: int
    index: tuple[torch.Tensor | None, torch.Tensor | None, torch.Tensor | None]
    counts: tuple[int, int, int]

    def permuted(self, x: int, y: int, out: int) -> Rows:
        """The same with other roles; 0, 1, 2 stand for the present x, y, result."""
        i, n = self.index, self.counts
        return Rows(self.n_edges, (i[x], i[y], i[out]), (n[x], n[y], n[out]))


_SELF = np.empty(0, dtype=np.int64)


def _loop(terms: Terms, rows: Rows, *strides: int) -> cpu_contract.Loop:
    """Terms and rows for the loops; strides of the coefficient, of a component of x, and of one of y, in elements."""
    starts, columns = terms.by_result
    index = (_SELF if i is None else i.numpy() for i in rows.index)
    return cpu_contract.Loop(rows.n_edges, starts, columns * np.array(strides), *index)


def _result(like: torch.Tensor, rows: Rows, *shape: int) -> torch.Tensor:
    """Zeros to add to; rows of the edges' own are set by the loops."""
    size = (rows.counts[2], *shape)
    return like.new_empty(size) if rows.index[2] is None else like.new_zeros(size)


def _array(tensor: torch.Tensor) -> NDArray[Any]:
    """The array (…) behind a tensor on the CPU, contiguous; it shares its memory if it can."""
    array: NDArray[Any] = tensor.detach().contiguous().numpy()
    return array


def _rows_of(values: torch.Tensor, index: torch.Tensor | None) -> torch.Tensor:
    """Rows of `values` (rows, …) per edge: `index` (E,) int64, or None where row e belongs to edge e."""
    return values if index is None else values.index_select(0, index)


def _on_device(
    coefficient: torch.Tensor | None, x: torch.Tensor, y: torch.Tensor, terms: Terms, rows: Rows, trace: bool
) -> torch.Tensor:
    """Contracts without numba, on any device: term by term, then summed into the rows of the result."""
    columns = []
    for component in range(terms.sizes[2]):
        total = x.new_zeros((rows.n_edges, x.shape[2]))
        for n in np.flatnonzero(terms.out == component).tolist():
            left = _rows_of(x[:, int(terms.a[n])], rows.index[0])
            right = _rows_of(y[:, int(terms.b[n])], rows.index[1])
            term = left * (right if y.ndim == 3 else right[:, None])
            total = total + (term if coefficient is None else coefficient[n] * term)
        columns.append(total.sum(-1) if trace else total)
    edges = torch.stack(columns, dim=1)
    index = rows.index[2]
    return edges if index is None else sum_on_device(edges, index, rows.counts[2])


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, coefficient: torch.Tensor, x: torch.Tensor, y: torch.Tensor, terms: Terms, rows: Rows
    ) -> torch.Tensor:
        ctx.save_for_backward(coefficient, x, y)
        ctx.terms, ctx.rows = terms, rows
        if x.device.type != "cpu":
            return _on_device(coefficient, x, y, terms, rows, trace=False)
        out = _result(x, rows, terms.sizes[2], x.shape[2])
        c = x.shape[2]
        cpu_contract.multiply(
            _array(coefficient), _array(x), _array(y), _loop(terms, rows, c, c, c), out.numpy()
        )
        return out

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        coefficient, x, y = ctx.saved_tensors
        grad, terms, rows = grads[0], ctx.terms, ctx.rows
        wanted = ctx.needs_input_grad
        grad_c = grad_x = grad_y = None
        if wanted[0]:
            grad_c = _gradient_of_coefficient(coefficient, grad, x, y, terms, rows)
        if wanted[1]:
            grad_x = product(coefficient, grad, y, terms.permuted(2, 1, 0), rows.permuted(2, 1, 0))
        if wanted[2]:
            grad_y = product(coefficient, grad, x, terms.permuted(2, 0, 1), rows.permuted(2, 0, 1))
        return grad_c, grad_x, grad_y, None, None


def _gradient_of_coefficient(
    coefficient: torch.Tensor, grad: torch.Tensor, x: torch.Tensor, y: torch.Tensor, terms: Terms, rows: Rows
) -> torch.Tensor:
    """(n, C); not differentiable further: a loss of forces needs no third derivative."""
    if x.device.type != "cpu":
        total = torch.ones((), dtype=x.dtype, device=x.device)
        for values, index, column in zip((x, y, grad), rows.index, (terms.a, terms.b, terms.out), strict=True):
            total = total * _rows_of(values.detach(), index)[:, torch.as_tensor(column, device=x.device)]
        return total.sum(0)
    out = torch.zeros_like(coefficient, requires_grad=False, memory_format=torch.contiguous_format)
    c = x.shape[2]
    loop = _loop(terms, rows, c, c, c)
    cpu_contract.coefficients_backward(_array(grad), _array(x), _array(y), loop, out.numpy())
    return out


class _Weighting(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, y: torch.Tensor, terms: Terms, rows: Rows) -> torch.Tensor:
        ctx.save_for_backward(x, y)
        ctx.terms, ctx.rows = terms, rows
        if x.device.type != "cpu":
            return _on_device(None, x, y, terms, rows, trace=False)
        out = _result(x, rows, terms.sizes[2], x.shape[2])
        cpu_contract.weight(_array(x), _array(y), _loop(terms, rows, 1, x.shape[2], 1), out.numpy())
        return out

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, y = ctx.saved_tensors
        grad, terms, rows = grads[0], ctx.terms, ctx.rows
        grad_x = grad_y = None
        if ctx.needs_input_grad[0]:
            grad_x = weighting(grad, y, terms.permuted(2, 1, 0), rows.permuted(2, 1, 0))
        if ctx.needs_input_grad[1]:
            grad_y = trace(grad, x, terms.permuted(2, 0, 1), rows.permuted(2, 0, 1))
        return grad_x, grad_y, None, None


class _Trace(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, y: torch.Tensor, terms: Terms, rows: Rows) -> torch.Tensor:
        ctx.save_for_backward(x, y)
        ctx.terms, ctx.rows = terms, rows
        if x.device.type != "cpu":
            return _on_device(None, x, y, terms, rows, trace=True)
        out = x.new_zeros((rows.counts[2], terms.sizes[2]))
        c = x.shape[2]
        cpu_contract.trace(_array(x), _array(y), _loop(terms, rows, 1, c, c), out.numpy())
        return out

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, y = ctx.saved_tensors
        grad, terms, rows = grads[0], ctx.terms, ctx.rows
        grad_x = grad_y = None
        if ctx.needs_input_grad[0]:
            grad_x = weighting(y, grad, terms.permuted(1, 2, 0), rows.permuted(1, 2, 0))
        if ctx.needs_input_grad[1]:
            grad_y = weighting(x, grad, terms.permuted(0, 2, 1), rows.permuted(0, 2, 1))
        return grad_x, grad_y, None, None


def product(
    coefficient: torch.Tensor, x: torch.Tensor, y: torch.Tensor, terms: Terms, rows: Rows
) -> torch.Tensor:
    """Channel by channel: coefficient (n, C), x (·, A, C), y (·, B, C) → (·, O, C)."""
    result: torch.Tensor = _Product.apply(coefficient, x, y, terms, rows)
    return result


def weighting(x: torch.Tensor, y: torch.Tensor, terms: Terms, rows: Rows) -> torch.Tensor:
    """Multiplies channels with a tensor without channels: x (·, A, C), y (·, B) → (·, O, C)."""
    result: torch.Tensor = _Weighting.apply(x, y, terms, rows)
    return result


def trace(x: torch.Tensor, y: torch.Tensor, terms: Terms, rows: Rows) -> torch.Tensor:
    """Summed over channels: x (·, A, C), y (·, B, C) → (·, O)."""
    result: torch.Tensor = _Trace.apply(x, y, terms, rows)
    return result
