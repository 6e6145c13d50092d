"""Time by phase, and the ranks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from allegro_md.figures import COLORS
from allegro_md.report.numbers import integer, number
from allegro_md.report.record import Rank

MOST_RANKS = 64
"""Rows of the table of ranks."""

REST = "#9aa5b0"
"""Color of the phases that take least."""

RANK_HEADINGS = ("rank", "host", "cores", "threads", "device", "atoms", "peak memory (MB)", "potential (s)", "wait (s)")


@dataclass(frozen=True)
class Phase:
    """A phase of the work.

    Attributes:
        name: as in the log.
        seconds: mean of the ranks.
        longest: of a rank.
        percent: of the time that is counted.
        color: in the bar.
    """

    name: str
    seconds: str
    longest: str
    percent: float
    color: str


def phases(ranks: Sequence[Rank]) -> list[Phase]:
    """The phases of the process that ran last, the longest first."""
    names = dict.fromkeys(name for rank in ranks for name in rank.seconds)
    spent = {name: [rank.seconds.get(name, 0.0) for rank in ranks] for name in names}
    total = sum(map(sum, spent.values()))
    ordered = sorted(spent.items(), key=lambda item: -sum(item[1]))
    return [
        Phase(
            name, f"{sum(seconds) / len(ranks):.1f}", f"{max(seconds):.1f}", 100.0 * sum(seconds) / total,
            COLORS[k] if k < len(COLORS) else REST,
        )
        for k, (name, seconds) in enumerate(ordered)
        if sum(seconds) > 0.0
    ]  # fmt: skip


def rank_rows(ranks: Sequence[Rank]) -> list[tuple[str, ...]]:
    """The rows below `RANK_HEADINGS`, of the first `MOST_RANKS` ranks."""
    return [
        (str(k), rank.host, _ranges(rank.cores), str(rank.threads), rank.device, integer(rank.atoms),
         number(rank.peak_memory_MB, 4), *(f"{rank.seconds.get(name, 0.0):.1f}" for name in ("potential", "wait")))
        for k, rank in enumerate(ranks[:MOST_RANKS])
    ]  # fmt: skip


def _ranges(cores: Sequence[int]) -> str:
    """Numbers in short: 0–3, 8."""
    parts: list[list[int]] = []
    for core in sorted(cores):
        if parts and core == parts[-1][-1] + 1:
            parts[-1] = [parts[-1][0], core]
        else:
            parts.append([core])
    return ", ".join("–".join(map(str, part)) for part in parts)
