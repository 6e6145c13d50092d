"""Bessel functions under an envelope, of fixed roots, twice differentiable: values and derivatives in one pass.

f_n(x) = (a_n b_n(x) + c_n) u(x) with b_n(x) = sin(π w_n x) / (π x) and the polynomial u of
`models.allegro.geometry.envelope`.

Arguments, float64: x (E,) reduced distances; roots, w, a, c (n,); sine, cosine, f, slope, curvature and grad (E, n).
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch.autograd.function import once_differentiable

Array = NDArray[np.float64]


@numba.njit(cache=True)
def _power(x: float, p: float) -> float:
    """x^p; whole powers by repeated squaring."""
    if p != math.floor(p) or p < 0.0:
        return float(x**p)
    result, n = 1.0, int(p)
    while n:
        if n & 1:
            result *= x
        n >>= 1
        x *= x
    return result


@numba.njit(cache=True, error_model="numpy")
def _fill(
    x: Array, waves: tuple[Array, Array], functions: tuple[Array, ...], p: float, out: tuple[Array, ...]
) -> None:
    """Computes f_n, f_n′ and f_n″.

    Args:
        x: (E,) float64, reduced distances.
        waves: sines and cosines of π w_n x, each (E, n) float64.
        functions: w, a and c, each (n,) float64.
        p: exponent of the envelope.
        out: values and first and second derivatives over x, each (E, n) float64, filled.
    """
    (sine, cosine), (w, a, c), (f, slope, curvature) = waves, functions, out
    steep = 0.5 * p * (p + 1.0) * (p + 2.0)
    for e in range(len(x)):
        t = x[e]
        u = u1 = u2 = 0.0
        if t < 1.0:
            whole, left = _power(t, p), 1.0 - t
            u = 1.0 - whole * (0.5 * (p + 1.0) * (p + 2.0) - t * (p * (p + 2.0) - t * (0.5 * p * (p + 1.0))))
            below = steep * _power(t, p - 2.0) * left
            u1, u2 = -below * t * left, -below * ((p - 1.0) * left - 2.0 * t)
        for n in range(len(w)):
            b = sine[e, n] / (math.pi * t)
            b1 = (w[n] * cosine[e, n] - b) / t
            b2 = -(math.pi * w[n] * w[n] * sine[e, n] + 2.0 * b1) / t
            g, g1, g2 = a[n] * b + c[n], a[n] * b1, a[n] * b2
            f[e, n] = g * u
            slope[e, n] = g1 * u + g * u1
            curvature[e, n] = g2 * u + 2.0 * (g1 * u1) + g * u2


class _Radial(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, roots: torch.Tensor, a: torch.Tensor, c: torch.Tensor, p: float
    ) -> torch.Tensor:
        angle = (math.pi * x)[:, None] * roots
        sine, cosine = torch.sin(angle), torch.cos(angle)
        f, slope, curvature = (torch.empty_like(angle) for _ in range(3))
        points, sines, cosines, *functions = (t.detach().contiguous().numpy() for t in (x, sine, cosine, roots, a, c))
        _fill(points, (sines, cosines), tuple(functions), p, (f.numpy(), slope.numpy(), curvature.numpy()))
        ctx.save_for_backward(x, slope, curvature)
        return f

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        gradient: torch.Tensor = _Gradient.apply(grads[0], *ctx.saved_tensors)
        return gradient, None, None, None, None


class _Gradient(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, grad: torch.Tensor, x: torch.Tensor, slope: torch.Tensor, curvature: torch.Tensor
    ) -> torch.Tensor:
        ctx.save_for_backward(grad, slope, curvature)
        return (grad * slope).sum(1)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        grad, slope, curvature = ctx.saved_tensors
        return grads[0][:, None] * slope, grads[0] * (grad * curvature).sum(1), None, None


def radial(x: torch.Tensor, roots: torch.Tensor, a: torch.Tensor, c: torch.Tensor, p: float) -> torch.Tensor:
    """f_n(x), (E,) → (E, n), float64 on the CPU.

    Args:
        x: > 0.
        roots: (n,) w.
        a, c: (n,) factor and constant.
        p: of the envelope; 0 beyond x = 1.
    """
    result: torch.Tensor = _Radial.apply(x, roots, a, c, p)
    return result
