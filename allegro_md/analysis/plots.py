"""Pictures of results, fit for print: PNG and SVG."""

from __future__ import annotations

from typing import Any

import numpy as np

from allegro_md.analysis.result import Panel, Result
from allegro_md.figures import COLORS, figure, png, svg

MOST_IN_COLOR = len(COLORS)


def draw(result: Result) -> dict[str, bytes]:
    """Returns the picture of a result as "png" and "svg"."""
    drawing, axes = figure(1, len(result.panels), width=5.2 * len(result.panels), height=4.0)
    for axis, panel in zip(axes, result.panels, strict=True):
        _draw_panel(axis, panel)
    return {"png": png(drawing), "svg": svg(drawing)}


def _draw_panel(axis: Any, panel: Panel) -> None:
    """Draws lines with bands of one standard error."""
    if panel.level is not None:
        axis.axhline(panel.level, color="0.7", lw=0.8, zorder=0)
    for k, line in enumerate(panel.lines):
        color = COLORS[k % MOST_IN_COLOR]
        style = "--" if line.dashed or k >= MOST_IN_COLOR else "-"
        axis.plot(line.x, line.y, style, color=color, lw=1.3, label=line.label or None)
        if line.error is not None and np.isfinite(line.error).any():
            axis.fill_between(line.x, line.y - line.error, line.y + line.error, color=color, alpha=0.25, lw=0)
    axis.set(xlabel=panel.x, ylabel=panel.y)
    if panel.logarithmic and any((line.y > 0.0).any() and (line.x > 0.0).any() for line in panel.lines):
        axis.set(xscale="log", yscale="log")
    axis.grid(alpha=0.25)
    if any(line.label for line in panel.lines):
        axis.legend(frameon=False, fontsize=9)
