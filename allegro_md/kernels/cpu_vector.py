"""Eight numbers at once, for compiled code: what a loop of eight would do, without leaving it to the compiler.

`fma` rounds once on every machine. Loads and stores take the offset from an array's first element, in elements,
whatever its shape; nothing is checked.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model
from numba.np import arrayobj

LANES = 8


class Vector(types.Type):  # type: ignore[misc]
    """Type of eight float32 or float64."""

    def __init__(self, real: Any) -> None:
        self.real = real
        super().__init__(name=f"Vector({real})")


def _form(real: Any) -> ir.VectorType:
    return ir.VectorType(ir.FloatType() if real == types.float32 else ir.DoubleType(), LANES)


@register_model(Vector)  # type: ignore[untyped-decorator]
class _Model(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Vector) -> None:
        super().__init__(manager, kind, _form(kind.real))


def _pointer(context: Any, builder: Any, array: Any, value: Any, offset: Any) -> Any:
    data = arrayobj.make_array(array)(context, builder, value).data
    return builder.bitcast(builder.gep(data, [offset]), _form(array.dtype).as_pointer())


@intrinsic  # type: ignore[untyped-decorator]
def load(_: Any, array: Any, offset: Any) -> Any:
    """Eight elements from an offset on."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source = builder.load(_pointer(context, builder, signature.args[0], *arguments))
        source.align = array.dtype.bitwidth // 8
        return source

    return Vector(array.dtype)(array, types.intp), code


@intrinsic  # type: ignore[untyped-decorator]
def store(_: Any, array: Any, offset: Any, vector: Any) -> Any:
    """Puts eight elements at an offset."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        target = builder.store(arguments[2], _pointer(context, builder, signature.args[0], *arguments[:2]))
        target.align = array.dtype.bitwidth // 8
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), code


@intrinsic  # type: ignore[untyped-decorator]
def splat(_: Any, x: Any) -> Any:
    """The same number eight times."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        form = _form(x)
        one = builder.insert_element(ir.Constant(form, ir.Undefined), arguments[0], ir.Constant(ir.IntType(32), 0))
        return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES))

    return Vector(x)(x), code


@intrinsic  # type: ignore[untyped-decorator]
def times(_: Any, a: Any, b: Any) -> Any:
    """a · b."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fmul(*arguments)

    return a(a, a), code


@intrinsic  # type: ignore[untyped-decorator]
def fma(_: Any, a: Any, b: Any, c: Any) -> Any:
    """a · b + c, rounded once."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        form, bits = _form(a.real), a.real.bitwidth
        function = ir.FunctionType(form, [form] * 3)
        called = cgutils.get_or_insert_function(builder.module, function, f"llvm.fma.v{LANES}f{bits}")
        return builder.call(called, arguments)

    return a(a, a, a), code


@intrinsic  # type: ignore[untyped-decorator]
def sum_of(_: Any, a: Any) -> Any:
    """The eight numbers added up: halves, quarters, pairs."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector, width, number = arguments[0], LANES, ir.IntType(32)
        while width > 1:
            width //= 2
            low, high = ([ir.Constant(number, k + start) for k in range(width)] for start in (0, width))
            halves = [
                builder.shuffle_vector(vector, vector, ir.Constant(ir.VectorType(number, width), half))
                for half in (low, high)
            ]
            vector = builder.fadd(*halves)
        return builder.extract_element(vector, ir.Constant(number, 0))

    return a.real(a), code
