"""SIMD primitives of the neighbor search, for compiled code; nothing is checked.

Whole vectors of 64 bytes at a time, not left to the compiler to find.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np import arrayobj

LANES, KEYS = 8, 16
"""Numbers of 64 bits, and keys of 32 bits, at a time."""

WORD = 64
"""Places that `near` tests together."""

_LONG, _DOUBLE = ir.IntType(64), ir.DoubleType()
_DOUBLES, _INTS = ir.VectorType(_DOUBLE, LANES), ir.VectorType(ir.IntType(32), KEYS)


def _vector(context: Any, builder: Any, kind: Any, array: Any, offset: Any, form: Any) -> Any:
    """Pointer to a vector of elements of an array."""
    data = arrayobj.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [offset]), form.as_pointer())


def _splat(builder: Any, value: Any, form: Any) -> Any:
    number = ir.IntType(32)
    one = builder.insert_element(ir.Constant(form, ir.Undefined), value, ir.Constant(number, 0))
    return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(number, form.count), [0] * form.count))


@intrinsic  # type: ignore[untyped-decorator]
def near(_: Any, xs: Any, ys: Any, zs: Any, first: Any, x: Any, y: Any, z: Any, limit: Any) -> Any:
    """Bit k of the result: whether place ``first + k`` is at a squared distance below `limit` (Å²) of (x, y, z), Å."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        *middle, bound = (_splat(builder, value, _DOUBLES) for value in arguments[4:8])
        word = ir.Constant(_LONG, 0)
        for start in range(0, WORD, LANES):
            offset = builder.add(arguments[3], ir.Constant(_LONG, start))
            squared = None
            for kind, array, center in zip(signature.args, arguments, middle, strict=False):
                there = builder.load(_vector(context, builder, kind, array, offset, _DOUBLES))
                there.align = 8
                along = builder.fsub(there, center)
                square = builder.fmul(along, along)
                squared = square if squared is None else builder.fadd(squared, square)
            bits = builder.bitcast(builder.fcmp_ordered("<", squared, bound), ir.IntType(LANES))
            word = builder.or_(word, builder.shl(builder.zext(bits, _LONG), ir.Constant(_LONG, start)))
        return word

    return types.uint64(xs, ys, zs, types.intp, x, y, z, limit), code


@intrinsic  # type: ignore[untyped-decorator]
def lowest(_: Any, word: Any) -> Any:
    """Index of the lowest bit that is set in a word that is not zero."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.intp(types.uint64), code


@intrinsic  # type: ignore[untyped-decorator]
def count_smaller(_: Any, keys: Any, n: Any, first: Any, smaller: Any) -> Any:
    """For `KEYS` int32 keys from `first` on: writes how many of the first n keys are smaller, int32."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, n, first, out = arguments
        mine = builder.load(_vector(context, builder, keys, array, first, _INTS))
        mine.align = 4
        total = cgutils.alloca_once_value(builder, ir.Constant(_INTS, [0] * KEYS))
        data = arrayobj.make_array(keys)(context, builder, array).data
        with cgutils.for_range(builder, n) as loop:
            other = _splat(builder, builder.load(builder.gep(data, [loop.index])), _INTS)
            below = builder.sext(builder.icmp_signed("<", other, mine), _INTS)
            builder.store(builder.sub(builder.load(total), below), total)
        target = builder.store(builder.load(total), _vector(context, builder, smaller, out, first, _INTS))
        target.align = 4
        return context.get_dummy_value()

    return types.void(keys, types.intp, types.intp, smaller), code
