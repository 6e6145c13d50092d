"""Conclusions from a study, in plain words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from allegro_md.launcher import ranks_named
from allegro_md.scaling.results import Results, Row
from allegro_md.simulation.time_account import WAITING

ENOUGH = 0.8
"""Efficiency from which on more ranks are worth their cost."""

NOISY = 0.1
"""Spread of the turns from which on small differences mean nothing."""

SHARED = 0.9
"""Share of a core below which something else ran on it."""

SHORT = 0.1
"""Seconds of a turn below which the clock and the system's other work count."""

UNEVEN = 1.1
"""Imbalance of the ranks from which on it is named."""

SMALL = 0.03
"""Share of a step that is worth a sentence."""

CAUSES: dict[str, tuple[str, ...]] = {
    "messages between ranks and waiting for them": WAITING,
    "rebuilding neighbor lists": ("rebuild",),
    "output": ("output", "checkpoint"),
    "the integrator": ("integrate",),
    "the potential itself": ("potential",),
}
"""Parts of a step, by what is said of them."""


def advice(results: Results) -> list[str]:
    """Sentences about what the study shows; the most important ones first."""
    if not results.rows:
        return ["there is no result; see the reasons above"]
    cores = results.about["machine"]["cores"]
    rows = [row for row in results.rows if row.ranks <= cores]
    found = []
    if crowded := [row for row in results.rows if row.ranks > cores]:
        found.append(
            f"the machine has {cores} {'core' if cores == 1 else 'cores'}: the times of "
            f"{_listed([ranks_named(row.ranks) for row in crowded])} tell nothing about scaling"
        )
    if len(rows) > 1 or not crowded:
        found += _conclusion(results.kind, rows, "with a core each" if crowded else "that were tried")
    low = next((row for row in rows if row.efficiency < ENOUGH), None)
    if low is not None and low.cpu_share >= SHARED:  # else the reason lies outside
        found.append(_loss(rows[0], low))
    return [*found, *_doubts(results)]


def _listed(words: Sequence[str]) -> str:
    """Words with commas, and "and" before the last."""
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _times(ratio: float) -> str:
    """A ratio with two digits, as people write it: 1.8, 130."""
    return f"{ratio:.2g}" if ratio < 99.5 else f"{float(f'{ratio:.2g}'):.0f}"


def _conclusion(kind: str, rows: Sequence[Row], which: str) -> Iterator[str]:
    """The best number of ranks for this system, or for its size per rank; `which` numbers were compared, in words."""
    if len(rows) == 1:
        yield "one number of ranks tells nothing about scaling: give several, for example --ranks 1,2,4"
        return
    good = [row for row in rows if row.efficiency >= ENOUGH]
    best = good[-1]
    more = [row for row in rows if row.ranks > best.ranks]
    if kind == "weak":
        last = rows[-1]
        yield (
            f"{last.atoms:,} atoms on {ranks_named(last.ranks)} take {1 / last.efficiency:.2f} times as long as "
            f"{rows[0].atoms:,} on {ranks_named(rows[0].ranks)}: efficiency {last.efficiency:.2f}"
        )
        return
    if not more:
        yield (
            f"efficiency is {best.efficiency:.2f} on {ranks_named(best.ranks)}, the most {which}: "
            "more ranks may pay"
        )
        return
    ratio = best.seconds_per_step / more[0].seconds_per_step
    cost = more[0].us_rank_per_atom_step / best.us_rank_per_atom_step
    faster = f"{_times(ratio)} times as fast" if ratio > 1.02 else "no faster"
    yield (
        f"{ranks_named(best.ranks)} {'is' if best.ranks == 1 else 'are'} the optimum for this system: "
        f"{ranks_named(more[0].ranks)} are {faster} at {_times(cost)} times the cost"
    )


def _loss(base: Row, row: Row) -> str:
    """Names the part of a step to which most of the time beyond ideal scaling goes."""
    start = f"efficiency is {row.efficiency:.2f} on {ranks_named(row.ranks)}"
    parts = {cause: _cost(row, names) - _cost(base, names) for cause, names in CAUSES.items()}
    cause, lost = max(parts.items(), key=lambda item: item[1])
    share = lost / row.us_rank_per_atom_step
    if share < SMALL:
        return start
    more = f"{start}: {100 * share:.0f} % of the time there goes into {cause}, beyond what {base.ranks} "
    more += "rank needs for it" if base.ranks == 1 else "ranks need for it"
    if cause.startswith("messages") and row.imbalance > UNEVEN:
        more += f"; the busiest rank has {row.imbalance:.2f} times the mean work, and the others wait for it"
    elif cause.startswith("messages"):
        more += f"; a rank has {row.atoms // row.ranks:,} atoms there"
    elif cause.startswith("the potential"):
        more += ": cores that share memory, cache or clock slow each other down"
    return more


def _cost(row: Row, phases: tuple[str, ...]) -> float:
    """µs·rank per atom and step that go into some phases."""
    return 1e6 * _sum(row.mean, phases) * row.ranks / row.atoms


def _sum(seconds: Mapping[str, float], phases: tuple[str, ...]) -> float:
    return sum(seconds.get(name, 0.0) for name in phases)


def _doubts(results: Results) -> Iterator[str]:
    """Reasons not to trust the numbers."""
    rows = results.rows
    if noisy := [row for row in rows if row.spread > NOISY]:
        by = _listed([f"{100 * row.spread:.0f} % on {ranks_named(row.ranks)}" for row in noisy])
        yield f"the turns differ by {by}: the machine was not quiet, and differences below that mean little"
    if busy := [row for row in rows if row.cpu_share < SHARED]:
        by = _listed([f"{100 * row.cpu_share:.0f} % of the time on {ranks_named(row.ranks)}" for row in busy])
        yield (
            f"a rank had its core for {by} only: other programs or other ranks ran there, so these "
            "times are too long"
        )
    steps = results.settings["steps"]
    shortest = min(rows, key=lambda row: row.seconds_per_step)
    if (seconds := steps * shortest.seconds_per_step) < SHORT:
        yield (
            f"a turn of {ranks_named(shortest.ranks)} takes {1e3 * seconds:.2g} ms only: give more steps, for example "
            f"--steps {10 ** math.ceil(math.log10(SHORT / shortest.seconds_per_step))}"
        )
    if min(row.turns for row in rows) < 3:
        yield "fewer than 3 turns: the spread is unknown"
