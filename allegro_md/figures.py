"""Figures without a display, the colors of all pictures, and their bytes as PNG or SVG."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8A8A00")
"""Of Okabe and Ito, which color-blind readers can tell apart."""

FEW_DECADES = 1e3
"""Largest over smallest value of an axis up to which 2 and 5 have labels, too."""


def figure(rows: int, columns: int, width: float, height: float, dpi: float = 110.0) -> tuple[Any, list[Any]]:
    """Makes a figure with a grid of axes; without pyplot, which would keep it and look for a display.

    Args:
        rows: of the grid.
        columns: of the grid.
        width: inches.
        height: inches.
        dpi: of PNG files.

    Returns:
        The matplotlib figure and its axes, row by row.
    """
    from matplotlib.figure import Figure

    made = Figure(figsize=(width, height), dpi=dpi, layout="constrained")
    return made, list(np.ravel(made.subplots(rows, columns)))


def label_log_axis(axis: Any) -> None:
    """Labels an axis over few decades at 1, 2 and 5, over less than one at more of them, as plain numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axis.get_view_interval()
    subs: tuple[float, ...] = (1.0, 2.0, 5.0) if high < FEW_DECADES * low else (1.0,)
    if high < 10.0 * low:
        subs = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def png(figure: Any) -> bytes:
    """The content of a PNG file of a matplotlib figure."""
    return _saved(figure, "png", {})


def svg(figure: Any) -> bytes:
    """The content of an SVG file of a matplotlib figure.

    Text stays text: letters can be searched and copied. The same figure gives the same bytes: there is no date in it,
    and what its parts are called depends on their content alone.
    """
    return _saved(figure, "svg", {"Date": None, "Creator": None})


def _saved(figure: Any, kind: str, metadata: dict[str, None]) -> bytes:
    from matplotlib import rc_context

    file = io.BytesIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "allegro-md"}):
        figure.savefig(file, format=kind, metadata=metadata)
    return file.getvalue()
