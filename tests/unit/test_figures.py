"""Pictures can be read by others, and the same picture gives the same bytes."""

from __future__ import annotations

from xml.etree import ElementTree

from allegro_md.figures import COLORS, figure, png, svg


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


def test_png() -> None:
    made, _ = figure(1, 1, width=2.0, height=1.0)
    content = png(made)
    assert content.startswith(b"\x89PNG\r\n")
    assert int.from_bytes(content[16:20]) == 220  # width: 2 inches of 110 dots
