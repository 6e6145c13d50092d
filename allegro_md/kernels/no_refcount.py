"""Arrays without their reference counts, for kernels that hand tuples of many arrays from function to function.

Each such call would count every array of the tuple up and down, with atomic instructions: a microsecond for thirty of
them. A kernel's caller holds the arrays until it returns, so nothing has to be counted meanwhile.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np import arrayobj


def _without_refcount(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    if isinstance(kind, types.Array):
        array = arrayobj.make_array(kind)(context, builder, value)
        array.meminfo = cgutils.get_null_value(array.meminfo.type)
        array.parent = cgutils.get_null_value(array.parent.type)
        return array._getvalue()
    if isinstance(kind, types.BaseTuple):
        members = enumerate(kind.types)
        parts = [_without_refcount(context, builder, t, builder.extract_value(value, k)) for k, t in members]
        return context.make_tuple(builder, kind, parts)
    return value


@intrinsic  # type: ignore[untyped-decorator]
def no_refcount(_: Any, value: Any) -> Any:
    """The same array, or tuple of arrays and numbers, owned by someone else; not to be returned to Python."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _without_refcount(context, builder, value, arguments[0])

    return value(value), code
