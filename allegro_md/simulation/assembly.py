"""From a validated input to the parts of a simulation."""

from __future__ import annotations

import math

import numpy as np
import torch

from allegro_md.comm import Comm
from allegro_md.config import AllegroTerm, Input, NvtNoseHooverConfig
from allegro_md.domain.balance import build_balancer
from allegro_md.domain.decomposition import Decomposition, choose_grid
from allegro_md.domain.migrate import assign_initial_owners
from allegro_md.guards import ForceStdGuard, Guard, Limits
from allegro_md.integrators import build_integrator
from allegro_md.integrators.base import Integrator
from allegro_md.integrators.thermalize import maxwell_boltzmann
from allegro_md.io.structure import ReadOptions, SystemBuilder
from allegro_md.io.uncertain import UNCERTAIN, UncertainWriter
from allegro_md.models.modelfile import read_document
from allegro_md.potentials import Potential
from allegro_md.reporting import Reporter
from allegro_md.simulation.forces import ForceEvaluator
from allegro_md.simulation.loop import degrees_of_freedom
from allegro_md.state import AtomState
from allegro_md.timers import Timers


def build_structure(config: Input, comm: Comm) -> SystemBuilder:
    """The system of an input, of which each rank can make its part (collective)."""
    system = config.system
    if system.crystal is None:
        assert system.structure is not None
        return SystemBuilder.from_structure(
            system.structure,
            options=ReadOptions(
                system.frame, system.format, system.element_of_type, system.units, system.velocity_unit
            ),
            repeat=system.repeat,
            periodic=system.periodic,
            masses=system.masses,
            comm=comm,
        )
    crystal = system.crystal
    return SystemBuilder.from_crystal(
        crystal.symbol,
        crystal.lattice,
        crystal.a,
        c=crystal.c,
        repeat=tuple(a * b for a, b in zip(crystal.repeat, system.repeat, strict=True)),
        periodic=system.periodic,
        rattle=crystal.rattle,
        seed=crystal.seed,
        masses=system.masses,
    )


def empty_state(builder: SystemBuilder) -> AtomState:
    """The state before any atom is made."""
    return AtomState(builder.cell, builder.species_table, builder.n_total)


def create_atoms(state: AtomState, builder: SystemBuilder, config: Input, comm: Comm) -> None:
    """Makes each rank's part of the system and its start velocities (collective)."""
    nowhere, everywhere = np.zeros(3), np.ones(3)
    shape = config.parallel.grid_for(comm.size) or comm.bcast(choose_grid(comm.size, state.cell, nowhere, everywhere))
    decomposition = Decomposition.even(shape, state.cell.periodic)
    with comm.collective_errors():
        part = builder.select(*decomposition.brick(comm.rank))
        state.set_local({name: torch.from_numpy(values) for name, values in part.items()})
    del part
    assign_initial_owners(state, decomposition, comm)
    velocities = config.system.velocities
    if velocities is not None:
        maxwell_boltzmann(state, velocities.temperature, velocities.seed, comm)


def forces(config: Input, potential: Potential, comm: Comm, timers: Timers) -> ForceEvaluator:
    """A potential with the neighbor list and decomposition of an input."""
    balancer = build_balancer(config.parallel.balance)
    return ForceEvaluator(potential, comm, config.parallel.skin, config.parallel.grid_for(comm.size), timers, balancer)


def integrator(config: Input, state: AtomState, comm: Comm) -> Integrator:
    """The integrator of an input."""
    return build_integrator(config.dynamics, degrees_of_freedom(state.n_total), comm)


def guard(config: Input, state: AtomState, comm: Comm) -> Guard:
    """The guard of an input (collective)."""
    table = state.species_table
    distance = np.zeros((len(table.symbols), len(table.symbols)))
    with comm.collective_errors():
        for term in config.potential:
            for model in term.models if isinstance(term, AllegroTerm) else ():
                for pair, shortest in read_document(model)["shortest_distance"].items():
                    a, b = pair.split("-")
                    if a in table.symbols and b in table.symbols:  # of several models the first to leave its training
                        i, j = table.symbols.index(a), table.symbols.index(b)
                        limit = max(distance[i, j], config.guard.min_distance * float(shortest))
                        distance[i, j] = distance[j, i] = limit
    limits = Limits(
        force=config.guard.max_force,
        displacement=config.guard.max_displacement or math.inf,
        distance=distance,
        temperature=_hottest(config),
    )
    return Guard(limits, comm)


def force_std_reporters(config: Input, comm: Comm) -> list[Reporter]:
    """What looks at the force standard deviation of a committee, where the input limits it."""
    limit = config.guard.max_force_std
    if limit is None:
        return []
    every = config.guard.force_std_every or config.output.thermo.every
    if config.guard.on_force_std == "stop":
        return [ForceStdGuard(limit, every, comm)]
    return [UncertainWriter(config.output.directory / UNCERTAIN, limit, every, comm)]


def _hottest(config: Input) -> float:
    """Temperature beyond which a run has broken, K."""
    if config.guard.max_temperature != "auto":
        return float(config.guard.max_temperature)
    velocities, dynamics = config.system.velocities, config.dynamics
    asked = [0.0 if velocities is None else velocities.temperature]
    asked += dynamics.ramp if isinstance(dynamics, NvtNoseHooverConfig) else ()
    return max(10_000.0, 10.0 * max(asked))
