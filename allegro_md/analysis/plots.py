"""Pictures of results, fit for print: PNG and SVG."""

from __future__ import annotations

from typing import Any

import numpy as np

from allegro_md.analysis.result import Panel, Result
from allegro_md.figures import COLORS, figure, png, svg

STYLES = ("-", (0, (5, 1.5)), (0, (4, 1.2, 1, 1.2)), (0, (1.5, 1)))
"""Of lines, in turn: curves on top of each other and prints without color can be told apart."""

WIDTH, COLUMN = 7.0, 3.5
"""Inches: of a page, which several pairs of axes share; and of a column, which holds one."""

MOST_IN_A_ROW = 3

FONT_SIZE = 8.0
"""Points, at the size in which a picture is printed."""


def draw(result: Result) -> dict[str, bytes]:
    """Returns the picture of a result as "png" and "svg"."""
    from matplotlib import rc_context

    rows = -(-len(result.panels) // MOST_IN_A_ROW)
    columns = -(-len(result.panels) // rows)
    with rc_context({"font.size": FONT_SIZE}):
        drawing, axes = figure(rows, columns, COLUMN if columns == 1 else WIDTH, 2.7 * rows, dpi=160.0)
        for axis, panel in zip(axes, result.panels, strict=False):
            _draw_panel(axis, panel)
        for axis in axes[len(result.panels) :]:
            axis.remove()
        return {"png": png(drawing), "svg": svg(drawing)}


def _draw_panel(axis: Any, panel: Panel) -> None:
    """Draws lines with bands of one standard error."""
    if panel.level is not None:
        axis.axhline(panel.level, color="0.7", lw=0.8, zorder=0)
    for k, line in enumerate(panel.lines):
        color, style = COLORS[k % len(COLORS)], STYLES[(k + k // len(COLORS)) % len(STYLES)]
        look = {"color": "0.1", "ls": "--", "lw": 0.8} if line.dashed else {"color": color, "ls": style, "lw": 1.2}
        axis.plot(line.x, line.y, marker="o" if panel.discrete else None, ms=3.0, label=line.label or None, **look)
        if line.error is not None and np.isfinite(line.error).any():
            axis.fill_between(line.x, line.y - line.error, line.y + line.error, color=color, alpha=0.25, lw=0)
    axis.set(xlabel=panel.x, ylabel=panel.y)
    if panel.logarithmic and any((line.y > 0.0).any() and (line.x > 0.0).any() for line in panel.lines):
        axis.set(xscale="log", yscale="log")
    if panel.discrete:
        axis.xaxis.get_major_locator().set_params(integer=True)
    axis.grid(alpha=0.25)
    if any(line.label for line in panel.lines):
        axis.legend(frameon=False)
