"""Eight neighbors of a center at once, for compiled code: their packed rows (`pair.pack`) into lanes, and what pair
kernels do with lanes beyond `cpu_vector`: those within the cutoff, rounding to fixed point, rows of a table.

A vector of eight takes four wide loads of two rows each and eight shuffles, less than a gather instruction per
coordinate. Numbers are rounded to integers by adding 1.5 · 2⁵², half to even like `fixed.to_fixed`: the lowest bits of
the sum are the integer, and the bits are added up as integers. This holds for magnitudes below 2⁵¹ only.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np import arrayobj

from allegro_md.exact import FORCE_SCALE
from allegro_md.kernels.cpu_vector import LANES, Vector, form_of, mask, spread, transposed

ROUNDING = 1.5 * 2.0**52
"""Added to a number, it leaves the number rounded to an integer in the lowest bits."""

ROUNDING_BITS = 0x4338 << 48
"""Those of `ROUNDING`."""

SMALL = 2.0**6
"""Numbers below this (eV/Å, eV) may be rounded that way in fixed-point units."""

assert SMALL * FORCE_SCALE <= 2.0**50

_FIELD = 21
"""Bits of each component of the shift in a code of `pair.pack`."""

_WHOLE, _REAL, _FLAG = form_of(types.int64), form_of(types.float64), ir.VectorType(ir.IntType(1), LANES)


def _loads(context: Any, builder: Any, kinds: Any, arguments: Any, width: int) -> list[Any]:
    """Rows of `width` numbers of a (…, width) table, at the eight indices that stand in an int32 array from `at` on."""
    table, index, at = arguments
    data = arrayobj.make_array(kinds[0])(context, builder, table).data
    places = arrayobj.make_array(kinds[1])(context, builder, index).data
    long, form, rows = ir.IntType(64), ir.VectorType(ir.DoubleType(), width), []
    for k in range(LANES):
        row = builder.zext(builder.load(builder.gep(places, [builder.add(at, ir.Constant(at.type, k))])), long)
        place = builder.gep(data, [builder.mul(row, ir.Constant(long, width))])
        rows.append(builder.load(builder.bitcast(place, form.as_pointer())))
        rows[-1].align = 8
    return rows


@intrinsic  # type: ignore[untyped-decorator]
def rows_of_four(_: Any, table: Any, index: Any, at: Any) -> Any:
    """Columns of eight rows of a (…, 4) float64 table: four vectors, lane k from row index[at + k], int32."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        rows = _loads(context, builder, signature.args, arguments, 4)
        whole = mask(*range(8))
        pairs = [builder.shuffle_vector(rows[a], rows[b], whole) for a, b in ((0, 2), (1, 3), (4, 6), (5, 7))]
        columns = []
        for odd in (0, 1):  # x and z, or y and the last, of four rows: x x z z x x z z
            mixed = mask(*[k + odd + half for k in (0, 2, 4, 6) for half in (0, 8)])
            columns.append([builder.shuffle_vector(*pairs[k : k + 2], mixed) for k in (0, 2)])
        first, second = mask(0, 1, 4, 5, 8, 9, 12, 13), mask(2, 3, 6, 7, 10, 11, 14, 15)
        sorted_out = [builder.shuffle_vector(*columns[odd], part) for part in (first, second) for odd in (0, 1)]
        return context.make_tuple(builder, signature.return_type, sorted_out)

    return types.UniTuple(Vector(types.float64), 4)(table, index, types.intp), code


@intrinsic  # type: ignore[untyped-decorator]
def rows_of_eight(_: Any, table: Any, index: Any, at: Any) -> Any:
    """Columns of eight rows of a (…, 8) float64 table: eight vectors, lane k from row index[at + k], int32."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        rows = _loads(context, builder, signature.args, arguments, LANES)
        return context.make_tuple(builder, signature.return_type, transposed(builder, rows))

    return types.UniTuple(Vector(types.float64), LANES)(table, index, types.intp), code


@intrinsic  # type: ignore[untyped-decorator]
def same_bits(_: Any, a: Any, b: Any) -> Any:
    """True if all lanes have the same bits."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        bits = ir.IntType(LANES)
        flags = builder.icmp_signed("==", *(builder.bitcast(argument, _WHOLE) for argument in arguments))
        return builder.icmp_unsigned("==", builder.bitcast(flags, bits), ir.Constant(bits, 2**LANES - 1))

    return types.boolean(a, a), code


@intrinsic  # type: ignore[untyped-decorator]
def any_negative(_: Any, a: Any) -> Any:
    """True if the bits of a lane, as an int64, are a negative number."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        zeros, bits = ir.Constant(_WHOLE, [0] * LANES), ir.IntType(LANES)
        flags = builder.icmp_signed("<", builder.bitcast(arguments[0], _WHOLE), zeros)
        return builder.icmp_unsigned("!=", builder.bitcast(flags, bits), ir.Constant(bits, 0))

    return types.boolean(a), code


@intrinsic  # type: ignore[untyped-decorator]
def shifts(_: Any, codes: Any, center: Any) -> Any:
    """The three components of S, as reals, from the codes of `pair.pack` of neighbors and center, none negative."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def moved(by: int) -> ir.Constant:
            return ir.Constant(_WHOLE, [by] * LANES)

        left = builder.sub(*(builder.bitcast(argument, _WHOLE) for argument in arguments))
        found = []
        for _ in range(3):  # the last field first; what it borrowed from the others is given back
            field = builder.ashr(builder.shl(left, moved(64 - _FIELD)), moved(64 - _FIELD))
            left = builder.ashr(builder.sub(left, field), moved(_FIELD))
            found.append(builder.sitofp(field, _REAL))
        return context.make_tuple(builder, signature.return_type, found[::-1])

    return types.UniTuple(Vector(types.float64), 3)(codes, codes), code


def _within(builder: Any, r2: Any, limit: Any, count: Any) -> Any:
    """Tells for each lane if it is one of the first `count` and within: not r2 ≥ limit, also where r2 is NaN."""
    places = ir.Constant(_WHOLE, list(range(LANES)))
    exists = builder.icmp_signed("<", places, spread(builder, count, LANES))
    return builder.and_(builder.fcmp_unordered("<", r2, limit), exists)


@intrinsic  # type: ignore[untyped-decorator]
def within(_: Any, a: Any, otherwise: Any, r2: Any, limit: Any, count: Any) -> Any:
    """The lanes of `a` for which not r2 ≥ limit, of the first `count`; the others from `otherwise`."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        a, otherwise, *compared = arguments
        return builder.select(_within(builder, *compared), a, otherwise)

    return a(a, a, r2, r2, types.intp), code


@intrinsic  # type: ignore[untyped-decorator]
def count_within(_: Any, r2: Any, limit: Any, count: Any) -> Any:
    """Counts the lanes that `within` keeps."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        flags = builder.bitcast(_within(builder, *arguments), ir.IntType(LANES))
        return builder.zext(builder.ctpop(flags), ir.IntType(64))

    return types.int64(r2, r2, types.intp), code


@intrinsic  # type: ignore[untyped-decorator]
def store_within(_: Any, array: Any, offset: Any, a: Any, r2: Any, limit: Any, count: Any) -> Any:
    """Puts the lanes that `within` keeps one after the other at an offset, then zeros up to eight.

    Reals are moved as integers of their bits: LLVM 22 fails an assertion, and ends the process, where it compresses
    reals for a processor without AVX-512.
    """
    bits = a.real.bitwidth

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        target, offset, numbers, *compared = arguments
        form = ir.VectorType(ir.IntType(bits), LANES)
        function = ir.FunctionType(form, [form, _FLAG, form])
        name = f"llvm.experimental.vector.compress.v{LANES}i{bits}"
        flags = _within(builder, *compared)
        compressed = builder.call(
            cgutils.get_or_insert_function(builder.module, function, name),
            (builder.bitcast(numbers, form), flags, ir.Constant(form, [0] * LANES)),
        )
        data = arrayobj.make_array(array)(context, builder, target).data
        place = builder.bitcast(builder.gep(data, [offset]), form.as_pointer())
        builder.store(compressed, place).align = bits // 8
        return context.get_dummy_value()

    return types.void(array, types.intp, a, r2, r2, types.intp), code


@intrinsic  # type: ignore[untyped-decorator]
def no_bits(_: Any) -> Any:
    """Eight int64 zeros."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return ir.Constant(_WHOLE, [0] * LANES)

    return Vector(types.int64)(), code


@intrinsic  # type: ignore[untyped-decorator]
def add_rounded(_: Any, total: Any, a: Any) -> Any:
    """Float64 numbers rounded to integers, added to int64 numbers together with `ROUNDING_BITS`."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        rounded = builder.fadd(arguments[1], ir.Constant(_REAL, [ROUNDING] * LANES))
        return builder.add(arguments[0], builder.bitcast(rounded, _WHOLE))

    return total(total, a), code


@intrinsic  # type: ignore[untyped-decorator]
def sum_of_bits(_: Any, a: Any) -> Any:
    """Sum of eight int64 numbers, modulo 2⁶⁴."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        function = ir.FunctionType(ir.IntType(64), [_WHOLE])
        name = f"llvm.vector.reduce.add.v{LANES}i64"
        return builder.call(cgutils.get_or_insert_function(builder.module, function, name), arguments)

    return types.int64(a), code


@intrinsic  # type: ignore[untyped-decorator]
def take_rounded(_: Any, rows: Any, index: Any, at: Any, q0: Any, q1: Any, q2: Any) -> Any:
    """Takes eight times three float64, rounded to integers, from rows of a (…, 3) int64 array.

    Lane k is taken from row index[at + k], int32.
    """

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        target, index, at, *numbers = arguments
        data = arrayobj.make_array(rows)(context, builder, target).data
        source = arrayobj.make_array(signature.args[1])(context, builder, index).data
        long, rounding = ir.IntType(64), ir.Constant(_WHOLE, [ROUNDING_BITS] * LANES)
        moved = (builder.fsub(ir.Constant(_REAL, [ROUNDING] * LANES), number) for number in numbers)
        fixed = [builder.sub(builder.bitcast(number, _WHOLE), rounding) for number in moved]
        places = [builder.load(builder.gep(source, [builder.add(at, ir.Constant(at.type, k))])) for k in range(LANES)]
        for k, index_of_row in enumerate(places):
            row = builder.gep(data, [builder.mul(builder.zext(index_of_row, long), ir.Constant(long, 3))])
            first = builder.bitcast(row, ir.VectorType(long, 2).as_pointer())
            old = builder.load(first)
            old.align = 8
            two = builder.shuffle_vector(*fixed[:2], mask(k, LANES + k))
            builder.store(builder.add(old, two), first).align = 8
            last = builder.gep(row, [ir.Constant(long, 2)])
            one = builder.extract_element(fixed[2], ir.Constant(ir.IntType(32), k))
            builder.store(builder.add(builder.load(last), one), last)
        return context.get_dummy_value()

    return types.void(rows, index, types.intp, q0, q0, q0), code
