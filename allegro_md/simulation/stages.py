"""Stages of a run: the condition that ends one early, and the change from one to the next."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from allegro_md.comm import Comm
from allegro_md.config import Input
from allegro_md.config.stage import CONVERGING, EndConfig, StageConfig
from allegro_md.errors import InputError
from allegro_md.integrators.base import Concluding, Integrator, cautions
from allegro_md.integrators.thermalize import maxwell_boltzmann
from allegro_md.reporting import PRIORITY, Snapshot
from allegro_md.simulation.build import Parts, build_dynamics
from allegro_md.simulation.loop import StepLoop
from allegro_md.simulation.motion import remove_momentum, require_motion
from allegro_md.simulation.opening import targets_of
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
    integrator, loop.guard, grouping = build_dynamics(replace(parts, config=config), state, loop.forces, comm)
    loop.begin_stage(integrator)
    if stage.velocities is not None:
        maxwell_boltzmann(state, stage.velocities.temperature, stage.velocities.seed, comm)
    remarks = remove_momentum(state, config.dynamics, info, comm, grouping.driven)
    key = f"velocities.temperature of stage {stage.name}"
    rest = require_motion(state, loop.forces, integrator, remarks, comm, key)
    return [*grouping.remarks, *cautions(integrator), *remarks, *rest]


def require_velocities(config: Input, index: int, integrator: Integrator) -> None:
    """Refuses a thermostat that only multiplies velocities after a minimization, which leaves all atoms at rest.

    Args:
        config: of the run.
        index: of the stage.
        integrator: of the stage.

    Raises:
        InputError: the stage draws no velocities.
    """
    stage = config.stages[index]
    after_minimization = index > 0 and config.stages[index - 1].dynamics.length_of_step == 0.0
    if after_minimization and stage.velocities is None and not integrator.heats_atoms_at_rest:
        raise InputError(
            "all atoms are at rest after the minimization before, and this thermostat multiplies velocities: zero "
            "stays zero",
            "velocities",
            f"set velocities.temperature of stage {stage.name}, for example {max(integrator.max_temperature, 1.0):g} K",
        )


def introduction(config: Input, index: int) -> str:
    """The line of the log at the beginning of a stage."""
    stage = config.stages[index]
    conditions = ", or until " + " and ".join(map(_in_words, stage.end)) if stage.end else ""
    return (
        f"stage {index + 1} of {len(config.stages)}, {stage.name}: {stage.dynamics.ensemble}"
        f"{targets_of(stage.dynamics)}, {stage.dynamics.steps} steps{conditions}"
    )


def last_words(stage: StageConfig, reason: str, step: int) -> list[str]:
    """The line of the log about the conditions of a stage that has ended, where it has any."""
    if not stage.end or not reason:
        return []
    conditions = " and ".join(map(_in_words, stage.end))
    if reason == "converged":
        return [f"stage {stage.name} ends at step {step}: {conditions}"]
    return [f"warning: all {stage.dynamics.steps} steps of stage {stage.name} were made before {conditions}"]


def conclusion(loop: StepLoop) -> list[str]:
    """The line of the log about what the integrator of a stage came to, where there is such a thing."""
    return [loop.integrator.conclusion()] if isinstance(loop.integrator, Concluding) else []


def _in_words(condition: EndConfig) -> str:
    quantity = condition.converged.replace("-", " ")
    return f"the {quantity} has converged to {100.0 * condition.within:g} % over windows of {condition.window:g} fs"


def reason_of_end(loop: StepLoop) -> str:
    """Tells why a stage has ended: "converged", "finished" (a minimizer), or "steps"."""
    if loop.ended():
        return "converged"
    return "finished" if loop.integrator.finished else "steps"
