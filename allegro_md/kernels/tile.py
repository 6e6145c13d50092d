"""Matrix products on one constant tile, so that a row's bits do not depend on where it sits or on what sits beside it.

BLAS rounds the rows of a product differently for different numbers of rows. Here every product has exactly `TILE`
rows: a block of edges is a whole number of tiles (padded), and only that number changes with the block.
"""

from __future__ import annotations

from typing import Any

import torch

TILE = 256
"""Rows of every matrix product at inference."""


def padded(rows: int) -> int:
    """The smallest whole number of tiles that holds the rows, in rows (at least one tile)."""
    return max(1, -(-rows // TILE)) * TILE


class _TiledProduct(torch.autograd.Function):
    """x @ w for x of whole tiles."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x, w)
        out = x.new_empty((x.shape[0], w.shape[1]))
        for start in range(0, x.shape[0], TILE):
            torch.mm(x[start : start + TILE], w, out=out[start : start + TILE])
        return out

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        x, w = ctx.saved_tensors
        grad = grads[0]
        grad_x = matmul(grad, w.t()) if ctx.needs_input_grad[0] else None
        grad_w = x.t() @ grad if ctx.needs_input_grad[1] else None
        return grad_x, grad_w


def matmul(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    """x (rows, k) @ w (k, n), tile by tile where the rows are whole tiles (inference), else at once (training).

    Differentiable to any order.
    """
    if x.shape[0] % TILE:
        return x @ w
    result: torch.Tensor = _TiledProduct.apply(x, w)
    return result
