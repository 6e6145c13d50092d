"""Times of an input on one core of this machine, from short runs of the engine itself on a few copies of the system."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from allegro_md.comm import Comm
from allegro_md.config import Input
from allegro_md.errors import InputError
from allegro_md.evaluation import Needs
from allegro_md.integrators.base import Integrator
from allegro_md.potentials import Potential
from allegro_md.reporting import Snapshot
from allegro_md.scaling.forecast import Costs, LinearCost, Overlap
from allegro_md.scaling.reductions import CountingComm
from allegro_md.simulation.build import Parts, build_engine, build_structure
from allegro_md.simulation.loop import MEETINGS, StepLoop
from allegro_md.simulation.overlap import LEAST_INTERIOR, WAITED_SHARE, can_overlap
from allegro_md.timers import Timers
from allegro_md.triggers import Every

SIZES = (500, 4_000, 32_000, 150_000)
"""Atoms of the samples, about."""

TRIAL_SECONDS, MOST_SECONDS, TRIALS = 0.25, 4.0, 3
"""Of one trial; of one step of the largest sample and its repetitions together; trials of each kind."""

MOST_STEPS = 60
"""Steps of one trial."""

PHASES = {"potential": ("potential",), "halo": ("halo",), "integrate": ("integrate", "wait", "guard")}
"""Phases of the timers that make up a cost of each step."""


@dataclass(frozen=True)
class Sample:
    """Times measured on one sample, processor seconds.

    Attributes:
        own, ghosts: its atoms and ghosts.
        seconds: per step by cost of `PHASES`, per rebuild as "rebuild", per row of thermo.csv as "row".
        interval: steps between rebuilds; NaN where there were too few steps to tell.
        reductions: per step without rebuild, row and window, on several ranks.
    """

    own: int
    ghosts: int
    seconds: dict[str, float]
    interval: float
    reductions: float


@dataclass(frozen=True)
class Calibration:
    """Costs of an input on a core of this machine.

    Attributes:
        costs: fitted to the samples.
        samples: in ascending size.
        rate: float32 operations per second of a large matrix product on this core.
        temperature: of the thermostat or the start, K.
        windows: steps are made in windows, on several ranks that have few enough atoms.
        overlap: of the potential with messages.
    """

    costs: Costs
    samples: tuple[Sample, ...]
    rate: float
    temperature: float
    windows: bool
    overlap: Overlap


class _Row:
    """An observer that needs what a row of thermo.csv needs and keeps nothing."""

    name, priority = "plan", 0
    needs: Needs = frozenset({"thermo"})
    trigger = Every(1)

    def __call__(self, snapshot: Snapshot) -> None:
        """Looks at nothing."""


def calibrate(parts: Parts) -> Calibration:
    """Measures an input on one core, in a few seconds of processor time.

    Samples are periodic repeats of the input's base cell with about `SIZES` atoms, with its potential, skin and
    integrator, without groups of atoms and without output. A system that is not repeated and has a free boundary along
    all axes is measured as it is. Other work on the machine does not count: times are those of the processor.

    Args:
        parts: of an input without stages, for one rank.

    Raises:
        InputError: the integrator makes no steps.
        PhysicsError: the forces on a sample are out of range.
    """
    samples: list[Sample] = []
    temperature, windows = 0.0, False
    for target in SIZES:
        config = _few(parts, target)
        system = build_structure(config.system, Comm.serial())
        if samples and system.n_total <= 2 * samples[-1].own:
            continue
        if samples and _too_long(samples[-1], system.n_total):
            break
        comm = CountingComm()
        loop, _ = build_engine(Parts(config, system, parts.potential), comm, Timers())
        samples.append(_measured(loop, comm))
        temperature, windows = _temperature(config, loop.integrator), loop.allows_windows(2, 2)
    overlap = _overlap(parts.potential)
    return Calibration(fitted(samples), tuple(samples), matrix_rate(), temperature, windows, overlap)


def matrix_rate(n: int = 512, trials: int = 5) -> float:
    """Measures float32 operations per second of a product of n × n matrices on one core."""
    a: NDArray[np.float32] = np.ones((n, n), np.float32)
    seconds = []
    for _ in range(trials):
        began = time.process_time()
        for _ in range(8):
            np.dot(a, a)
        seconds.append((time.process_time() - began) / 8.0)
    return 2.0 * n**3 / min(seconds[1:])


def _overlap(potential: Potential) -> Overlap:
    """The conditions under which the engine evaluates the potential while messages travel."""
    least = LEAST_INTERIOR if can_overlap(potential) else math.inf
    return Overlap(least, WAITED_SHARE, potential.info.ghost_forces)


def _few(parts: Parts, target: int) -> Input:
    """The input with as many copies of its base cell as give about `target` atoms in a box that is near a cube."""
    config, system = parts.config, parts.system
    table = config.system
    inner = (1, 1, 1) if table.crystal is None else table.crystal.repeat
    given = np.array(table.repeat) * np.array(inner)
    heights = system.cell.heights / given
    copied = np.array(system.cell.periodic) | (given > 1)
    repeat = given.copy()
    if copied.any():
        volume = float(np.prod(heights[copied]))
        wanted = target / system.n_base / float(np.prod(given[~copied]))
        edge = (wanted * volume) ** (1.0 / copied.sum())
        repeat[copied] = np.maximum(1, np.rint(edge / heights[copied]))
    changed: dict[str, Any] = {"repeat": tuple(int(n) for n in repeat), "constraints": "ignore"}
    if table.crystal is not None:
        changed["crystal"] = table.crystal.model_copy(update={"repeat": (1, 1, 1)})
    return config.model_copy(
        update={
            "system": table.model_copy(update=changed), "group": (), "dynamics": _without_groups(config),
            "parallel": config.parallel.model_copy(update={"grid": "auto"}),
        }
    )  # fmt: skip


def _without_groups(config: Input) -> Any:
    """The dynamics for all atoms alike."""
    dynamics = config.dynamics
    names = type(dynamics).model_fields
    changed: dict[str, Any] = {name: () for name in ("frozen", "apply", "thermostats") if name in names}
    thermostats = getattr(dynamics, "thermostats", ())
    if thermostats:
        changed["temperature"] = thermostats[0].temperature
    return dynamics.model_copy(update=changed)


def _too_long(last: Sample, n_atoms: int) -> bool:
    """Tells if all trials of so many atoms would take longer than `MOST_SECONDS`."""
    step = sum(last.seconds[name] for name in PHASES) * n_atoms / last.own
    return 8.0 * TRIALS * step > MOST_SECONDS


def _measured(loop: StepLoop, comm: CountingComm) -> Sample:
    """Makes steps of a sample: without rows, with a row in each, and with a rebuild in each."""
    loop.start()
    first = _trial(loop, 2)
    steps = max(2, min(MOST_STEPS, int(TRIAL_SECONDS / max(1e-9, sum(first[name] for name in PHASES)))))
    before, rebuilds, counted = loop.step, loop.forces.rebuilds, comm.count
    plain = [_trial(loop, steps) for _ in range(TRIALS)]
    made, rebuilt, reductions = loop.step - before, loop.forces.rebuilds - rebuilds, comm.count - counted
    at_rebuilds = comm.count
    fresh = [_trial(loop, 1, rebuild=True) for _ in range(TRIALS)]
    at_rebuilds = (comm.count - at_rebuilds) // TRIALS
    row = _Row()
    loop.observers.append(row)
    _trial(loop, 1)  # compiles
    rows = [_trial(loop, max(1, steps // 4)) for _ in range(TRIALS)]
    loop.observers.remove(row)
    seconds = {name: statistics.median(each[name] for each in plain) for name in PHASES}
    seconds["rebuild"] = statistics.median(each["rebuild"] for each in fresh)
    more = [sum(each[name] for name in (*PHASES, "output")) for each in rows]
    seconds["row"] = max(0.0, statistics.median(more) - sum(seconds[name] for name in PHASES))
    state = loop.state
    per_step = MEETINGS + max(0.0, (reductions - rebuilt * at_rebuilds) / max(1, made - rebuilt))
    return Sample(state.n_local, state.n_ghost, seconds, made / rebuilt if rebuilt > 1 else math.nan, per_step)


def _trial(loop: StepLoop, steps: int, rebuild: bool = False) -> dict[str, float]:
    """Processor seconds per step, by cost.

    Raises:
        InputError: the integrator makes no steps.
    """
    timers, before = loop.timers, loop.step
    clocks = time.perf_counter(), time.process_time(), dict(timers.seconds)
    if rebuild:
        loop.forces.invalidate()
    loop.advance(loop.step + steps)
    wall, processor = time.perf_counter() - clocks[0], time.process_time() - clocks[1]
    made = loop.step - before
    if made == 0:
        raise InputError("ends before a step can be measured", "dynamics.ensemble", "take one such as nve")
    spent = {name: value - clocks[2].get(name, 0.0) for name, value in timers.seconds.items()}
    scale = min(1.0, processor / wall) / made
    costs = {cost: scale * sum(spent.get(phase, 0.0) for phase in phases) for cost, phases in PHASES.items()}
    # What no phase counts is the loop's own.
    costs["integrate"] += max(0.0, scale * (wall - sum(spent.values())))
    return {**costs, "rebuild": scale * spent.get("rebuild", 0.0), "output": scale * spent.get("output", 0.0)}


def fitted(samples: Sequence[Sample]) -> Costs:
    """Fits every cost by least squares of relative errors, none of its parts negative."""
    columns = {"potential": (1, 0), "integrate": (1, 0), "halo": (0, 1), "rebuild": (1, 1), "row": (1, 0)}
    return Costs(**{name: _line(samples, name, *of) for name, of in columns.items()})


def _line(samples: Sequence[Sample], name: str, of_own: int, of_ghosts: int) -> LinearCost:
    """Fits a cost to the samples: a fixed part, and what grows with atoms, ghosts or both; of one sample that alone."""
    seconds = np.array([sample.seconds[name] for sample in samples])
    own = np.array([sample.own for sample in samples], dtype=float) * of_own
    ghosts = np.array([sample.ghosts for sample in samples], dtype=float) * of_ghosts
    if len(samples) == 1 and (own + ghosts).sum() > 0.0:
        share = float(seconds[0] / (own + ghosts)[0])
        return LinearCost(0.0, share * of_own, share * of_ghosts)
    matrix = np.stack([np.ones(len(samples)), own, ghosts], axis=1) / np.maximum(seconds, 1e-12)[:, None]
    found, _ = nnls(matrix, np.where(seconds > 0.0, 1.0, 0.0))
    return LinearCost(*(float(value) for value in found))


def _temperature(config: Input, integrator: Integrator) -> float:
    """Temperature of the thermostat, or else of the start, K."""
    velocities = config.system.velocities
    return integrator.max_temperature or (0.0 if velocities is None else velocities.temperature)

