"""Rows of a product do not depend on where they sit, whatever the shapes and whatever BLAS this processor uses."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from allegro_md.kernels.blocks import BLOCK_ROWS
from allegro_md.kernels.tile import fanned_matmul, gathered_matmul

WIDTHS = (1, 2, 3, 5, 8, 9, 15, 16, 17, 24, 33, 64)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_row_has_the_same_bits_at_every_position(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(3)
    order = torch.randperm(BLOCK_ROWS, generator=generator)
    for inner in WIDTHS:
        for outer in WIDTHS:
            x = torch.randn(BLOCK_ROWS, inner, dtype=dtype, generator=generator)
            plain = torch.randn(inner, outer, dtype=dtype, generator=generator)
            turned = torch.randn(outer, inner, dtype=dtype, generator=generator).t()
            for w in (plain, turned):
                (product,), (moved,) = fanned_matmul(x, [w]), fanned_matmul(x[order], [w])
                assert torch.equal(product[order], moved), (inner, outer)
                torch.testing.assert_close(product.double(), x.double() @ w.double(), rtol=1e-5, atol=1e-4)
                both = gathered_matmul([x, 0.5 * x], [w, w])
                assert torch.equal(both[order], gathered_matmul([x[order], 0.5 * x[order]], [w, w])), (inner, outer)
                torch.testing.assert_close(both.double(), 1.5 * (x.double() @ w.double()), rtol=1e-5, atol=1e-4)
