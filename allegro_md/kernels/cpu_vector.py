"""Eight numbers at once, for compiled code: what a loop of eight would do, without leaving it to the compiler.

Wide vectors are as long as a cache line: sixteen float32, eight float64.

Every operation is elementwise and correctly rounded (`fma` rounds once), so that a lane's bits are the same on every
machine. Loads and stores take the offset from an array's first element, in elements, whatever its shape; nothing is
checked. Vectors of reals can be added, subtracted and multiplied like numbers, and multiplied with a number.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model
from numba.np import arrayobj

LANES = 8

WIDE = 64
"""Bytes of a wide vector."""

_FORMS = {
    types.float32: ir.FloatType(),
    types.float64: ir.DoubleType(),
    types.int32: ir.IntType(32),
    types.int64: ir.IntType(64),
}


class Vector(types.Type):  # type: ignore[misc]
    """Type of some float32, float64, int32 or int64."""

    def __init__(self, real: Any, lanes: int = LANES) -> None:
        self.real, self.lanes = real, lanes
        super().__init__(name=f"Vector({real}, {lanes})")


def form_of(real: Any, lanes: int = LANES) -> ir.VectorType:
    """A vector in the compiler's terms."""
    return ir.VectorType(_FORMS[real], lanes)


def mask(*numbers: int) -> ir.Constant:
    """The mask of a shuffle: which number of two vectors, one after the other, goes into each lane."""
    return ir.Constant(ir.VectorType(ir.IntType(32), len(numbers)), list(numbers))


def _blocks(half: int, lanes: int) -> tuple[ir.Constant, ir.Constant]:
    """Masks by which blocks of half × half numbers of two rows change places across the diagonal: new rows."""
    low = mask(*[k if not k & half else lanes + k - half for k in range(lanes)])
    return low, mask(*[k + half if not k & half else lanes + k for k in range(lanes)])


def transposed(builder: Any, rows: list[Any]) -> list[Any]:
    """Columns of as many vectors, the `rows`, as each has lanes."""
    columns, lanes = list(rows), len(rows)
    half = lanes // 2
    while half:
        low, high = _blocks(half, lanes)
        for e in (e for e in range(lanes) if not e & half):
            pair = columns[e], columns[e + half]
            columns[e], columns[e + half] = builder.shuffle_vector(*pair, low), builder.shuffle_vector(*pair, high)
        half //= 2
    return columns


def call(builder: Any, name: str, form: Any, *arguments: Any) -> Any:
    """An operation of the compiler on vectors of one form, with the form's name at the end."""
    kind = {ir.FloatType(): "f32", ir.DoubleType(): "f64"}[form.element]
    function = ir.FunctionType(form, [form] * len(arguments))
    called = cgutils.get_or_insert_function(builder.module, function, f"llvm.{name}.v{form.count}{kind}")
    return builder.call(called, arguments)


@register_model(Vector)  # type: ignore[untyped-decorator]
class _Model(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Vector) -> None:
        super().__init__(manager, kind, form_of(kind.real, kind.lanes))


def pointer(context: Any, builder: Any, array: Any, value: Any, offset: Any, lanes: int = LANES) -> Any:
    """To a vector within an array of this type."""
    data = arrayobj.make_array(array)(context, builder, value).data
    return builder.bitcast(builder.gep(data, [offset]), form_of(array.dtype, lanes).as_pointer())


def spread(builder: Any, number: Any, lanes: int) -> Any:
    """The same number in every lane."""
    form = ir.VectorType(number.type, lanes)
    one = builder.insert_element(ir.Constant(form, ir.Undefined), number, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(one, one, mask(*[0] * lanes))


def _loaded(array: Any, lanes: int) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value, offset = arguments
        source = builder.load(pointer(context, builder, signature.args[0], value, offset, lanes))
        source.align = array.dtype.bitwidth // 8
        return source

    return Vector(array.dtype, lanes)(array, types.intp), code


@intrinsic  # type: ignore[untyped-decorator]
def load(_: Any, array: Any, offset: Any) -> Any:
    """Eight elements from an offset on."""
    return _loaded(array, LANES)


@intrinsic  # type: ignore[untyped-decorator]
def load_wide(_: Any, array: Any, offset: Any) -> Any:
    """A wide vector of elements from an offset on."""
    return _loaded(array, WIDE * 8 // array.dtype.bitwidth)


@intrinsic  # type: ignore[untyped-decorator]
def store(_: Any, array: Any, offset: Any, vector: Any) -> Any:
    """Puts the elements of a vector at an offset."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        target, offset, numbers = arguments
        place = pointer(context, builder, signature.args[0], target, offset, vector.lanes)
        builder.store(numbers, place).align = array.dtype.bitwidth // 8
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), code


@intrinsic  # type: ignore[untyped-decorator]
def lanes_of(_: Any, array: Any) -> Any:
    """Elements in a wide vector, a constant of the compiled code: `itemsize` is not, and loops would divide by it."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return ir.Constant(ir.IntType(64), WIDE * 8 // array.dtype.bitwidth)

    return types.intp(array), code


def _masked(context: Any, builder: Any, array: Any, value: Any, offset: Any, count: Any) -> tuple[Any, Any, Any]:
    """For a wide vector whose first `count` elements exist: where it is, the alignment, which lanes exist."""
    lanes = WIDE * 8 // array.dtype.bitwidth
    place = pointer(context, builder, array, value, offset, lanes)
    number = ir.IntType(32)
    places = ir.Constant(ir.VectorType(number, lanes), list(range(lanes)))
    exists = builder.icmp_signed("<", places, spread(builder, builder.trunc(count, number), lanes))
    return place, ir.Constant(number, array.dtype.bitwidth // 8), exists


def _masked_function(builder: Any, operation: str, array: Any, result: Any, arguments: Any) -> Any:
    kind = f"v{WIDE * 8 // array.dtype.bitwidth}f{array.dtype.bitwidth}"
    function = ir.FunctionType(result, [argument.type for argument in arguments])
    name = f"llvm.masked.{operation}.{kind}.p0{kind}"
    return builder.call(cgutils.get_or_insert_function(builder.module, function, name), arguments)


@intrinsic  # type: ignore[untyped-decorator]
def load_first(_: Any, array: Any, offset: Any, count: Any) -> Any:
    """A wide vector of the first `count` elements (as many as it holds, at most) from an offset on, then zeros."""
    lanes = WIDE * 8 // array.dtype.bitwidth
    form = form_of(array.dtype, lanes)

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        masked = _masked(context, builder, array, *arguments)
        return _masked_function(builder, "load", array, form, (*masked, ir.Constant(form, [0.0] * lanes)))

    return Vector(array.dtype, lanes)(array, types.intp, types.intp), code


@intrinsic  # type: ignore[untyped-decorator]
def load_same(_: Any, array: Any, offset: Any) -> Any:
    """A wide vector of one and the same element."""
    lanes = WIDE * 8 // array.dtype.bitwidth

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = arrayobj.make_array(array)(context, builder, arguments[0]).data
        return spread(builder, builder.load(builder.gep(data, [arguments[1]])), lanes)

    return Vector(array.dtype, lanes)(array, types.intp), code


@intrinsic  # type: ignore[untyped-decorator]
def store_first(_: Any, array: Any, offset: Any, vector: Any, count: Any) -> Any:
    """Puts the first `count` elements (all, where it is more) of a wide vector at an offset."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value, offset, numbers, count = arguments
        masked = _masked(context, builder, array, value, offset, count)
        _masked_function(builder, "store", array, ir.VoidType(), (numbers, *masked))
        return context.get_dummy_value()

    return types.void(array, types.intp, vector, types.intp), code


@intrinsic  # type: ignore[untyped-decorator]
def difference(_: Any, x: Any, a: Any, b: Any, target: Any, to: Any, step: Any) -> Any:
    """target[to + k · step] = x[a + k] − x[b + k] for k < 3, float64; returns the sum of the squares, in this order."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, a, b, out, to, step = arguments
        number, two = ir.IntType(32), ir.VectorType(ir.DoubleType(), 2)
        data = arrayobj.make_array(x)(context, builder, source).data
        out = arrayobj.make_array(target)(context, builder, out).data

        def rows(at: Any) -> tuple[Any, Any]:
            first = builder.load(builder.bitcast(builder.gep(data, [at]), two.as_pointer()))
            first.align = 8
            return first, builder.load(builder.gep(data, [builder.add(at, ir.Constant(at.type, 2))]))

        (near, near_z), (far, far_z) = rows(b), rows(a)
        d, d2 = builder.fsub(far, near), builder.fsub(far_z, near_z)
        d0, d1 = (builder.extract_element(d, ir.Constant(number, k)) for k in range(2))
        for value in (d0, d1, d2):
            builder.store(value, builder.gep(out, [to]))
            to = builder.add(to, step)
        square = builder.fmul(d, d)
        s0, s1 = (builder.extract_element(square, ir.Constant(number, k)) for k in range(2))
        return builder.fadd(builder.fadd(s0, s1), builder.fmul(d2, d2))

    return types.float64(x, types.intp, types.intp, target, types.intp, types.intp), code


@intrinsic  # type: ignore[untyped-decorator]
def same_three(_: Any, x: Any, a: Any, b: Any) -> Any:
    """True if the three int32 x[a + k] and x[b + k] are the same."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = arrayobj.make_array(x)(context, builder, arguments[0]).data

        def rows(at: Any) -> tuple[Any, Any]:
            first = builder.load(builder.bitcast(builder.gep(data, [at]), ir.IntType(64).as_pointer()))
            first.align = 4
            last = builder.load(builder.gep(data, [builder.add(at, ir.Constant(at.type, 2))]))
            return first, builder.zext(last, ir.IntType(64))

        (first, last), (other, end) = rows(arguments[1]), rows(arguments[2])
        unlike = builder.or_(builder.xor(first, other), builder.xor(last, end))
        return builder.icmp_unsigned("==", unlike, ir.Constant(ir.IntType(64), 0))

    return types.boolean(x, types.intp, types.intp), code


@intrinsic  # type: ignore[untyped-decorator]
def splat(_: Any, x: Any) -> Any:
    """The same number eight times."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return spread(builder, arguments[0], LANES)

    return Vector(x)(x), code


@intrinsic  # type: ignore[untyped-decorator]
def splat_as(_: Any, x: Any, like: Any) -> Any:
    """A number, rounded to the type of another vector, in as many lanes."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return spread(builder, context.cast(builder, arguments[0], x, like.real), like.lanes)

    return like(x, like), code


def _elementwise(operands: int, build: Callable[..., Any]) -> Any:
    """An operation on vectors of one type; `build` receives the builder and the operands."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return build(builder, *arguments)

    def one(_: Any, a: Any) -> Any:
        return a(a), code

    def two(_: Any, a: Any, b: Any) -> Any:
        return a(a, a), code

    def three(_: Any, a: Any, b: Any, c: Any) -> Any:
        return a(a, a, a), code

    return intrinsic((one, two, three)[operands - 1])


def _chosen(comparison: str) -> Any:
    return _elementwise(2, lambda builder, a, b: builder.select(builder.fcmp_ordered(comparison, a, b), a, b))


times = _elementwise(2, lambda builder, a, b: builder.fmul(a, b))  # a · b
plus = _elementwise(2, lambda builder, a, b: builder.fadd(a, b))
minus = _elementwise(2, lambda builder, a, b: builder.fsub(a, b))
divide = _elementwise(2, lambda builder, a, b: builder.fdiv(a, b))
root = _elementwise(1, lambda builder, a: call(builder, "sqrt", a.type, a))
fma = _elementwise(3, lambda builder, a, b, c: call(builder, "fma", a.type, a, b, c))  # a · b + c, rounded once
least = _chosen("<")  # a where a < b, else b: also where one is NaN
most = _chosen(">")  # a where a > b, else b: also where one is NaN
if_positive = _elementwise(3, lambda builder, x, a, b: builder.select(builder.fcmp_ordered(">", x, x.type(0.0)), a, b))


def _operator(operation: Any, function: Any) -> None:
    @overload(operation, strict=False)  # type: ignore[untyped-decorator]
    def choose(a: Any, b: Any) -> Any:
        if isinstance(a, Vector) and isinstance(b, Vector):
            return lambda a, b: function(a, b)
        if isinstance(b, Vector) and isinstance(a, types.Float):
            return lambda a, b: function(splat_as(a, b), b)
        return None


for _operation, _function in ((operator.add, plus), (operator.sub, minus), (operator.mul, times)):
    _operator(_operation, _function)


@intrinsic  # type: ignore[untyped-decorator]
def cast(_: Any, a: Any, like: Any) -> Any:
    """The numbers (real, or int32) in the real type of another vector, rounded to nearest."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        form = form_of(like.real)
        if a.real == types.int32:
            return builder.sitofp(arguments[0], form)
        if a.real.bitwidth == like.real.bitwidth:
            return arguments[0]
        return (builder.fptrunc if a.real.bitwidth > like.real.bitwidth else builder.fpext)(arguments[0], form)

    return Vector(like.real)(a, like), code


@intrinsic  # type: ignore[untyped-decorator]
def truncated(_: Any, a: Any) -> Any:
    """Reals that fit as int32, rounded towards zero."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fptosi(arguments[0], form_of(types.int32))

    return Vector(types.int32)(a), code


@intrinsic  # type: ignore[untyped-decorator]
def rounded(_: Any, a: Any) -> Any:
    """Reals that fit as int64, rounded to the nearest, half to even."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fptosi(call(builder, "rint", form_of(a.real), arguments[0]), form_of(types.int64))

    return Vector(types.int64)(a), code


@intrinsic  # type: ignore[untyped-decorator]
def by_mantissa(_: Any, a: Any) -> Any:
    """The powers of two whose biased exponents are the lowest bits of the mantissas."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        bits, mantissa = (32, 23) if a.real == types.float32 else (64, 52)
        whole = ir.VectorType(ir.IntType(bits), a.lanes)
        moved = builder.shl(builder.bitcast(arguments[0], whole), ir.Constant(whole, [mantissa] * a.lanes))
        return builder.bitcast(moved, arguments[0].type)

    return a(a), code


@intrinsic  # type: ignore[untyped-decorator]
def all_below(_: Any, a: Any, b: Any) -> Any:
    """True if a < b in every lane; not where one is NaN."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        bits = ir.IntType(LANES)
        below = builder.bitcast(builder.fcmp_ordered("<", *arguments), bits)
        return builder.icmp_unsigned("==", below, ir.Constant(bits, 2**LANES - 1))

    return types.boolean(a, a), code


@intrinsic  # type: ignore[untyped-decorator]
def first_of(_: Any, a: Any, count: Any) -> Any:
    """The first `count` numbers (all, where it is eight or more), then zeros."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        number = ir.VectorType(arguments[1].type, LANES)
        one = builder.insert_element(ir.Constant(number, ir.Undefined), arguments[1], ir.Constant(ir.IntType(32), 0))
        counts = builder.shuffle_vector(one, one, mask(*[0] * LANES))
        inside = builder.icmp_signed("<", ir.Constant(number, list(range(LANES))), counts)
        return builder.select(inside, arguments[0], ir.Constant(form_of(a.real), [0.0] * LANES))

    return a(a, types.intp), code


@intrinsic  # type: ignore[untyped-decorator]
def transpose(_: Any, source: Any, start: Any, stride: Any, target: Any, to: Any, step: Any) -> Any:
    """target[to + c · step + e] = source[start + e · stride + c] for c, e < 8."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        first, begin, stride, second, to, step = arguments
        align, rows = source.dtype.bitwidth // 8, []
        for e in range(LANES):
            at = builder.add(begin, builder.mul(stride, ir.Constant(stride.type, e)))
            rows.append(builder.load(pointer(context, builder, source, first, at)))
            rows[-1].align = align
        rows = transposed(builder, rows)
        for c in range(LANES):
            at = builder.add(to, builder.mul(step, ir.Constant(step.type, c)))
            builder.store(rows[c], pointer(context, builder, target, second, at)).align = align
        return context.get_dummy_value()

    return types.void(source, types.intp, types.intp, target, types.intp, types.intp), code


def _sums(wide: bool) -> Any:
    @intrinsic  # type: ignore[untyped-decorator]
    def sums(_: Any, source: Any, start: Any) -> Any:
        """`sum_of` of as many vectors as each has lanes, which lie one after the other from an offset on."""
        lanes = WIDE * 8 // source.dtype.bitwidth if wide else LANES

        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            first, begin = arguments
            rows = []
            for e in range(lanes):
                at = builder.add(begin, ir.Constant(begin.type, e * lanes))
                rows.append(builder.load(pointer(context, builder, source, first, at, lanes)))
                rows[-1].align = source.dtype.bitwidth // 8
            half = lanes // 2
            while half:  # lanes that differ in this bit are added up; it tells from then on which of two vectors
                low, high = _blocks(half, lanes)
                pairs = [(rows[e], rows[e + half]) for e in range(half)]
                rows = [builder.fadd(builder.shuffle_vector(*p, low), builder.shuffle_vector(*p, high)) for p in pairs]
                half //= 2
            return rows[0]

        return Vector(source.dtype, lanes)(source, types.intp), code

    return sums


sums_of_eight, sums_of_wide = _sums(False), _sums(True)


@intrinsic  # type: ignore[untyped-decorator]
def sum_of(_: Any, a: Any) -> Any:
    """The numbers added up: halves, quarters, pairs."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector, width, number = arguments[0], a.lanes, ir.IntType(32)
        while width > 1:
            width //= 2
            halves = [builder.shuffle_vector(vector, vector, mask(*range(k, k + width))) for k in (0, width)]
            vector = builder.fadd(*halves)
        return builder.extract_element(vector, ir.Constant(number, 0))

    return a.real(a), code
