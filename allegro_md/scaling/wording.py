"""A plan in words, for people."""

from __future__ import annotations

import math

from allegro_md.launcher import ranks_named
from allegro_md.scaling.plan import CAUSES, HALF, MOST_RANKS, Plan, ns_per_day
from allegro_md.scaling.stage import remarks
from allegro_md.simulation.resource_estimate import size_text

NAMES = {
    "potential": "potential",
    "integrate": "integrator, guard, list check",
    "halo": "gathering and scattering ghosts",
    "rebuild": "rebuilds, spread over the steps",
    "output": "rows of thermo.csv",
    "latency": "messages: latency, overhead",
    "bandwidth": "messages: bytes not hidden",
    "migration": "messages: rebuilds",
    "reductions": "reductions over all ranks",
    "jitter": "waiting for slower ranks",
}
"""Part of `StepTime` → in words."""

LEAST = 5e-4
"""Share of a step below which a part has no line."""


def lines(plan: Plan, n_ranks: int) -> list[str]:
    """The whole plan, line by line."""
    return [*_system(plan, n_ranks), *_time(plan, n_ranks), *_limit(plan), *_sources(plan)]


def _system(plan: Plan, n_ranks: int) -> list[str]:
    bricks, n_atoms = plan.bricks(n_ranks), plan.estimate.system.n_total
    grid = " x ".join(map(str, bricks.grid))
    memory, limit = plan.memory(n_ranks), plan.machine.memory
    fits = "" if memory <= limit else f": TOO MUCH, a rank has {size_text(limit)}"
    least = plan.least_ranks()
    needed = f"; {least} ranks are enough for the memory" if least and memory > limit else ""
    more = bricks.own * n_ranks / n_atoms - 1.0
    above = f" ({more:.1%} above the mean)" if more > 5e-4 else ""
    return [
        f"{n_atoms} atoms on {ranks_named(n_ranks)} of {plan.machine.name}, grid {grid}",
        f"  atoms of a rank    at most {bricks.own:.0f}{above} and {bricks.ghosts:.0f} ghosts",
        f"  memory of a rank   {size_text(memory)}{fits}{needed}",
    ]


def _time(plan: Plan, n_ranks: int) -> list[str]:
    step, n_atoms = plan.step(n_ranks), plan.estimate.system.n_total
    intervals = plan.intervals(n_atoms, n_ranks)
    found = [
        f"  time of a step     {duration(step.total)}, {1e6 * step.total / n_atoms:.3g} µs per atom"
        f", {ns_per_day(plan, step.total):.3g} ns per day"
    ]
    for name, seconds in step.parts.items():
        if seconds >= LEAST * step.total:
            found.append(f"    {NAMES[name]:32} {duration(seconds):>9} {seconds / step.total:6.1%}")
    if math.isfinite(intervals.rebuild):
        temperature = plan.calibration.temperature
        found.append(
            f"  a rebuild every {intervals.rebuild:.1f} steps at {temperature:.0f} K: the fastest of {n_atoms} atoms "
            f"has moved half the skin (times {plan.interval_factor:.2f}, as the samples did)"
        )
    if n_ranks > 1:
        found.append(f"  a simulation of all its messages gives {duration(plan.simulated(n_ranks))} for a step")
        found.append(f"  reductions per step without rebuild: {1.0 / intervals.reduce:.2g}")
    found.append("  trajectory, checkpoints and observables are not counted")
    weak = plan.weak_efficiency(n_atoms, n_ranks)
    found.append(f"  efficiency         strong {plan.efficiency(n_ranks):.3f}, weak {weak:.3f}")
    return found


def _limit(plan: Plan) -> list[str]:
    limit = plan.scaling_limit()
    where = (
        f"beyond {limit.ranks // 2} ranks: on {limit.ranks}, with {limit.atoms:.0f} atoms each,"
        if limit.ranks else f"not before {min(MOST_RANKS, plan.estimate.system.n_total)} ranks; there"
    )
    return [
        f"  strong scaling to an efficiency of {HALF} ends {where} {limit.share:.0%} of what is lost is due to:",
        f"    {CAUSES[limit.cause]}",
    ]


def _sources(plan: Plan) -> list[str]:
    return [f"  {remark}" for remark in (*remarks(plan.estimate.config), *plan.machine.remarks)]


def duration(seconds: float) -> str:
    """Seconds for people: "3.2 ms"."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{1e9 * seconds:.3g} ns"
