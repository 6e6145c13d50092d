"""From edge vectors to what the networks read: distances, radial functions, spherical harmonics; all in float64.

Arguments: x (E,) reduced distances r / cutoff; roots (n,); d (E, 3) Å. Real numbers are float64, or float32 in a
network.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch

from allegro_md.kernels.contract import Rows, Terms, product
from allegro_md.kernels.radial import radial
from allegro_md.kernels.sphere import Recursion, sphere
from allegro_md.models.allegro.irreps import coupling


def power(x: torch.Tensor, p: float) -> torch.Tensor:
    """x^p; whole powers by repeated squaring (exactly rounded products, the same everywhere)."""
    if p != int(p) or p < 1:
        return torch.pow(x, p)
    result: torch.Tensor | None = None
    square, n = x, int(p)
    while True:
        if n & 1:
            result = square if result is None else result * square
        n >>= 1
        if n == 0:
            assert result is not None
            return result
        square = square * square


def envelope(x: torch.Tensor, p: float) -> torch.Tensor:
    """Polynomial u(x) that goes from 1 to 0 at x = 1 with two vanishing derivatives; 0 beyond.

    Gasteiger et al., "Directional message passing for molecular graphs", ICLR 2020.
    """
    a, b, c = (p + 1.0) * (p + 2.0) / 2.0, p * (p + 2.0), p * (p + 1.0) / 2.0
    return (1.0 - power(x, p) * (a - x * (b - x * c))) * (x < 1.0)


def bessel(x: torch.Tensor, roots: torch.Tensor) -> torch.Tensor:
    """sin(π w_n x) / (π x) of x = r / r_cut > 0, (E,) → (E, n)."""
    column = math.pi * x[:, None]
    return torch.sin(column * roots) / column


def spline_basis(x: torch.Tensor, count: int, span: int) -> torch.Tensor:
    """Bumps (1 − cos)² / 4 of width (span + 1) / count that all end at x ≤ 1, (E,) → (E, count)."""
    lower = torch.arange(-span, count - span, dtype=x.dtype, device=x.device) / count
    width = (span + 1) / count
    upper = lower + width
    inside = torch.minimum(torch.maximum(x[:, None], lower), upper)
    one_minus_cos = 1.0 - torch.cos((2.0 * math.pi / width) * (inside - lower))
    return 0.25 * one_minus_cos * one_minus_cos


def radial_functions(
    x: torch.Tensor, roots: torch.Tensor, p: float, scale: torch.Tensor | None = None, shift: torch.Tensor | None = None
) -> torch.Tensor:
    """(scale_n · `bessel`_n + shift_n) · `envelope`, (E,) → (E, n); scale 1 and shift 0 unless given, (n,)."""
    scale = torch.ones_like(roots) if scale is None else scale
    shift = torch.zeros_like(roots) if shift is None else shift
    if roots.requires_grad or x.device.type != "cpu":
        return (bessel(x, roots) * scale + shift) * envelope(x, p)[:, None]
    return radial(x, roots, scale, shift, p)


@cache
def _harmonic_step(l: int) -> tuple[Terms, np.ndarray]:  # noqa: E741
    """Terms that make Y_l of Y_{l−1} and the unit vector; the factor is taken from e3nn's own Y_l."""
    from e3nn import o3  # a second to load, and not every run has a network

    tensor = coupling(l - 1, 1, l)
    i, j, k = np.nonzero(np.abs(tensor) > 1e-14)
    directions = torch.nn.functional.normalize(
        torch.tensor([[0.3, -0.5, 0.8], [-0.6, 0.4, 0.1]], dtype=torch.float64), dim=1
    )
    below, wanted = (
        o3.spherical_harmonics(degree, directions, normalize=False, normalization="component").numpy()
        for degree in (l - 1, l)
    )
    made = np.einsum("ijk,ei,ej->ek", tensor, below, directions.numpy())
    factor = float(np.sum(made * wanted) / np.sum(made * made))
    order = np.argsort(k, kind="stable")
    terms = Terms(i[order], j[order], k[order], (2 * l - 1, 3, 2 * l + 1))
    return terms, factor * tensor[i, j, k][order]


@cache
def _recursion(l_max: int) -> Recursion:
    terms, factor = [np.empty((0, 3), dtype=np.int64)], [np.empty(0)]
    for l in range(2, l_max + 1):  # noqa: E741
        step, values = _harmonic_step(l)
        terms.append(np.stack([(l - 1) ** 2 + step.a, step.b, l**2 + step.out], axis=1))
        factor.append(values)
    return Recursion(l_max, np.concatenate(terms), np.concatenate(factor))


def polar(d: torch.Tensor, l_max: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Lengths (E,) and spherical harmonics (E, (l_max + 1)²) of vectors (E, 3)."""
    if d.device.type == "cpu":
        return sphere(d, _recursion(l_max))
    x, y, z = d.unbind(1)
    r = torch.sqrt(x * x + y * y + z * z)
    return r, spherical_harmonics(d / r[:, None], l_max)


def spherical_harmonics(unit: torch.Tensor, l_max: int) -> torch.Tensor:
    """Real spherical harmonics with |Y_l|² = 2l + 1 in e3nn's order, of unit vectors (E, 3) → (E, (l_max + 1)²).

    Y_1 = √3 (x, y, z); each degree is made of the one below (no TorchScript: its fused kernels change bits).
    """
    parts = [torch.ones_like(unit[:, :1])]
    if l_max >= 1:
        parts.append(math.sqrt(3.0) * unit)
    rows = Rows(len(unit), (None, None, None), (len(unit),) * 3)
    for l in range(2, l_max + 1):  # noqa: E741
        terms, values = _harmonic_step(l)
        coefficient = torch.as_tensor(values, dtype=unit.dtype, device=unit.device)[:, None]
        parts.append(product(coefficient, parts[-1][:, :, None], unit[:, :, None], terms, rows)[:, :, 0])
    return torch.cat(parts, dim=1)
