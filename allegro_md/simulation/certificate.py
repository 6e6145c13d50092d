"""The physics certificate of a run: joins the checks of `verify` with forces, state and input."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import numpy as np
from ase.data import atomic_numbers
from numpy.typing import NDArray

from allegro_md.comm import Comm
from allegro_md.config import Input
from allegro_md.config.dynamics import DeformableConfig
from allegro_md.evaluation import TOLERANCE, Evaluation, PotentialInfo, TrainedModel
from allegro_md.integrators.base import Integrator
from allegro_md.integrators.nve import VelocityVerlet
from allegro_md.potentials import Potential, leaves
from allegro_md.simulation.build import build_engine, build_parts, new_integrator
from allegro_md.simulation.engine import WholeEngine, gathered
from allegro_md.simulation.loop import StepLoop
from allegro_md.simulation.resource_estimate import ResourceEstimate
from allegro_md.state import AtomState, SpeciesTable, on_host
from allegro_md.timers import Timers
from allegro_md.verify.drift import check_drift
from allegro_md.verify.environment import Environment, gather
from allegro_md.verify.local import SINGLE, LocalChecks, RunValues, Tolerance
from allegro_md.verify.result import CheckStats, VerifyReport, results_of
from allegro_md.verify.samples import CHUNK, choose, chunk_size, directions, scrambled
from allegro_md.verify.vector import EXACT, Maker, check_vector
from allegro_md.verify.whole import System, WholeChecks, check_net_force


@dataclass(frozen=True)
class Effort:
    """Extent of the checks.

    Attributes:
        samples: atoms, on all ranks together.
        per_rank: at most.
        seconds: for the atoms of one rank.
        slow: a run whose force evaluation takes longer (s) is looked at as it stands, without evaluating it again.
        thorough: see `LocalChecks`.
    """

    samples: int
    per_rank: int
    seconds: float
    slow: float
    thorough: bool


START = Effort(samples=64, per_rank=8, seconds=3.0, slow=2.0, thorough=False)
FULL = Effort(samples=256, per_rank=12, seconds=60.0, slow=60.0, thorough=True)

DISPLACEMENT = 0.002
"""Å; how far atoms are moved at most, so that the halo is used and forces of a perfect lattice do not vanish."""

WHOLE_ATOMS, WHOLE_SECONDS = 50_000, 10.0
"""Most atoms, and longest time of one evaluation (s), of a system that is looked at as a whole."""

STEPS = 5
"""Of the run that must conserve energy."""

NOISE = {"double": 1e-10, "mixed": 2e-6, "unknown": 2e-6}
"""What rounding may do to a conserved energy, eV per atom."""


def verify_start(config: Input, loop: StepLoop) -> VerifyReport:
    """The cheap part: after the first evaluation of the forces, before step 0 is reported (collective).

    Positions, forces and results are, bit for bit, what they were when it returns.

    Args:
        config: the input.
        loop: with forces and virial evaluated at the present positions, on a list just built.
    """
    began = time.perf_counter()
    checks = _Checks(config, loop)
    checks.sampled(START)
    return checks.certificate(began)


def verify_full(config: Input, comm: Comm) -> VerifyReport:
    """Makes all checks on the system of an input; writes nothing (collective).

    A system that is too large or too slow to be evaluated many times is sampled only.

    Raises:
        PhysicsError: its forces cannot be evaluated at all.
        ResourceError: it does not fit into memory.
    """
    began = time.perf_counter()
    parts = build_parts(config, comm)
    ResourceEstimate(parts.config, parts.system, parts.potential,
        comm).require_memory()  # compiles kernels before they are timed
    loop, _ = build_engine(parts, comm, Timers())
    loop.start()
    longest = float(comm.max(loop.timers.seconds["potential"]))
    checks = _Checks(parts.config, loop)
    checks.sampled(FULL)
    if loop.state.n_total <= WHOLE_ATOMS and longest <= WHOLE_SECONDS:
        checks.whole(lambda: new_integrator(parts, comm))
    else:
        checks.remarks.append(
            f"{loop.state.n_total} atoms, {longest:.1f} s per evaluation: too many for the checks of the system as a "
            "whole; atoms were sampled"
        )
    return checks.certificate(began)


class _Checks:
    """The checks on one system (all methods are collective).

    Attributes:
        all_stats: of all checks made so far.
        remarks: what a reader should know.
    """

    def __init__(self, config: Input, loop: StepLoop) -> None:
        self.all_stats: list[CheckStats] = []
        self.remarks: list[str] = []
        self._config, self._loop = config, loop
        self._state, self._forces, self._comm = loop.state, loop.forces, loop.comm
        self._potential = loop.forces.potential
        self._info = info = self._potential.info
        self._samples = 0
        with self._comm.collective_errors():
            self._reference = self._potential if info.reference is None else info.reference()
        self._closeness = tolerance_of(info)
        self._seen = loop.first_needs

    def certificate(self, began: float) -> VerifyReport:
        """Collects the results of all checks since `began`."""
        results = results_of(self.all_stats, self._comm)
        return VerifyReport(results, self._samples, self._comm.bcast(time.perf_counter() - began), self.remarks)

    def _evaluate(self) -> None:
        """Replaces the evaluation of the loop by one at the present positions (collective)."""
        self._loop.evaluation = Evaluation()  # its arrays must not be in memory beside the new ones
        self._loop.evaluation = self._forces(self._state, self._seen)

    def sampled(self, effort: Effort) -> None:
        """Environments of sampled atoms, the net force, and the test vectors of model files."""
        state, forces, comm, info = self._state, self._forces, self._comm, self._info
        again = CheckStats("repeat", "forces and energies at the same positions, evaluated twice")
        with comm.collective_errors():
            count = chunk_size(comm.size, comm.rank, effort.samples, effort.per_rank)
            assert forces.decomposition is not None  # the forces have been evaluated
            rows = choose(state, *forces.decomposition.brick(comm.rank), count, comm.rank)
        environments = gather(state, rows, 2.0 * info.reach, comm)
        nudge = min(DISPLACEMENT, 0.2 * self._config.parallel.skin)
        costly = bool(comm.max(self._loop.timers.seconds["potential"]) > effort.slow)
        if costly and not info.bit_exact:
            environments, rows = environments[:0], rows[:0]  # a cluster takes a calculator as long as the system
        self._samples = int(comm.sum(np.array([len(rows)]))[0])
        if costly or nudge == 0.0:
            why = "a force evaluation takes long" if costly else "there is no skin"
            self.remarks.append(f"the forces were looked at as they are, not also with atoms moved: {why}")
            self._atoms(effort, environments, rows)
        else:
            before = fingerprint(state, self._loop.evaluation, comm)
            with _displaced(state, environments, nudge, comm) as moved:
                self._evaluate()
                self._atoms(effort, moved, rows)
            self._evaluate()
            if info.bit_exact:
                changed = not np.array_equal(before, fingerprint(state, self._loop.evaluation, comm))
                again.add("a number made of all bits", float(changed), 0.0, "")
            else:
                again.leave_out("not promised by this potential")
        vector = CheckStats("test vector", "the model file's own cluster, with the species of this system")
        with comm.collective_errors():
            if comm.rank == 0:
                check_vectors(vector, self._potential, state.species_table)
        self.all_stats += [again, vector]

    def _atoms(self, effort: Effort, environments: Sequence[Environment], rows: NDArray[np.int64]) -> None:
        """Checks single atoms, those of `rows` (n,), and the net force at the present positions."""
        state, comm, applied = self._state, self._comm, self._forces.applied
        local = LocalChecks(self._potential, self._reference, effort.seconds, effort.thorough, self._closeness)
        with nullcontext() if applied is None else applied.absent(state):
            with comm.collective_errors():
                for environment, row in zip(environments, rows, strict=True):
                    local(environment, run_values(self._loop.evaluation, state, int(row)))
            total = comm.sum(state.host_local("force").sum(axis=0))
        self.all_stats += [*local.all_stats, check_net_force(total, self._info)]

    def whole(self, make_integrator: Callable[[], Integrator]) -> None:
        """Checks the system as a whole, with every atom moved a little, so that no symmetry hides a fault.

        Args:
            make_integrator: of the input, as it is before the first step.
        """
        config, comm, table = self._config, self._comm, self._state.species_table
        atoms = gathered(self._state, comm)
        position = atoms["position"] + DISPLACEMENT * directions(np.arange(len(atoms["position"])))
        system = System(self._state.cell, table, atoms["species"], position)
        grid, skin = config.parallel.grid_for(comm.size), config.parallel.skin
        engine = WholeEngine(self._potential, comm, skin, grid)
        reference = WholeEngine(self._reference, comm, skin, grid)
        checks = WholeChecks(engine, system, self._info)
        if comm.size > 1:
            alone = WholeEngine(self._potential, Comm.serial(), skin, None)
            one = comm.on_root(lambda: alone(system))
            same = None if self._info.bit_exact else Tolerance()
            checks.same_as("ranks", f"{comm.size} ranks against one", one, same)
        checks.rebuild(skin)
        checks.wrapping()
        checks.rotation()
        checks.reflection()
        checks.permutation()
        if self._reference is not self._potential:
            meaning = "all atoms against the float64 reference"
            checks.same_as("engine", meaning, reference(system), self._closeness)
        checks.strain(reference)
        self.all_stats += [*checks.all_stats, self._drift(engine, system, atoms["velocity"], make_integrator)]

    def _drift(
        self,
        engine: WholeEngine,
        system: System,
        velocity: NDArray[np.float64],
        make_integrator: Callable[[], Integrator],
    ) -> CheckStats:
        """Makes a short run at constant energy, and one with the integrator of the input if that is another.

        `velocity` (n_total, 3) Å/fs, in the order of ids.
        """
        table, stats = self._config.dynamics, CheckStats("drift", "a short run with the input's timestep")
        if not self._info.conservative:
            stats.leave_out("the forces are not derived from an energy")
            return stats
        if not self._info.continuous:
            stats.leave_out("the energy jumps at the cutoff, as the input asks")
            return stats
        if table.length_of_step == 0.0:
            stats.leave_out("no time passes")
            return stats
        noise = NOISE[self._info.precision] * len(velocity)
        freedom = self._loop.integrator.degrees_of_freedom
        makers: dict[str, Callable[[], Integrator]] = {"nve": lambda: VelocityVerlet(table.length_of_step, freedom)}
        deformed = isinstance(table, DeformableConfig) and table.deform is not None
        if not table.group_names:  # the system that is checked has no groups
            makers.setdefault(f"{table.ensemble} with deform" if deformed else table.ensemble, make_integrator)
        for name, make in makers.items():

            def conserved(parts: int, make: Callable[[], Integrator] = make) -> NDArray[np.float64]:
                return engine.conserved(system, velocity, make(), STEPS, parts)

            check_drift(stats, name, conserved, noise, make().order)
        return stats


def tolerance_of(info: PotentialInfo) -> Tolerance:
    """Allowed differences of a potential from its float64 reference."""
    relative = SINGLE if info.precision == "mixed" else TOLERANCE
    if info.tolerance > 0.0:
        return Tolerance(relative, info.tolerance, 'use engine = "reference"')
    return Tolerance(relative, 0.0, 'use precision = "double"')


def check_vectors(stats: CheckStats, potential: Potential, table: SpeciesTable) -> None:
    """Evaluates the test vectors of all model files: by the network in both precisions, and by the engine of the run.

    Args:
        stats: of the check.
        potential: of the run.
        table: species of the system.
    """
    models = [(leaf, leaf.info.model) for leaf in leaves(potential) if leaf.info.model is not None]
    if not models:
        stats.leave_out("no model file")
    for leaf, model in models:
        check_vector(stats, model.test_vector(), table, _makers(leaf, model, table), atomic_numbers)


def _makers(leaf: Potential, model: TrainedModel, table: SpeciesTable) -> list[Maker]:
    """The ways to evaluate the test vector of a model."""

    def network(precision: str) -> Callable[[SpeciesTable], Potential]:
        return lambda full: model.rebuild(full.symbols, "reference", precision, 1.0)

    def engine(full: SpeciesTable) -> Potential:
        if full.symbols == table.symbols:
            return leaf
        rebuilt: Potential = model.rebuild(full.symbols, leaf.info.engine, leaf.info.precision, model.weight)
        return rebuilt

    makers = [
        Maker("in double precision", EXACT, network("double")),
        Maker("in mixed precision", Tolerance(), network("mixed")),
    ]
    if leaf.info.engine != "reference":
        closeness = tolerance_of(leaf.info)
        makers.append(Maker(f"by the {leaf.info.engine} engine", closeness, engine, model.weight))
    return makers


def run_values(evaluation: Evaluation, state: AtomState, row: int) -> RunValues:
    """Energy, force and virial of a local atom in an evaluation."""
    energy, virials = evaluation.energy, evaluation.virial_per_atom
    return RunValues(
        None if energy is None else float(energy[row]),
        state.host_local("force")[row],
        None if virials is None else on_host(virials[row]),
    )


def fingerprint(state: AtomState, evaluation: Evaluation, comm: Comm) -> NDArray[np.int64]:
    """A number that depends on every bit of forces and energies and not on where the atoms are (collective).

    Returns:
        (4,) int64.
    """
    ids, force = state.host_local("id"), state.host_local("force")
    energies = evaluation.energy
    energy = np.zeros(len(ids), np.int64) if energies is None else on_host(energies).view(np.int64)
    total = np.zeros(4, dtype=np.int64)
    for start in range(0, state.n_local, CHUNK):
        rows = slice(start, start + CHUNK)
        weight = scrambled(ids[rows], 9).view(np.int64)
        total += np.column_stack([energy[rows], force[rows]]).T @ weight
    return comm.sum(total)


@contextmanager
def _displaced(
    state: AtomState, environments: Sequence[Environment], most: float, comm: Comm
) -> Iterator[list[Environment]]:
    """Moves the atoms of all environments by at most `most` (Å) along each axis, on the ranks that own them."""
    touched = np.unique(np.concatenate([e.id for e in environments])) if environments else np.zeros(0, np.int64)
    touched = np.unique(np.concatenate(comm.allgather(touched)))
    ids = state.host_local("id")
    chunks = range(0, len(ids), CHUNK)
    rows = np.concatenate([np.flatnonzero(np.isin(ids[k : k + CHUNK], touched)) + k for k in chunks] or [touched[:0]])
    position = state.array_local("position")
    kept = position[rows]
    position[rows] = kept + state.device_array(most * directions(ids[rows]))
    try:
        yield [e.displaced(most * directions(e.id)) for e in environments]
    finally:
        state.array_local("position")[rows] = kept
