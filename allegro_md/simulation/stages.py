"""Stages of a run: the condition that ends one early, and the change from one to the next."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from allegro_md.comm import Comm
from allegro_md.config import Input
from allegro_md.config.stage import CONVERGING, EndConfig, StageConfig
from allegro_md.integrators.base import Cautioned, Concluding
from allegro_md.integrators.thermalize import maxwell_boltzmann
from allegro_md.reporting import PRIORITY, Snapshot
from allegro_md.simulation.build import Parts, build_guard, hottest, new_integrator
from allegro_md.simulation.groups import apply_groups
from allegro_md.simulation.loop import StepLoop
from allegro_md.simulation.motion import remove_momentum, require_motion
from allegro_md.triggers import After, Every

WINDOWS = 3
"""Windows whose means must agree."""


class StageEnd:
    """Observer that tells if the conditions that end a stage hold; see `config.stage.EndConfig`.

    Attributes:
        met: all conditions hold.
    """

    name = "stage-end"
    priority = PRIORITY["stop"]
    needs = frozenset({"thermo"})

    def __init__(self, stage: StageConfig, first_step: int) -> None:
        """Looks at the rows of ``thermo.csv`` of a stage that begins after `first_step` steps."""
        self.trigger = Every(stage.output.thermo.every) & After(first_step + 1)
        self.met = False
        self._conditions = conditions = stage.end
        self._rows = [stage.rows_of(condition) for condition in conditions]
        self._sums, self._counts = [0.0] * len(conditions), [0] * len(conditions)
        self._means: list[list[float]] = [[] for _ in conditions]
        self._last_step = -1

    def __call__(self, snapshot: Snapshot) -> None:
        """Adds a row, unless it has been added (the first of a continuation); all ranks see the same numbers."""
        assert snapshot.thermo is not None
        if snapshot.step <= self._last_step:
            return
        self._last_step = snapshot.step
        for k, condition in enumerate(self._conditions):
            self._sums[k] += getattr(snapshot.thermo, CONVERGING[condition.converged])
            self._counts[k] += 1
            if self._counts[k] == self._rows[k]:
                self._means[k] = [*self._means[k], self._sums[k] / self._counts[k]][-WINDOWS:]
                self._sums[k], self._counts[k] = 0.0, 0
        self.met = all(map(self._agree, self._means, (c.within for c in self._conditions)))

    @staticmethod
    def _agree(means: list[float], within: float) -> bool:
        """Tells if the means of the last windows differ by at most a fraction of the last one."""
        return len(means) == WINDOWS and max(means) - min(means) <= within * abs(means[-1])

    def state_dict(self) -> dict[str, Any]:
        """Sums of the present windows, means of those before."""
        sums = {"sums": self._sums, "counts": self._counts, "means": self._means}
        return sums | {"met": self.met, "last_step": self._last_step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up from a `state_dict`; {}: none."""
        if state:
            self._sums, self._counts = list(state["sums"]), list(state["counts"])
            self._means, self.met = [list(means) for means in state["means"]], bool(state["met"])
            self._last_step = int(state["last_step"])


def begin_stage(parts: Parts, index: int, loop: StepLoop, comm: Comm) -> list[str]:
    """Gives a simulation the integrator, the guard and the start velocities of a stage (collective).

    Args:
        parts: of the whole run.
        index: of the stage.
        loop: at the end of the stage before.
        comm: all ranks.

    Returns:
        Lines for the log.

    Raises:
        InputError: the stage does not fit the system, or nothing would ever move.
    """
    stage, config, info = parts.config.stages[index], parts.config.of_stage(index), parts.potential.info
    state = loop.state
    grouping = apply_groups(state, loop.forces, config.group, config.dynamics, comm)
    integrator = new_integrator(replace(parts, config=config), comm, state.cell, grouping)
    loop.begin_stage(integrator)
    loop.guard = build_guard(config.guard, state.species_table, info, hottest(config, integrator), comm)
    if stage.velocities is not None:
        maxwell_boltzmann(state, stage.velocities.temperature, stage.velocities.seed, comm)
    remarks = remove_momentum(state, config.dynamics, info, comm, grouping.driven)
    cautions = [integrator.caution] if isinstance(integrator, Cautioned) else []
    key = f"velocities.temperature of stage {stage.name}"
    rest = require_motion(state, loop.forces, integrator, bool(remarks), comm, key)
    return [*grouping.remarks, *cautions, *remarks, *rest]


def introduction(config: Input, index: int) -> str:
    """The line of the log at the beginning of a stage."""
    stage = config.stages[index]
    conditions = ", or until " + " and ".join(map(_in_words, stage.end)) if stage.end else ""
    return (
        f"stage {index + 1} of {len(config.stages)}, {stage.name}: {stage.dynamics.ensemble}, "
        f"{stage.dynamics.steps} steps{conditions}"
    )


def complaint(stage: StageConfig, reason: str) -> list[str]:
    """The warning about a stage whose steps were used up before its conditions held, if so."""
    if not stage.end or reason != "steps":
        return []
    conditions = " and ".join(map(_in_words, stage.end))
    return [f"warning: all {stage.dynamics.steps} steps of stage {stage.name} were made before {conditions}"]


def conclusion(loop: StepLoop) -> list[str]:
    """The line of the log about what the integrator of a stage came to, where there is such a thing."""
    return [loop.integrator.conclusion()] if isinstance(loop.integrator, Concluding) else []


def _in_words(condition: EndConfig) -> str:
    quantity = condition.converged.replace("-", " ")
    return f"the {quantity} has converged to {100.0 * condition.within:g} % over windows of {condition.window:g} fs"


def reason_of_end(stage: StageConfig, loop: StepLoop, ends: list[StageEnd]) -> str:
    """Tells why a stage has ended: "converged", "finished" (a minimizer), or "steps"."""
    if any(end.met for end in ends):
        return "converged"
    return "finished" if loop.integrator.finished else "steps"
