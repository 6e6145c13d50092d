"""Numbers as text that reads back as the same float64."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray


def number(value: float) -> str:
    """The shortest decimal number, of at most 17 digits, that reads back as the same float64."""
    return repr(float(value))


def columns_of(array: NDArray[Any]) -> list[list[str]]:
    """Columns of words of numbers, `array` (n,) or (n, k) of integers or floats."""
    if array.dtype.kind == "f":
        array = array.astype("float64")
    return [list(map(repr, column.tolist())) for column in (array.T if array.ndim == 2 else array[None])]


def lines_of(columns: Sequence[Sequence[str]]) -> str:
    """Lines with one word of each column."""
    return "".join(" ".join(words) + "\n" for words in zip(*columns, strict=True))
