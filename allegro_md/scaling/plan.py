"""The plan of an input on a number of ranks: memory, time per step by part, efficiency, and where scaling ends."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from allegro_md.comm import Comm
from allegro_md.config import Input
from allegro_md.scaling.bricks import Bricks
from allegro_md.scaling.calibration import Calibration, calibrate
from allegro_md.scaling.forecast import Intervals, StepTime, migration_time, step_time, work_of
from allegro_md.scaling.machine import Machine, machine_of_table, this_machine
from allegro_md.scaling.network import Link, simulate
from allegro_md.scaling.rebuild_interval import rebuild_interval
from allegro_md.scaling.reductions import in_windows
from allegro_md.scaling.stage import alone, remarks
from allegro_md.simulation.build import build_parts
from allegro_md.simulation.resource_estimate import MPI_BYTES, ResourceEstimate
from allegro_md.simulation.windows import MOST_ATOMS

MOST_SIMULATED = 2048
"""Ranks that are simulated; of more ranks so many, with as many atoms each."""

MOST_RANKS, HALF = 131_072, 0.5
"""Ranks looked at to find where scaling ends, and the efficiency that is taken for its end."""

CAUSES = {
    "fixed": "the time of a step that does not depend on the number of atoms (calls, kernel launches)",
    "surface": "ghosts: the surface of a brick grows relative to its volume",
    "latency": "latency and overhead of the messages to the neighbors",
    "bandwidth": "bytes of the halo that take longer than the computing they are hidden behind",
    "migration": "messages of rebuilds: all ranks tell each other how many atoms they send",
    "reductions": "reductions over all ranks",
    "jitter": "waiting for ranks that are slower by chance",
    "imbalance": "ranks that have more atoms than the mean",
}
"""Reason for a loss of efficiency → in words."""


@dataclass(frozen=True)
class ScalingLimit:
    """End of the strong scaling of a system.

    Attributes:
        ranks: the first number with an efficiency below `HALF`; None: there is none up to `MOST_RANKS`.
        atoms: of a rank there.
        cause: of `CAUSES`, the largest.
        share: its part of all losses.
    """

    ranks: int | None
    atoms: float
    cause: str
    share: float


class Plan:
    """Forecasts of one input on one machine.

    Attributes:
        config: the input, with the stage that is planned alone.
        estimate: atoms and memory of the whole run, the same as that of `check`.
        calibration: measured on this machine.
        machine: of the forecast.
    """

    def __init__(self, config: Input, estimate: ResourceEstimate, calibration: Calibration, machine: Machine) -> None:
        self.config, self.estimate = config, estimate
        self.calibration, self.machine = calibration, machine
        info = estimate.potential_info
        self._halo = info.halo + config.parallel.skin
        masses = estimate.system.species_table.masses
        self._mass = float(masses.min())
        measured = [
            sample.interval / self._maxwell(sample.own)
            for sample in calibration.samples if math.isfinite(sample.interval)
        ]  # fmt: skip
        self.interval_factor = statistics.median(measured) if measured else 1.0

    def on(self, device: str, network: str | None) -> Plan:
        """The plan of the same input on a device of the table.

        Args:
            device: name in the table.
            network: name of the link between nodes; None: the usual one.
        """
        machine = machine_of_table(device, self.calibration, self.estimate.neighbors, network)
        return Plan(self.config, self.estimate, self.calibration, machine)

    def _maxwell(self, n_atoms: float) -> float:
        step = self.config.dynamics.length_of_step
        return rebuild_interval(self.config.parallel.skin, step, self.calibration.temperature, self._mass, n_atoms)

    def intervals(self, n_atoms: float, n_ranks: int) -> Intervals:
        """Steps between rebuilds (measured on the samples, carried over to N atoms), rows and reductions."""
        row = self.config.output.thermo.every or math.inf
        rebuild = max(1.0, self.interval_factor * self._maxwell(n_atoms))
        reductions = self.calibration.samples[-1].reductions
        if self.calibration.windows and n_atoms <= MOST_ATOMS * n_ranks:
            reductions = in_windows(reductions, rebuild, row, self.machine.costs.per_atom * n_atoms / n_ranks)
        return Intervals(rebuild, row, 1.0 / reductions)

    def bricks(self, n_ranks: int) -> Bricks:
        """Bricks of the system on so many ranks; atoms and ghosts are those of the rank that has most."""
        estimate, cell = self.estimate, self.estimate.system.cell
        lower, upper = estimate.system.extent
        edges = np.maximum(1.0, (upper - lower) * cell.heights) / np.array(estimate.grid(n_ranks))
        load = estimate.load(n_ranks)
        lengths = (float(edges[0]), float(edges[1]), float(edges[2]))
        return Bricks(
            estimate.grid(n_ranks), lengths, self._halo, float(load.own), float(load.held - load.own), cell.periodic
        )

    @property
    def density(self) -> float:
        """Atoms per Å³ where there are atoms."""
        one = self.bricks(1)
        return one.own / math.prod(one.lengths)

    def step(self, n_ranks: int) -> StepTime:
        """Time of a step of the system."""
        return self._step_time(self.bricks(n_ranks), self.estimate.system.n_total)

    def step_of(self, n_atoms: float, n_ranks: int) -> StepTime:
        """Time of a step of another number of atoms in a cube, as dense as the system."""
        return self._step_time(Bricks.cubes(n_atoms, n_ranks, self.density, self._halo), n_atoms)

    def _step_time(self, bricks: Bricks, n_atoms: float) -> StepTime:
        intervals, overlap = self.intervals(n_atoms, bricks.n_ranks), self.calibration.overlap
        return step_time(bricks, self.machine.costs, self.machine.network, intervals, overlap=overlap)

    def simulated(self, n_ranks: int) -> float:
        """Seconds per step from the simulation of all messages of a step, of at most `MOST_SIMULATED` ranks."""
        intervals, bricks = self.intervals(self.estimate.system.n_total, n_ranks), self.bricks(n_ranks)
        if n_ranks > MOST_SIMULATED:
            bricks = Bricks.cubes(bricks.own * MOST_SIMULATED, MOST_SIMULATED, self.density, self._halo)
        work = work_of(bricks, self.machine.costs, self.machine.network, intervals, self.calibration.overlap)
        rebuilds = migration_time(bricks, self.machine.network, "direct") / intervals.rebuild
        return simulate(bricks, self.machine.network, work) + rebuilds

    def memory(self, n_ranks: int) -> float:
        """Largest memory of a rank, bytes: that of `check` for as many ranks."""
        return float(self.estimate.memory(n_ranks)) + _of_mpi(n_ranks)

    def memory_of(self, n_atoms: float, n_ranks: int) -> float:
        """Memory of a rank of another number of atoms, bytes: in proportion to those of the system on one rank."""
        per_atom = (self.estimate.memory(1) - self.estimate.program) / self.estimate.system.n_total
        return float(self.estimate.program + per_atom * n_atoms / n_ranks) + _of_mpi(n_ranks)

    def efficiency(self, n_ranks: int) -> float:
        """Strong efficiency: time of a step on one rank over ranks · time on all of them."""
        return self.step(1).total / (n_ranks * self.step(n_ranks).total)

    def weak_efficiency(self, n_atoms: float, n_ranks: int) -> float:
        """Time of a step of one rank with its share of the atoms over that of all ranks with all atoms."""
        return self.step_of(n_atoms / n_ranks, 1).total / self.step_of(n_atoms, n_ranks).total

    def losses(self, n_ranks: int) -> dict[str, float]:
        """Seconds of a step that a perfect division of one rank's step would not have, by cause."""
        one, many = self.step(1), self.step(n_ranks)
        costs, intervals = self.machine.costs, self.intervals(self.estimate.system.n_total, n_ranks)
        fixed = costs.potential.fixed + costs.integrate.fixed + costs.halo.fixed
        fixed += costs.rebuild.fixed / intervals.rebuild + costs.row.fixed / intervals.row
        mean = self.estimate.system.n_total / n_ranks
        per_atom = costs.per_atom + costs.rebuild.atom / intervals.rebuild + costs.row.atom / intervals.row
        return {
            "fixed": fixed * (1.0 - 1.0 / n_ranks),
            "surface": max(0.0, many.surface - one.surface / n_ranks),
            "latency": many.latency, "bandwidth": many.bandwidth, "migration": many.migration,
            "reductions": many.reductions, "jitter": many.jitter,
            "imbalance": per_atom * max(0.0, self.bricks(n_ranks).own - mean),
        }  # fmt: skip

    def scaling_limit(self) -> ScalingLimit:
        """Finds where strong scaling ends, and why, among powers of two."""
        ranks, most = 2, min(MOST_RANKS, self.estimate.system.n_total)
        while ranks <= most and self.efficiency(ranks) >= HALF:
            ranks *= 2
        looked_at = min(ranks, max(2, most))
        losses = self.losses(looked_at)
        cause = max(losses, key=lambda name: losses[name])
        share = losses[cause] / max(1e-30, sum(losses.values()))
        return ScalingLimit(ranks if ranks <= most else None, self.estimate.system.n_total / looked_at, cause, share)

    def least_ranks(self) -> int | None:
        """Finds the least power of two of ranks whose memory is enough; None: there is none up to `MOST_RANKS`."""
        ranks = 1
        while ranks <= MOST_RANKS:
            if self.memory(ranks) <= self.machine.memory:
                return ranks
            ranks *= 2
        return None


def make_plan(config: Input, device: str | None, network: str | None, measured: Link | None) -> Plan:
    """Measures an input on this machine and plans it there or on a device of the table.

    Args:
        config: the input; of replicas, one of them.
        device: name in the table; None: this machine.
        network: name of the link between nodes; None: the usual one.
        measured: link between ranks of this machine; None: it was not measured.

    Raises:
        InputError: the system or its potential cannot be made, no stage makes steps of a timestep, or a name is not
            in the tables.
    """
    parts = build_parts(config, Comm.serial())
    estimate = ResourceEstimate(parts.config, parts.system, parts.potential, Comm.serial(), elsewhere=True)
    one = alone(parts.config)
    calibration = calibrate(replace(parts, config=one))
    here = Plan(one, estimate, calibration, this_machine(calibration, network, measured))
    return here if device is None else here.on(device, network)


def document(plan: Plan, n_ranks: int) -> dict[str, Any]:
    """The plan as plain tables, for JSON."""
    step, limit = plan.step(n_ranks), plan.scaling_limit()
    bricks, intervals = plan.bricks(n_ranks), plan.intervals(plan.estimate.system.n_total, n_ranks)
    n_atoms = plan.estimate.system.n_total
    return {
        "device": plan.machine.name,
        "atoms": n_atoms,
        "ranks": n_ranks,
        "grid": list(bricks.grid),
        "atoms_per_rank": bricks.own,
        "ghosts_per_rank": bricks.ghosts,
        "memory_per_rank_bytes": plan.memory(n_ranks),
        "memory_of_a_rank_bytes": plan.machine.memory if math.isfinite(plan.machine.memory) else None,
        "steps_per_rebuild": intervals.rebuild if math.isfinite(intervals.rebuild) else None,
        "reductions_per_step": 1.0 / intervals.reduce,
        "seconds_per_step": step.total,
        "parts_s": step.parts,
        "us_per_atom_step": 1e6 * step.total / n_atoms,
        "ns_per_day": ns_per_day(plan, step.total),
        "efficiency": plan.efficiency(n_ranks),
        "weak_efficiency": plan.weak_efficiency(n_atoms, n_ranks),
        "losses_s": plan.losses(n_ranks),
        "simulated_seconds_per_step": plan.simulated(n_ranks) if n_ranks > 1 else None,
        "scaling_ends": vars(limit),
        "least_ranks_for_memory": plan.least_ranks(),
        "remarks": [*remarks(plan.estimate.config), *plan.machine.remarks],
    }


def _of_mpi(n_ranks: int) -> float:
    """Memory that MPI takes of a rank, bytes: the samples are measured without it."""
    return MPI_BYTES if n_ranks > 1 else 0.0


def ns_per_day(plan: Plan, seconds: float) -> float:
    """Simulated time per day, ns."""
    return 86_400.0 / seconds * plan.config.dynamics.length_of_step * 1e-6

