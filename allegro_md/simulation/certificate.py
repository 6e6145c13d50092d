"""The physics certificate of a run: joins the checks of `verify` with forces, state and input."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from ase.data import atomic_numbers
from numpy.typing import NDArray

from allegro_md.comm import Comm
from allegro_md.config import AllegroTerm, Input
from allegro_md.exact import FORCE_SCALE
from allegro_md.models.modelfile import read_document
from allegro_md.potentials import Potential, build_potential
from allegro_md.simulation.forces import Forces
from allegro_md.simulation.loop import StepLoop
from allegro_md.state import AtomState, SpeciesTable
from allegro_md.verify.environment import Environment, gather
from allegro_md.verify.local import LocalChecks, Seen
from allegro_md.verify.result import Certificate, Tally, results_of
from allegro_md.verify.samples import CHUNK, choose, directions, scrambled, share
from allegro_md.verify.vector import check_vector

START_SAMPLES, START_PER_RANK, START_SECONDS = 64, 8, 3.0
"""Atoms looked at when a run starts, on all ranks together and on one, and the time for them on each rank, s."""

SLOW = 2.0
"""A run whose force evaluation takes longer (s) is looked at where it stands, without evaluating it again."""

NUDGE = 0.01
"""Å; how far atoms are moved at most, so that the halo is used and forces of a perfect lattice do not vanish."""


def certify_start(config: Input, loop: StepLoop) -> Certificate:
    """The cheap part: after the first evaluation of the forces, before step 0 is reported (collective).

    Positions, forces and results are, bit for bit, what they were when it returns.

    Args:
        config: the input.
        loop: with forces and virial evaluated at the present positions, on a list just built.
    """
    began = time.perf_counter()
    state, forces, comm = loop.state, loop.forces, loop.comm
    potential = forces.potential
    with comm.together():
        reference = reference_potential(config, potential, state.species_table)
        count = share(comm.size, comm.rank, START_SAMPLES, START_PER_RANK)
        rows = choose(state, forces.domain.lower, forces.domain.upper, count, comm.rank)
    environments = gather(state, rows, 2.0 * potential.halo_hops * potential.cutoff, comm)
    remarks = []
    checks = LocalChecks(potential, reference, None, START_SECONDS)
    balance, again = net_force(), Tally("repeat", "forces and energies at the same positions, evaluated twice")
    nudge = min(NUDGE, 0.2 * config.parallel.skin)
    costly = bool(comm.max(loop.timers.seconds["potential"]) > SLOW)
    if costly or nudge == 0.0:
        remarks.append("the halo was not exercised: " + ("a force evaluation takes long" if costly else "no skin"))
        _check_atoms(checks, balance, environments, rows, forces, state, comm)
    else:
        before = fingerprint(state, forces, comm)
        with _nudged(state, environments, nudge, comm) as moved:
            forces(state)
            _check_atoms(checks, balance, moved, rows, forces, state, comm)
        forces(state)
        if potential.bit_exact:
            changed = not np.array_equal(before, fingerprint(state, forces, comm))
            again.add("a number made of all bits", float(changed), 0.0, "")
    vector = Tally("test vector", "the model file's own cluster, with the species of this system")
    with comm.together():
        if comm.rank == 0:
            check_vectors(vector, config, state.species_table)
    samples = int(comm.sum(np.array([len(rows)]))[0])
    results = results_of([*checks.tallies, balance, again, vector], comm)
    return Certificate(results, samples, comm.bcast(time.perf_counter() - began), remarks)


def reference_potential(config: Input, potential: Potential, table: SpeciesTable) -> Potential:
    """The potential in float64 on the host: the run's own where it is that already."""
    if all(getattr(term, "precision", "double") == "double" for term in config.potential):
        return potential
    return build_potential([_in_precision(term, "double") for term in config.potential], table)


def check_vectors(tally: Tally, config: Input, table: SpeciesTable) -> None:
    """The test vectors of all model files of the potential."""
    terms = [term for term in config.potential if isinstance(term, AllegroTerm)]
    if not terms:
        tally.leave_out("no model file")
    for term in terms:

        def make(full: SpeciesTable, precision: str, term: AllegroTerm = term) -> Potential:
            return build_potential([_in_precision(term, precision)], full)

        check_vector(tally, read_document(term.model)["test"], table, make, atomic_numbers)


def _in_precision(term: Any, precision: str) -> Any:
    if not isinstance(term, AllegroTerm):
        return term
    return term.model_copy(update={"precision": precision, "device": "cpu", "engine": "reference"})


def net_force() -> Tally:
    """The check that forces add up to zero."""
    return Tally("net force", "the sum of all forces, in quanta of the fixed-point format")


def seen_by(forces: Forces, state: AtomState, row: int) -> Seen:
    """What the run says of an own atom."""
    result = forces.result
    virial = None if result.virial is None else result.virial[row].cpu().numpy()
    return Seen(float(result.energy[row]), state.local("force")[row].cpu().numpy(), virial)


def _check_atoms(
    checks: LocalChecks, balance: Tally, environments: Sequence[Environment], rows: NDArray[np.int64], forces: Forces,
    state: AtomState, comm: Comm,
) -> None:  # fmt: skip
    """All checks at the present positions (collective)."""
    if forces.potential.bit_exact:
        balance.add("a component", comm.sum(state.local("force").sum(dim=0).cpu().numpy()) / FORCE_SCALE, 0.0, "eV/Å")
    with comm.together():
        for environment, row in zip(environments, rows, strict=True):
            checks(environment, seen_by(forces, state, int(row)))


def fingerprint(state: AtomState, forces: Forces, comm: Comm) -> NDArray[np.int64]:
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
def _nudged(
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
