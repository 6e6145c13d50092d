"""Messages and reductions between the ranks of a run: for ``run.json``, and one line of the log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Counts = Mapping[str, Mapping[str, float]]
"""Phase → what was counted in it, by name: `timers.Timers.counts`."""

TOTALS = ("messages", "bytes")
"""Counts that are added up over the ranks; each rank takes part in the others."""


def communication(ranks: Sequence[Counts]) -> dict[str, dict[str, float]]:
    """The entry ``communication`` of ``run.json``.

    Args:
        ranks: of each rank the counts of this process.

    Returns:
        Phase → messages from one rank to another and bytes in them, of all ranks together; reductions and other
        operations of all ranks; seconds that a rank waited, the mean. Phases without communication are left out.
    """
    phases = dict.fromkeys(phase for counts in ranks for phase, kinds in counts.items() if any(kinds.values()))
    return {phase: _of_phase([counts.get(phase, {}) for counts in ranks]) for phase in phases}


def _of_phase(ranks: Sequence[Mapping[str, float]]) -> dict[str, float]:
    totals: dict[str, float] = {kind: int(sum(kinds.get(kind, 0) for kinds in ranks)) for kind in TOTALS}
    for kind in ("allreduces", "collectives"):
        totals[kind] = int(max(kinds.get(kind, 0) for kinds in ranks))
    return totals | {"waited_s": round(sum(kinds.get("waited", 0.0) for kinds in ranks) / len(ranks), 3)}


def in_words(phases: Mapping[str, Mapping[str, float]]) -> str:
    """The line of the log; `phases` as of `communication`."""
    total = {kind: sum(kinds[kind] for kinds in phases.values()) for kind in (*TOTALS, "allreduces", "waited_s")}
    longest = sorted(((kinds["waited_s"], phase) for phase, kinds in phases.items()), reverse=True)[:3]
    where = ", ".join(f"{phase} {seconds:.1f} s" for seconds, phase in longest if seconds >= 0.05)
    return (
        f"communication: {total['messages']:.0f} messages of {total['bytes'] / 1e6:.3g} MB in all, "
        f"{total['allreduces']:.0f} reductions; each rank waited {total['waited_s']:.1f} s"
        + (f" ({where})" if where else "")
    )
