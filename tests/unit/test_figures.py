"""Pictures can be read by others, and the same picture gives the same bytes."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest

from allegro_md.figures import COLORS, figure, label_log_axis, png, svg


def picture() -> bytes:
    made, (left, right) = figure(1, 2, width=4.0, height=2.0)
    left.plot([0, 1], [0, 1], color=COLORS[0])
    right.set_xlabel("time (ps)")
    return svg(made)


def test_svg() -> None:
    root = ElementTree.fromstring(picture())
    assert root.tag.endswith("svg")
    assert "time (ps)" in "".join(root.itertext())  # text, not outlines
    assert picture() == picture()


@pytest.mark.parametrize(("low", "high"), [(0.09, 0.19), (0.3, 2.0), (1.0, 40.0), (3.0, 20_000.0)])
def test_log_axes_can_be_read(low: float, high: float) -> None:
    """Two labels at least within the axis, plain numbers each."""
    made, (axes,) = figure(1, 1, width=4.0, height=3.0)
    axes.plot([1, 2], [low, high])
    axes.set(xscale="log", yscale="log")
    label_log_axis(axes.yaxis)
    made.canvas.draw()
    bottom, top = axes.get_ylim()
    shown = [label.get_text() for label in axes.get_yticklabels() if bottom <= label.get_position()[1] <= top]
    assert len(shown) >= 2 and all(np.isfinite(float(text)) and "e" not in text for text in shown)


def test_png() -> None:
    made, _ = figure(1, 1, width=2.0, height=1.0)
    content = png(made)
    assert content.startswith(b"\x89PNG\r\n")
    assert int.from_bytes(content[16:20]) == 220  # width: 2 inches of 110 dots
