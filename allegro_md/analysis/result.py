"""A result: columns of a table, values with errors, remarks, and the pictures that show them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Column:
    """A column of a CSV file: a name that ends in its unit ("r_A"), and its numbers (n,)."""

    name: str
    values: NDArray[np.float64] | NDArray[np.int64] | Sequence[str]


@dataclass(frozen=True)
class Value:
    """A number with its error.

    Attributes:
        name: short, for programs.
        label: for readers.
        value: in `unit`.
        error: standard error; NaN where it is not known.
        unit: "" for none.
    """

    name: str
    label: str
    value: float
    error: float
    unit: str

    def __str__(self) -> str:
        """For the terminal: label, number with its error to two digits of it, unit."""
        unit = f" {self.unit}" if self.unit else ""
        if not (math.isfinite(self.value) and math.isfinite(self.error) and self.error > 0.0):
            return f"{self.label}: {self.value:.6g}{unit}"
        digits = max(2, 2 + math.floor(math.log10(max(abs(self.value), self.error) / self.error)))
        return f"{self.label}: {self.value:.{digits}g} ± {self.error:.2g}{unit}"


@dataclass(frozen=True)
class Line:
    """A line of a picture: x and y (n,), errors (n,) or None, and its label."""

    x: Array
    y: Array
    label: str = ""
    error: Array | None = None
    dashed: bool = False


@dataclass(frozen=True)
class Panel:
    """One pair of axes.

    Attributes:
        lines: what is drawn.
        x: label of the axis, with unit.
        y: likewise.
        logarithmic: both axes.
        level: a horizontal line, for example at 1.
        discrete: x are whole numbers, each of which gets a mark.
    """

    lines: Sequence[Line]
    x: str
    y: str
    logarithmic: bool = False
    level: float | None = None
    discrete: bool = False


@dataclass
class Result:
    """All that a quantity has to say.

    Attributes:
        title: of the quantity.
        columns: of ``KIND.csv``.
        more: ending → columns of ``KIND--ENDING.csv``.
        values: numbers with errors.
        notes: sentences, warnings among them.
        panels: of the picture.
    """

    title: str
    columns: Sequence[Column]
    more: dict[str, Sequence[Column]] = field(default_factory=dict)
    values: list[Value] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    panels: list[Panel] = field(default_factory=list)


@dataclass(frozen=True)
class Analyzed:
    """A result, and the samples that it was made of.

    Attributes:
        result: of the quantity.
        samples: their number.
        first_step: of the first sample.
        last_step: of the last one.
        source: "simulation", or the file and which of its frames or rows.
    """

    result: Result
    samples: int
    first_step: int
    last_step: int
    source: str
