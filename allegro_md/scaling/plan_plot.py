"""The picture of a plan: strong scaling of the system by part, and weak and strong efficiency of any system."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from allegro_md.figures import COLORS, figure
from allegro_md.scaling.plan import Plan
from allegro_md.scaling.wording import NAMES

RANKS = tuple(2**k for k in range(18))
"""To 131,072."""

ATOMS = tuple(10.0 ** (3.0 + 0.5 * k) for k in range(19))
"""To 10¹²."""

LEVELS = {0.5: ":", 0.8: "--", 0.95: "-"}
"""Efficiencies with a line, and its style."""

LEAST_ATOMS = 30
"""Atoms per rank below which nothing is drawn."""


def draw(plan: Plan) -> Any:
    """Draws both panels; returns the matplotlib figure."""
    made, (left, right) = figure(1, 2, 12.0, 4.8)
    _strong(left, plan)
    _map(right, plan)
    return made


def _strong(axes: Any, plan: Plan) -> None:
    """Time of a step of the system against ranks, with its parts and the ideal."""
    n_atoms = plan.estimate.system.n_total
    ranks = [n for n in RANKS if n == 1 or LEAST_ATOMS * n <= n_atoms]
    steps = [plan.step_of(n_atoms, n) for n in ranks]
    total = np.array([step.total for step in steps])
    axes.loglog(ranks, 1e3 * total, "o-", color="black", label="step")
    axes.loglog(ranks, 1e3 * total[0] / np.array(ranks), "--", color="gray", label="ideal")
    for name, color in zip(NAMES, (*COLORS, "#999999"), strict=False):
        seconds = np.array([step.parts[name] for step in steps])
        if seconds.max() > 1e-3 * total.min():
            axes.loglog(ranks, np.where(seconds > 0.0, 1e3 * seconds, np.nan), color=color, label=NAMES[name])
    axes.set_xlabel("ranks")
    axes.set_ylabel("time of a step / ms")
    axes.set_ylim(bottom=1e3 * total.min() / 300.0)
    axes.set_title(f"{n_atoms:,} atoms, {plan.machine.name}")
    axes.legend(fontsize="x-small", ncols=2)


def _map(axes: Any, plan: Plan) -> None:
    """Efficiency against one rank for all numbers of ranks and atoms; no color where the memory is too small."""
    efficiency = np.full((len(ATOMS), len(RANKS)), np.nan)
    fits = np.zeros(efficiency.shape, dtype=bool)
    for row, n_atoms in enumerate(ATOMS):
        one = plan.step_of(n_atoms, 1).total
        for column, n_ranks in enumerate(RANKS):
            if LEAST_ATOMS * n_ranks <= n_atoms:
                efficiency[row, column] = one / (n_ranks * plan.step_of(n_atoms, n_ranks).total)
                fits[row, column] = plan.memory_of(n_atoms, n_ranks) <= plan.machine.memory
    shown = np.where(fits, efficiency, np.nan)
    drawn = axes.pcolormesh(RANKS, ATOMS, shown, shading="nearest", vmin=0.0, vmax=1.0, cmap="viridis")
    for level, style in LEVELS.items():
        axes.plot(RANKS, crossing(efficiency, level), style, color="black", linewidth=1.2, label=f"{level:g}")
    axes.legend(title="efficiency", loc="upper left", fontsize="x-small", title_fontsize="x-small")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("ranks")
    axes.set_ylabel("atoms")
    white = f"too little memory, or fewer than {LEAST_ATOMS} atoms per rank"
    axes.set_title(f"efficiency; white: {white}", fontsize="small")
    axes.figure.colorbar(drawn, ax=axes)


def crossing(efficiency: NDArray[np.float64], level: float) -> NDArray[np.float64]:
    """Numbers of atoms from which on an efficiency is reached, (RANKS,); NaN where that is nowhere in the table.

    Args:
        efficiency: (ATOMS, RANKS); NaN at the lower end where there are too few atoms.
        level: the efficiency.
    """
    found = np.full(efficiency.shape[1], np.nan)
    logs = np.log(ATOMS)
    for column in range(efficiency.shape[1]):
        values = efficiency[:, column]
        below = np.flatnonzero(values < level)
        if len(below) and below[-1] + 1 < len(values):
            low = below[-1]
            share = (level - values[low]) / (values[low + 1] - values[low])
            found[column] = np.exp(logs[low] + share * (logs[low + 1] - logs[low]))
    return found
