"""Distance and spherical harmonics of edge vectors, twice differentiable: one pass over the edges per derivative.

Y_1 = √3 n of the unit vector n, and each degree is made of the one below: Y_k = Σ c Y_i n_j over terms (i, j, k) with
components counted through all degrees (`Recursion`). Derivatives run through the same terms: backwards for a gradient,
and along a direction and then backwards for the gradient of a directional derivative.

Arguments, float64: d and h (E, 3) Å; n (3,); terms (m, 3) int64 and factor (m,) of the recursion; r, on_r and change_r
(E,); y, on_y and change_y (E, size); on_d (E, 3). A prefix on_ marks the gradient at a quantity, change_ its
directional derivative; tensor (…) is any of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch.autograd.function import once_differentiable

Array = NDArray[np.float64]
_FIRST = math.sqrt(3.0)


@dataclass(frozen=True, eq=False)
class Recursion:
    """Terms that make the degrees from 2 on.

    Attributes:
        l_max: highest degree.
        terms: (n, 3) int64, component of the degree below, of the unit vector, and of the result, degree by degree.
        factor: (n,) c of each.
    """

    l_max: int
    terms: NDArray[np.int64]
    factor: Array

    @property
    def size(self) -> int:
        """Number of components."""
        return (self.l_max + 1) ** 2


@numba.njit(cache=True, inline="always")
def _unit(d: Array, e: int, n: Array) -> float:
    """Fills in the unit vector n (3,) of row e of d (E, 3), Å, and returns the length."""
    x, y, z = d[e, 0], d[e, 1], d[e, 2]
    r = math.sqrt(x * x + y * y + z * z)
    n[0], n[1], n[2] = x / r, y / r, z / r
    return r


@numba.njit(cache=True, inline="always")
def _climb(n: Array, terms: NDArray[np.int64], factor: Array, y: Array) -> None:
    """Computes all harmonics y (size,) of a unit vector n (3,)."""
    y[:] = 0.0
    y[0] = 1.0
    if len(y) > 1:
        for j in range(3):
            y[1 + j] = _FIRST * n[j]
    for t in range(len(factor)):
        y[terms[t, 2]] += factor[t] * y[terms[t, 0]] * n[terms[t, 1]]


@numba.njit(cache=True, error_model="numpy")
def _values(d: Array, terms: NDArray[np.int64], factor: Array, r: Array, y: Array) -> None:
    """r (E,) and y (E, size)."""
    n = np.empty(3)
    for e in range(len(d)):
        r[e] = _unit(d, e, n)
        _climb(n, terms, factor, y[e])


@numba.njit(cache=True, error_model="numpy")
def _backward(d: Array, terms: NDArray[np.int64], factor: Array, on_r: Array, on_y: Array, on_d: Array) -> None:
    """Gradient (E, 3) of on_r · r + on_y · y."""
    n, y, back, on_n = np.empty(3), np.empty(on_y.shape[1]), np.empty(on_y.shape[1]), np.empty(3)
    for e in range(len(d)):
        r = _unit(d, e, n)
        _climb(n, terms, factor, y)
        back[:] = on_y[e]
        on_n[:] = 0.0
        for t in range(len(factor) - 1, -1, -1):
            i, j, on = terms[t, 0], terms[t, 1], factor[t] * back[terms[t, 2]]
            back[i] += on * n[j]
            on_n[j] += on * y[i]
        if len(back) > 1:
            for j in range(3):
                on_n[j] += _FIRST * back[1 + j]
        along = on_n[0] * n[0] + on_n[1] * n[1] + on_n[2] * n[2]
        for j in range(3):
            on_d[e, j] = on_r[e] * n[j] + (on_n[j] - along * n[j]) / r


@numba.njit(cache=True, error_model="numpy")
def _change_backward(
    d: Array, h: Array, terms: NDArray[np.int64], factor: Array, on_r: Array, on_y: Array,
    out: tuple[Array, Array, Array],
) -> None:  # fmt: skip
    """Changes of r and y along h (E, 3), and the gradient (E, 3) of on_r · change_r + on_y · change_y, into `out`."""
    change_r, change_y, on_d = out
    size = on_y.shape[1]
    n, y, turn, on_n, on_turn = np.empty(3), np.empty(size), np.empty(3), np.empty(3), np.empty(3)
    back, back_change = np.empty(size), np.empty(size)
    for e in range(len(d)):
        r = _unit(d, e, n)
        _climb(n, terms, factor, y)
        along = h[e, 0] * n[0] + h[e, 1] * n[1] + h[e, 2] * n[2]
        change = change_y[e]
        change[:] = 0.0
        for j in range(3):
            turn[j] = (h[e, j] - along * n[j]) / r
        if size > 1:
            for j in range(3):
                change[1 + j] = _FIRST * turn[j]
        for t in range(len(factor)):
            i, j = terms[t, 0], terms[t, 1]
            change[terms[t, 2]] += factor[t] * (change[i] * n[j] + y[i] * turn[j])
        change_r[e] = along
        back_change[:] = on_y[e]
        back[:] = 0.0
        on_n[:] = 0.0
        on_turn[:] = 0.0
        for t in range(len(factor) - 1, -1, -1):
            i, j, k = terms[t, 0], terms[t, 1], terms[t, 2]
            on_change, on = factor[t] * back_change[k], factor[t] * back[k]
            back_change[i] += on_change * n[j]
            back[i] += on_change * turn[j] + on * n[j]
            on_n[j] += on_change * change[i] + on * y[i]
            on_turn[j] += on_change * y[i]
        if size > 1:
            for j in range(3):
                on_n[j] += _FIRST * back[1 + j]
                on_turn[j] += _FIRST * back_change[1 + j]
        on_along, on_length = on_r[e], 0.0  # of turn = (h − along · n) / r and of along = h · n
        for j in range(3):
            on_along -= on_turn[j] * n[j] / r
            on_length -= on_turn[j] * turn[j] / r
            on_n[j] -= along * on_turn[j] / r
        inwards = 0.0
        for j in range(3):
            on_n[j] += on_along * h[e, j]
            inwards += on_n[j] * n[j]
        for j in range(3):
            on_d[e, j] = on_length * n[j] + (on_n[j] - inwards * n[j]) / r


def _array(tensor: torch.Tensor) -> Array:
    array: Array = tensor.detach().contiguous().numpy()
    return array


class _Sphere(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, d: torch.Tensor, recursion: Recursion) -> tuple[torch.Tensor, torch.Tensor]:
        ctx.save_for_backward(d)
        ctx.recursion = recursion
        r, y = d.new_empty(len(d)), d.new_empty((len(d), recursion.size))
        _values(_array(d), recursion.terms, recursion.factor, r.numpy(), y.numpy())
        return r, y

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        (d,) = ctx.saved_tensors
        gradient: torch.Tensor = _Gradient.apply(d, *grads, ctx.recursion)
        return gradient, None


class _Gradient(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, d: torch.Tensor, on_r: torch.Tensor, on_y: torch.Tensor, recursion: Recursion
    ) -> torch.Tensor:
        ctx.save_for_backward(d, on_r, on_y)
        ctx.recursion = recursion
        on_d = torch.empty_like(d, memory_format=torch.contiguous_format)
        _backward(_array(d), recursion.terms, recursion.factor, _array(on_r), _array(on_y), on_d.numpy())
        return on_d

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        d, on_r, on_y = ctx.saved_tensors
        change_r, change_y, on_d = torch.empty_like(on_r), torch.empty_like(on_y), torch.empty_like(d)
        outs = [t.contiguous() for t in (change_r, change_y, on_d)]
        operands = (_array(t) for t in (on_r, on_y))
        _change_backward(
            _array(d), _array(grads[0]), ctx.recursion.terms, ctx.recursion.factor, *operands,
            tuple(t.numpy() for t in outs),
        )  # fmt: skip
        return outs[2], outs[0], outs[1], None


def sphere(d: torch.Tensor, recursion: Recursion) -> tuple[torch.Tensor, torch.Tensor]:
    """Lengths (E,) and harmonics (E, (l_max + 1)²) of vectors d (E, 3) on the CPU, all float64.

    Twice differentiable: forces, and a loss of them.
    """
    r, y = _Sphere.apply(d, recursion)
    return r, y
