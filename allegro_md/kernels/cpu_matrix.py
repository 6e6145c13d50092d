"""Products of the rows of a block with a small matrix, held in registers: a few rows by two wide vectors at a time.

Every element is a sum in ascending order of the contracted index, rounded once per term, in a lane of its own; so a
row's result depends neither on where the row sits nor on how many rows there are, and on no library or machine either.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numba
import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from allegro_md.kernels.cpu_vector import WIDE, call, form_of, lanes_of, pointer, spread

_LARGE = bool(binding.get_host_cpu_features().get("avx512f", False))

BYTES, ROWS = (64, 12) if _LARGE else (32, 6)
"""Of a register, and the rows that are multiplied at once: as many sums as there are registers to hold them."""


def whole(width: int, real: Any) -> int:
    """Elements of a row of a given width, filled up to wide vectors."""
    lanes = WIDE // np.dtype(real).itemsize
    return -(-width // lanes) * lanes


def packed(matrix: NDArray[Any]) -> NDArray[Any]:
    """A matrix (n, whole vectors) as `multiply` reads it: two registers' columns of all rows, then the next two."""
    step = 2 * BYTES // matrix.itemsize
    return np.concatenate([matrix[:, k : k + step].ravel() for k in range(0, matrix.shape[1], step)])


def unpacked(values: NDArray[Any], shapes: Iterable[tuple[int, int]]) -> list[NDArray[Any]]:
    """Matrices (n, whole vectors) of given shapes that are `packed` in `values` (elements,) one after the other."""
    found, at, step = [], 0, 2 * BYTES // values.itemsize
    for n, width in shapes:
        parts = np.split(values[at : at + n * width], range(n * step, n * width, n * step))
        found.append(np.concatenate([part.reshape(n, -1) for part in parts], axis=1))
        at += n * width
    return found


def panel_of(height: int, vectors: int) -> Any:
    """The product of some rows of x with some vectors of columns."""

    @intrinsic  # type: ignore[untyped-decorator]
    def panel(_: Any, x: Any, matrix: Any, out: Any, places: Any) -> Any:
        """`places`, in elements, of x: first, from row to row, from term to term; of the matrix: first, from term to
        term, and how many terms; of out: first, from row to row.
        """
        lanes, align = BYTES * 8 // x.dtype.bitwidth, x.dtype.bitwidth // 8
        zero = ir.Constant(form_of(x.dtype, lanes), [0.0] * lanes)

        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            def moved(start: Any, step: Any, count: int) -> Any:
                return builder.add(start, builder.mul(step, ir.Constant(step.type, count)))

            rows, table, result, packed_places = arguments
            at, stride, term, start, pitch, n, to, width = cgutils.unpack_tuple(builder, packed_places, 8)
            one = ir.Constant(n.type, 1)
            sums = [[cgutils.alloca_once_value(builder, zero) for _ in range(vectors)] for _ in range(height)]
            places = [moved(at, stride, r) for r in range(height)]
            with cgutils.for_range(builder, n) as loop:
                column, factors = builder.add(start, builder.mul(loop.index, pitch)), []
                along = builder.mul(loop.index, term)
                for v in range(vectors):
                    place = moved(column, one, v * lanes)
                    factors.append(builder.load(pointer(context, builder, matrix, table, place, lanes), align=align))
                for place, row in zip(places, sums, strict=True):
                    number = builder.load(pointer(context, builder, x, rows, builder.add(place, along), 1))
                    every = spread(builder, builder.extract_element(number, ir.Constant(ir.IntType(32), 0)), lanes)
                    for factor, total in zip(factors, row, strict=True):
                        builder.store(call(builder, "fma", zero.type, every, factor, builder.load(total)), total)
            for r, row in enumerate(sums):
                for v, total in enumerate(row):
                    place = moved(moved(to, width, r), one, v * lanes)
                    target = pointer(context, builder, out, result, place, lanes)
                    builder.store(builder.load(total), target, align=align)
            return context.get_dummy_value()

        return types.void(x, matrix, out, types.UniTuple(types.intp, 8)), code

    return panel


_two, _one = panel_of(ROWS, 2), panel_of(ROWS, 1)


@numba.njit(cache=True)
def multiply(
    x: NDArray[Any], stride: int, n: int, matrix: NDArray[Any], start: int, out: NDArray[Any], width: int, rows: int
) -> None:
    """out = x · matrix, row by row; float32 or float64.

    Args:
        x: (rows · stride,) float32 or float64, rows of `stride` elements, of which the first n count.
        stride: of x.
        n: rows of the matrix.
        matrix: (n, width), `packed`, from `start` on.
        start: its first element.
        out: (rows, width), stored, up to a whole number of `ROWS`.
        width: of a row of `out`, whole vectors.
        rows: to multiply.
    """
    lanes = lanes_of(x) * BYTES // WIDE
    for column in range(0, width, 2 * lanes):
        at, vectors = start + column * n, min(2, (width - column) // lanes)
        for row in range(0, rows, ROWS):
            places = (row * stride, stride, 1, at, vectors * lanes, n, row * width + column, width)
            if vectors == 2:
                _two(x, matrix, out, places)
            else:
                _one(x, matrix, out, places)
