"""Products of rows with matrices, and activations, by kernels of GPUs: the bits of those of CPUs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from host_build import TURNS, on_host

from allegro_md.kernels.cpu_activation import GELU, MISH, NONE, SILU, activate
from allegro_md.kernels.cpu_aligned import aligned, aligned_zeros
from allegro_md.kernels.cpu_matrix import ROWS, multiply, packed, unpacked, whole
from allegro_md.kernels.cpu_rows import add_columns, scale
from allegro_md.kernels.gpu.launch import kernel

REALS = {"float": np.float32, "double": np.float64}


def product(
    name: str, edges: int, x: Any, n: int, matrix: Any, columns: int, after: Any = None, code: int = SILU
) -> tuple[Any, Any]:
    """Value and slope by the kernel, for more rows than there are edges."""
    width, rows = matrix.shape[1], 4096 // columns
    out, slope = (torch.full((len(x), width), np.nan, dtype=torch.from_numpy(x).dtype) for _ in range(2))
    row, cut, start = (torch.from_numpy(after[0]), *after[1:]) if after else (None, -1, -1)
    code, along = (code, slope) if after else (NONE, None)
    multiply_on = kernel("matrix.cuh", f"multiply<{name},{code},{columns}>")
    multiply_on(
        -(-len(x) // rows) * -(-width // columns), torch.tensor([edges]), torch.from_numpy(x), x.shape[1], n,
        torch.from_numpy(matrix), width, row, 0 if row is None else row.shape[1], cut, start, out, along,
        threads=256, shared=64 * (rows + columns + 8),
    )  # fmt: skip
    assert out[edges:].isnan().all() and slope[edges:].isnan().all()
    return out[:edges].numpy(), slope[:edges].numpy()


def wanted_product(x: Any, edges: int, n: int, matrix: Any) -> Any:
    width = matrix.shape[1]
    out = aligned_zeros(((edges + ROWS) * width,), x.dtype)
    longer = aligned_zeros(((edges + ROWS), x.shape[1]), x.dtype)
    longer[:edges] = x[:edges]
    multiply(longer.reshape(-1), x.shape[1], n, aligned(packed(matrix)), 0, out, width, edges)
    return out[: edges * width]


@pytest.mark.parametrize("columns", [16, 32, 64])
@pytest.mark.parametrize("name", REALS)
def test_products(name: str, columns: int) -> None:
    real, rng = REALS[name], np.random.default_rng(columns)
    for edges, n, width in ((301, 37, 48), (1, 1, 16), (130, 64, 80), (0, 5, 16)):
        x = aligned(rng.normal(size=(edges + 70, whole(n, real))).astype(real))
        x[:, n:] = np.nan  # do not count
        matrix = aligned(rng.normal(size=(n, width)).astype(real))
        wanted = wanted_product(x, edges, n, matrix).reshape(edges, width)
        for turn in TURNS:
            with on_host(*turn):
                assert np.array_equal(product(name, edges, x, n, matrix, columns)[0], wanted)


@pytest.mark.parametrize(("cut", "start"), [(-1, -1), (33, -1), (-1, 16), (33, 16)])
@pytest.mark.parametrize("name", REALS)
def test_levels(name: str, cut: int, start: int) -> None:
    real, rng = REALS[name], np.random.default_rng(1)
    edges, n, width = 75, 21, 32
    x, matrix = (aligned(rng.normal(size=shape).astype(real)) for shape in ((edges + 9, 32), (n, width)))
    row = aligned(rng.normal(size=(edges + 9, 48)).astype(real))
    z = wanted_product(x, edges, n, matrix)
    if cut >= 0:
        scale(edges, width, z, row, cut)
    if start >= 0:
        add_columns(edges, width, z, row, start)
    value, slope = aligned_zeros(z.shape, real), aligned_zeros(z.shape, real)
    activate(SILU, z, value, slope)
    for turn in TURNS:
        with on_host(*turn):
            found = product(name, edges, x, n, matrix, 32, (row, cut, start))
        assert np.array_equal(found[0].reshape(-1), value) and np.array_equal(found[1].reshape(-1), slope)


@pytest.mark.parametrize("code", [SILU, GELU, MISH])
@pytest.mark.parametrize("name", REALS)
def test_activations(name: str, code: int) -> None:
    """The product with one is the number itself."""
    real = REALS[name]
    ends = [-800.0, 800.0, -87.0, 87.0, 88.5, -88.5, 708.0, -708.0, 1e-30, np.inf, -np.inf, np.nan, 0.0]
    numbers = np.concatenate([np.linspace(-95.0, 95.0, 5000), np.linspace(-720.0, 720.0, 300), ends]).astype(real)
    x = np.zeros((len(numbers), 16), dtype=real)
    x[:, 0] = numbers
    z = aligned(np.repeat(numbers[:, None], 16, axis=1)).reshape(-1)
    value, slope = aligned_zeros(z.shape, real), aligned_zeros(z.shape, real)
    activate(code, z, value, slope)
    with on_host():
        found = product(name, len(x), aligned(x), 1, np.ones((1, 16), dtype=real), 16, (x, -1, -1), code)
    assert np.array_equal(found[0].reshape(-1), value, equal_nan=True)
    assert np.array_equal(found[1].reshape(-1), slope, equal_nan=True)


@pytest.mark.parametrize("name", REALS)
def test_packed_matrices_are_read_back(name: str) -> None:
    real, rng = REALS[name], np.random.default_rng(2)
    matrices = [rng.normal(size=shape).astype(real) for shape in ((5, 16), (33, 48), (1, 80), (7, 64))]
    found = unpacked(np.concatenate([packed(m) for m in matrices]), [m.shape for m in matrices])
    assert all(np.array_equal(a, b) for a, b in zip(found, matrices, strict=True))
