"""Sums of edges into centers, sequential in edge order, and their inverse, the gather.

Each is the derivative of the other, so both can be differentiated to any order.

Arguments: values (E, …) or (n_segments, …), float32 or float64; segment (E,) int64.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import torch
from numpy.typing import NDArray


@numba.njit(cache=True)
def _sum_rows(values: NDArray[Any], segment: NDArray[np.int64], out: NDArray[Any]) -> None:
    """out[segment[e]] += values[e], in order; values (E, k), out (C, k)."""
    for e in range(values.shape[0]):
        for k in range(values.shape[1]):
            out[segment[e], k] += values[e, k]


def sum_on_device(values: torch.Tensor, segment: torch.Tensor, n_segments: int) -> torch.Tensor:
    """Sums rows into segments in any order of rows, deterministically (index_add is not), where there is no numba."""
    order = torch.argsort(segment, stable=True)
    lengths = torch.bincount(segment, minlength=n_segments)
    return torch.segment_reduce(values.index_select(0, order), "sum", lengths=lengths, initial=0.0)


class _SegmentSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, segment: torch.Tensor, n_segments: int) -> torch.Tensor:
        ctx.save_for_backward(segment)
        if values.device.type != "cpu":
            return sum_on_device(values, segment, n_segments)
        out = values.new_zeros((n_segments, *values.shape[1:]))
        width = max(1, values[0].numel()) if len(values) else 1
        if out.numel():
            rows = values.detach().reshape(-1, width).contiguous()
            _sum_rows(rows.numpy(), segment.numpy(), out.view(-1, width).numpy())
        return out

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (segment,) = ctx.saved_tensors
        return gather(grads[0], segment), None, None


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, segment: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(segment)
        ctx.n_segments = values.shape[0]
        return values[segment]

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        (segment,) = ctx.saved_tensors
        return segment_sum(grads[0], segment, ctx.n_segments), None


def segment_sum(values: torch.Tensor, segment: torch.Tensor, n_segments: int) -> torch.Tensor:
    """Sums rows into segments, one after the other.

    Args:
        values: (E, …).
        segment: (E,) int64, ascending.
        n_segments: C.

    Returns:
        (C, …); zero where a segment has no row.
    """
    result: torch.Tensor = _SegmentSum.apply(values, segment, n_segments)
    return result


def gather(values: torch.Tensor, segment: torch.Tensor) -> torch.Tensor:
    """(C, …) → (E, …): the row of each edge's segment (ascending int64)."""
    result: torch.Tensor = _Gather.apply(values, segment)
    return result
