"""The page of a training: needs no other file, holds the numbers, and its pictures are pictures."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from allegro_md.io.labeled import Frame
from allegro_md.training import plots
from allegro_md.training.evaluation import Evaluation
from allegro_md.training.metrics import ErrorAccumulator
from allegro_md.training.progress import COLUMNS, Progress
from allegro_md.training.report import write_report

PNG = b"\x89PNG\r\n\x1a\n"


def evaluation(members: int = 1, forces: bool = True) -> Evaluation:
    """Two frames of water; every force component is off by 30 meV/Å, energies by 6 and 12 meV."""
    rng = np.random.default_rng(1)
    numbers, labels = np.array([8, 1, 1]), rng.normal(size=(6, 3))
    frames = [
        Frame(numbers, np.eye(3), np.zeros((3, 3)), (False,) * 3, -14.0, labels[3 * k : 3 * k + 3] if forces else None,
              None, ["warm", "<hot>"][k], f"frame {k}")
        for k in range(2)
    ]  # fmt: skip
    energy, predicted = np.array([-13.994, -14.012]), labels + 0.03
    total = ErrorAccumulator()
    total.add(frames, energy, predicted)
    spread = np.linspace(-0.01, 0.01, members)[:, None, None] if members > 1 else np.zeros((1, 1, 1))
    return Evaluation(
        np.array([3, 3]), np.tile(numbers, 2), np.full(2, -14.0), labels if forces else np.full((6, 3), np.nan),
        np.tile(energy, (members, 1)), predicted + spread * np.arange(1, 7)[:, None], total.metrics(), [],
    )  # fmt: skip


class Page(HTMLParser):
    """What a browser would show, and what it would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.loads: list[str] = []
        self._inside = False
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.loads += [value or "" for name, value in attributes if name in ("src", "href")]
        self._inside = tag in ("td", "th")
        if self._inside:
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.cells[-1] += data


def history(directory: Path) -> None:
    directory.mkdir(exist_ok=True)
    progress = Progress(directory)
    for epoch in range(1, 4):
        progress.row(epoch, {**dict.fromkeys(COLUMNS[1:], 1.0 / epoch), "val_stress_rmse": float("nan")})
    progress.close()


def test_page(tmp_path: Path) -> None:
    history(tmp_path)
    document = {
        "seed": 7, "symbols": ["H", "O"], "weights": 2946, "nothing": None,
        "statistics": {"force_rms": 1.23456789, "shifts": {"H": -1.5, "O": "<script>"}},
    }  # fmt: skip
    page = write_report(tmp_path, document, {"train": evaluation(), "test": evaluation(forces=False)})
    text = page.read_text()
    found = Page(text)
    cells = [cell.strip() for cell in found.cells]
    assert cells[cells.index("train") :][:7] == ["train", "2", "6", "9 / 9.487", "3 / 3.162", "30 / 30", "–"]
    assert cells[cells.index("test") :][5] == "–"
    assert "<hot>" in cells and "<script>" in cells and "<script>" not in text
    for name, value in (("seed", "7"), ("force_rms", "1.23457"), ("shifts.H", "-1.5"), ("symbols", "H, O")):
        assert cells[cells.index(name) + 1] == value
    assert "nothing" not in cells
    assert len(found.loads) == 1 + 2 * 2  # a learning curve, two pictures per set: all inside the page
    for source in found.loads:
        kind, data = source.split(",", 1)
        assert kind == "data:image/png;base64" and base64.b64decode(data).startswith(PNG)
    assert not re.search(r"https?://|url\(", text)
    expected = {"learning-curve", "parity-train", "parity-test", "histogram-train", "histogram-test"}
    assert {path.stem for path in tmp_path.glob("*.png")} == expected and not list(tmp_path.glob("*.part"))


def test_committee(tmp_path: Path) -> None:
    for seed in (1, 2):
        history(tmp_path / f"seed-{seed}")
    text = write_report(tmp_path, {}, {"validation": evaluation(members=2)}).read_text()
    assert "mean of 2 models" in text and "seed-1" in text and "seed-2" in text
    assert len(Page(text).loads) == 2 + 3 and (tmp_path / "calibration-validation.png").is_file()


def test_histogram_counts_everything() -> None:
    one = evaluation()
    energy, hydrogen, oxygen = plots.histograms(replace(one, labeled_forces=one.forces + 0.001 * np.arange(6)[:, None]))
    assert (energy.name, hydrogen.name, oxygen.name) == ("energy meV/atom", "force H meV/A", "force O meV/A")
    assert energy.counts.sum() == 2 and hydrogen.counts.sum() == 12 and oxygen.counts.sum() == 6
    assert energy.counts[-1] == 1 and energy.edges[-1] == pytest.approx(4.0, rel=1e-5)  # 12 meV over three atoms
    assert oxygen.counts[0] == 3  # one oxygen has no error at all
