"""Matrix products on one constant tile, so that a row's bits do not depend on where it sits or on what sits beside it.

BLAS rounds the rows of a product differently for different numbers of rows. Here every product has exactly `BLOCK_ROWS`
rows: a block of edges is a whole number of tiles (padded), and only that number changes with the block.

Arguments, float32 or float64: x (rows, n), rows a whole number of tiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from allegro_md.kernels.blocks import BLOCK_ROWS

COLUMNS = 16
"""Inner and outer dimensions of every matrix product at inference are multiples of this."""


def widened(x: torch.Tensor) -> torch.Tensor:
    """The matrix (rows, k), with columns of zeros up to a whole number of `COLUMNS`; itself where it has as many.

    With other numbers of columns some BLAS libraries (MKL on processors of AMD) round a row differently depending on
    its position.
    """
    missing = -x.shape[1] % COLUMNS
    return torch.nn.functional.pad(x, (0, missing)) if missing else x


class _Fan(torch.autograd.Function):
    """One x of whole tiles times several matrices."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, *matrices: torch.Tensor) -> tuple[torch.Tensor, ...]:
        ctx.save_for_backward(x, *matrices)
        rows, outs = widened(x), []
        for w in matrices:
            wide = widened(widened(w).t()).t()
            out = x.new_empty((x.shape[0], wide.shape[1]))
            for tile, result in zip(rows.split(BLOCK_ROWS), out.split(BLOCK_ROWS), strict=True):
                torch.mm(tile, wide, out=result)
            outs.append(out[:, : w.shape[1]].contiguous())
        return tuple(outs)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, *matrices = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        grad_x = gathered_matmul(list(grads), [w.t() for w in matrices]) if wanted[0] else None
        return (grad_x, *(x.t() @ g if wish else None for g, wish in zip(grads, wanted[1:], strict=True)))


class _Gathered(torch.autograd.Function):
    """The sum of several products: the derivative of a fan."""

    @staticmethod
    def forward(ctx: Any, n: int, *operands: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(*operands)
        ctx.n = n
        xs, matrices = operands[:n], operands[n:]
        out = xs[0].new_empty((xs[0].shape[0], widened(matrices[0]).shape[1]))
        results = out.split(BLOCK_ROWS)
        for k, (x, w) in enumerate(zip(xs, matrices, strict=True)):
            wide = widened(widened(w).t()).t()
            for tile, result in zip(widened(x).split(BLOCK_ROWS), results, strict=True):
                torch.addmm(result, tile, wide, beta=0.0 if k == 0 else 1.0, out=result)
        return out[:, : matrices[0].shape[1]].contiguous()

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        xs, matrices = ctx.saved_tensors[: ctx.n], ctx.saved_tensors[ctx.n :]
        grad, wanted = grads[0], ctx.needs_input_grad[1:]
        to_xs = fanned_matmul(grad, [w.t() for w in matrices]) if any(wanted[: ctx.n]) else [None] * ctx.n
        to_matrices = (x.t() @ grad if wish else None for x, wish in zip(xs, wanted[ctx.n :], strict=True))
        return (None, *to_xs, *to_matrices)


def fanned_matmul(x: torch.Tensor, matrices: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """x (rows, k) times each of the matrices (k, n_i); differentiable to any order.

    Tile by tile where the rows are whole tiles (inference), else at once (training).
    """
    if x.shape[0] % BLOCK_ROWS:
        return [x @ w for w in matrices]
    return list(_Fan.apply(x, *matrices))


def gathered_matmul(xs: Sequence[torch.Tensor], matrices: Sequence[torch.Tensor]) -> torch.Tensor:
    """Σ_i x_i @ w_i, likewise."""
    if xs[0].shape[0] % BLOCK_ROWS:
        total = xs[0] @ matrices[0]
        for x, w in zip(xs[1:], matrices[1:], strict=True):
            total = total + x @ w
        return total
    result: torch.Tensor = _Gathered.apply(len(xs), *xs, *matrices)
    return result


def matmul(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    """x (rows, k) @ w (k, n), likewise."""
    return fanned_matmul(x, [w])[0]
