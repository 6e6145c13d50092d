"""The physics certificate of a run: joins the checks of `verify` with forces, state and input."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from ase.data import atomic_numbers
from numpy.typing import NDArray

from allegro_md.allocator import return_large_arrays
from allegro_md.comm import Comm
from allegro_md.config import AllegroTerm, Input, LennardJonesTerm
from allegro_md.integrators.base import Integrator
from allegro_md.integrators.nve import VelocityVerlet
from allegro_md.models.fused.accuracy import TOLERANCE
from allegro_md.models.modelfile import read_document
from allegro_md.potentials import Potential, build_potential, models_of, resolved
from allegro_md.potentials.allegro import choose as choose_engine
from allegro_md.simulation import assembly
from allegro_md.simulation.engine import WholeEngine, gathered
from allegro_md.simulation.forces import ForceEvaluator
from allegro_md.simulation.loop import StepLoop
from allegro_md.simulation.resource_estimate import ResourceEstimate
from allegro_md.state import AtomState, SpeciesTable
from allegro_md.timers import Timers
from allegro_md.verify.drift import check_drift
from allegro_md.verify.environment import Environment, gather
from allegro_md.verify.local import SINGLE, LocalChecks, RunValues, Tolerance, reach_of
from allegro_md.verify.result import CheckStats, VerifyReport, results_of
from allegro_md.verify.samples import CHUNK, choose, chunk_size, directions, scrambled
from allegro_md.verify.vector import EXACT, Maker, check_vector
from allegro_md.verify.whole import System, WholeChecks, check_net_force


@dataclass(frozen=True)
class Effort:
    """How much is looked at.

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

NOISE = {"double": 1e-10, "mixed": 2e-6, "foreign": 2e-6}
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
    """All checks, on the system of an input; writes nothing (collective).

    A system that is too large or too slow to be evaluated many times is sampled only.

    Raises:
        PhysicsError: its forces cannot be evaluated at all.
        ResourceError: it does not fit into memory.
    """
    began = time.perf_counter()
    return_large_arrays()
    torch.set_num_threads(1)  # one constant way to sum: see kernels/tile.py
    system = assembly.build_structure(config, comm)
    with comm.collective_errors():
        potential = build_potential(config.potential, system.species_table)
    # Kernels are compiled here, outside the timed part.
    ResourceEstimate(config, system, potential, comm).require_memory()
    state, timers = assembly.empty_state(system), Timers()
    assembly.create_atoms(state, system, config, comm)
    forces = assembly.forces(config, potential, comm, timers)
    loop = StepLoop(state, forces, assembly.integrator(config, state, comm), comm, timers)
    loop.start()
    longest = float(comm.max(timers.seconds["potential"]))
    checks = _Checks(config, loop)
    checks.sampled(FULL)
    if state.n_total <= WHOLE_ATOMS and longest <= WHOLE_SECONDS:
        checks.whole()
    else:
        checks.remarks.append(
            f"{state.n_total} atoms, {longest:.1f} s per evaluation: too many for the checks of the system as a whole; "
            "atoms were sampled"
        )
    return checks.certificate(began)


class _Checks:
    """The checks on one system (all methods are collective).

    Attributes:
        tallies: of all checks made so far.
        remarks: what a reader should know.
    """

    def __init__(self, config: Input, loop: StepLoop) -> None:
        self.tallies: list[CheckStats] = []
        self.remarks: list[str] = []
        self._config, self._loop = config, loop
        self._state, self._forces, self._comm = loop.state, loop.forces, loop.comm
        self._potential = loop.forces.potential
        self._samples = 0
        self._terms = terms = resolved(config.potential, self._potential)
        with self._comm.collective_errors():
            self._reference = reference_potential(terms, self._potential, self._state.species_table)
        self._closeness = tolerance_of(terms)
        single = any(isinstance(term, AllegroTerm) and term.precision == "mixed" for term in terms)
        self._precision = ("mixed" if single else "double") if self._potential.bit_exact else "foreign"
        self._truncated = any(isinstance(term, LennardJonesTerm) and not term.shift for term in terms)

    def certificate(self, began: float) -> VerifyReport:
        """What was found since `began`."""
        results = results_of(self.tallies, self._comm)
        return VerifyReport(results, self._samples, self._comm.bcast(time.perf_counter() - began), self.remarks)

    def sampled(self, effort: Effort) -> None:
        """Environments of sampled atoms, the net force, and the test vectors of model files."""
        state, forces, comm, potential = self._state, self._forces, self._comm, self._potential
        again = CheckStats("repeat", "forces and energies at the same positions, evaluated twice")
        with comm.collective_errors():
            count = chunk_size(comm.size, comm.rank, effort.samples, effort.per_rank)
            rows = choose(state, *forces.decomposition.brick(comm.rank), count, comm.rank)
        environments = gather(state, rows, 2.0 * reach_of(potential), comm)
        nudge = min(DISPLACEMENT, 0.2 * self._config.parallel.skin)
        costly = bool(comm.max(self._loop.timers.seconds["potential"]) > effort.slow)
        if costly and not potential.bit_exact:
            environments, rows = environments[:0], rows[:0]  # a cluster takes a calculator as long as the system
        self._samples = int(comm.sum(np.array([len(rows)]))[0])
        if costly or nudge == 0.0:
            why = "a force evaluation takes long" if costly else "there is no skin"
            self.remarks.append(f"the forces were looked at as they are, not also with atoms moved: {why}")
            self._atoms(effort, environments, rows)
        else:
            before = fingerprint(state, forces, comm)
            with _displaced(state, environments, nudge, comm) as moved:
                forces(state)
                self._atoms(effort, moved, rows)
            forces(state)
            if potential.bit_exact:
                changed = not np.array_equal(before, fingerprint(state, forces, comm))
                again.add("a number made of all bits", float(changed), 0.0, "")
            else:
                again.leave_out("not promised by this potential")
        vector = CheckStats("test vector", "the model file's own cluster, with the species of this system")
        with comm.collective_errors():
            if comm.rank == 0:
                check_vectors(vector, self._terms, potential, state.species_table)
        self.tallies += [again, vector]

    def _atoms(self, effort: Effort, environments: Sequence[Environment], rows: NDArray[np.int64]) -> None:
        """The checks of single atoms, and of the net force, at the present positions."""
        state, comm = self._state, self._comm
        local = LocalChecks(
            self._potential, self._reference, effort.seconds, effort.thorough, self._truncated, self._closeness
        )
        with comm.collective_errors():
            for environment, row in zip(environments, rows, strict=True):
                local(environment, run_values(self._forces, state, int(row)))
        total = comm.sum(state.local("force").sum(dim=0).cpu().numpy())
        self.tallies += [*local.tallies, check_net_force(total, self._potential.bit_exact)]

    def whole(self) -> None:
        """What needs the system as a whole, with every atom moved a little: no symmetry hides a fault."""
        config, comm, table = self._config, self._comm, self._state.species_table
        atoms = gathered(self._state, comm)
        position = atoms["position"] + DISPLACEMENT * directions(np.arange(len(atoms["position"])))
        system = System(self._state.cell, table, atoms["species"], position)
        grid, skin = config.parallel.grid_for(comm.size), config.parallel.skin
        engine = WholeEngine(self._potential, comm, skin, grid)
        reference = WholeEngine(self._reference, comm, skin, grid)
        checks = WholeChecks(engine, system, self._precision, self._potential.cutoff)
        if comm.size > 1:
            alone = WholeEngine(self._potential, Comm.serial(), skin, None)
            one = comm.on_root(lambda: alone(system))
            same = None if self._potential.bit_exact else Tolerance()
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
        self.tallies += [*checks.tallies, self._drift(engine, system, atoms["velocity"])]

    def _drift(self, engine: WholeEngine, system: System, velocity: NDArray[np.float64]) -> CheckStats:
        """A short run at constant energy, and one with the integrator of the input where that is another."""
        config, tally = self._config, CheckStats("drift", "a short run with the input's timestep")
        if self._truncated:
            tally.leave_out("the energy jumps at the cutoff, as the input asks")
            return tally
        noise = NOISE[self._precision] * len(velocity)
        makers: dict[str, Callable[[], Integrator]] = {"nve": lambda: VelocityVerlet(config.dynamics.timestep)}
        makers.setdefault(config.dynamics.ensemble, lambda: assembly.integrator(config, self._state, self._comm))
        for name, make in makers.items():

            def conserved(parts: int, make: Callable[[], Integrator] = make) -> NDArray[np.float64]:
                return engine.conserved(system, velocity, make(), STEPS, parts)

            check_drift(tally, name, conserved, noise)
        return tally


def reference_potential(terms: Sequence[Any], potential: Potential, table: SpeciesTable) -> Potential:
    """The networks themselves in float64 on the host: the run's own potential where it is that already."""
    models = [term for term in terms if isinstance(term, AllegroTerm)]
    if all(t.precision == "double" and t.device != "cuda" and t.engine == "reference" for t in models):
        return potential
    return build_potential([_by_the_network(term, "double") for term in terms], table)


def tolerance_of(terms: Sequence[Any]) -> Tolerance:
    """What engines and precisions (settled) may differ from the float64 networks."""
    models = [term for term in terms if isinstance(term, AllegroTerm)]
    relative = SINGLE if any(term.precision == "mixed" for term in models) else TOLERANCE
    if any(term.engine == "fused" for term in models):
        return Tolerance(relative, TOLERANCE, 'use engine = "reference"')
    return Tolerance(relative, 0.0, 'use precision = "double"')


def check_vectors(tally: CheckStats, terms: Sequence[Any], potential: Potential, table: SpeciesTable) -> None:
    """The test vectors of all model files: by the network in both precisions, and by the engine of the run.

    Args:
        tally: of the check.
        terms: of the input, with the engines of the run.
        potential: of the run.
        table: species of the system.
    """
    models = list(models_of(terms, potential))
    if not models:
        tally.leave_out("no model file")
    for term, model, part in models:
        alone = term.model_copy(update={"model": model, "committee": None})
        makers = _makers(alone, part, 1.0 / len(term.models), table)
        check_vector(tally, read_document(model)["test"], table, makers, atomic_numbers)


def _makers(term: AllegroTerm, part: Potential, weight: float, table: SpeciesTable) -> list[Maker]:
    """The ways to evaluate the test vector of a model, of whose energies the run's potential gives a share."""

    def network(precision: str) -> Callable[[SpeciesTable], Potential]:
        return lambda full: build_potential([_by_the_network(term, precision)], full)

    def engine(full: SpeciesTable) -> Potential:
        if full.symbols == table.symbols:
            return part
        return choose_engine(term.models[0], full.symbols, term.engine, term.precision, term.device, weight)

    makers = [
        Maker("in double precision", EXACT, network("double")),
        Maker("in mixed precision", Tolerance(), network("mixed")),
    ]
    if term.engine == "fused":
        makers.append(Maker("by the fused engine", tolerance_of([term]), engine, weight))
    return makers


def _by_the_network(term: Any, precision: str) -> Any:
    if not isinstance(term, AllegroTerm):
        return term
    return term.model_copy(update={"precision": precision, "device": "cpu", "engine": "reference"})


def run_values(forces: ForceEvaluator, state: AtomState, row: int) -> RunValues:
    """What the run says of an own atom."""
    result = forces.result
    virial = None if result.virials is None else result.virials[row].cpu().numpy()
    return RunValues(float(result.energy[row]), state.local("force")[row].cpu().numpy(), virial)


def fingerprint(state: AtomState, forces: ForceEvaluator, comm: Comm) -> NDArray[np.int64]:
    """A number that depends on every bit of forces and energies and not on where the atoms are (collective)."""
    ids, force = state.local("id").cpu().numpy(), state.local("force").cpu().numpy()
    energy = forces.result.energy.cpu().numpy().view(np.int64)
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
    ids = state.local("id").cpu().numpy()
    chunks = range(0, len(ids), CHUNK)
    rows = torch.from_numpy(
        np.concatenate([np.flatnonzero(np.isin(ids[k : k + CHUNK], touched)) + k for k in chunks] or [touched[:0]])
    )
    position = state.local("position")
    kept = position[rows].clone()
    position[rows] = kept + torch.from_numpy(most * directions(state.local("id")[rows].cpu().numpy()))
    try:
        yield [e.displaced(most * directions(e.id)) for e in environments]
    finally:
        state.local("position")[rows] = kept
