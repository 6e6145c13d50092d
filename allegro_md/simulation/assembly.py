"""From a validated input to the parts of a simulation."""

from __future__ import annotations

import math

import numpy as np
import torch

from allegro_md.comm import Comm
from allegro_md.config import Input
from allegro_md.domain.grid import Domain, choose_grid
from allegro_md.domain.migrate import claim
from allegro_md.errors import InputError
from allegro_md.integrators import build_integrator
from allegro_md.integrators.base import Integrator
from allegro_md.integrators.thermalize import maxwell_boltzmann
from allegro_md.io.structure import Blueprint
from allegro_md.potentials import build_potential
from allegro_md.simulation.forces import Forces
from allegro_md.simulation.loop import degrees_of_freedom
from allegro_md.state import AtomState
from allegro_md.timers import Timers


def blueprint(config: Input, comm: Comm) -> Blueprint:
    """The system of an input, of which each rank can make its part (collective)."""
    system = config.system
    if system.crystal is None:
        assert system.structure is not None
        return Blueprint.from_structure(
            system.structure,
            frame=system.frame,
            repeat=system.repeat,
            periodic=system.periodic,
            masses=system.masses,
            comm=comm,
        )
    crystal = system.crystal
    return Blueprint.from_crystal(
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


def empty_state(plan: Blueprint) -> AtomState:
    """The state before any atom is made."""
    return AtomState(plan.cell, plan.species_table, plan.n_total)


def rank_grid(config: Input, comm: Comm) -> tuple[int, int, int] | None:
    """The rank grid an input asks for; None leaves the choice to the decomposition.

    Raises:
        InputError: it is for another number of ranks.
    """
    grid = config.parallel.grid
    if grid == "auto":
        return None
    if math.prod(grid) != comm.size:
        raise InputError(
            f"the grid {list(grid)} is for {math.prod(grid)} ranks, but there are {comm.size}",
            "parallel.grid",
            f'use mpirun -n {math.prod(grid)}, or grid = "auto"',
        )
    return grid


def populate(state: AtomState, plan: Blueprint, config: Input, comm: Comm) -> None:
    """Makes each rank's part of the system and its start velocities (collective)."""
    nowhere, everywhere = np.zeros(3), np.ones(3)
    shape = rank_grid(config, comm) or comm.bcast(choose_grid(comm.size, state.cell, nowhere, everywhere))
    domain = Domain.uniform(shape, comm.rank, state.cell.periodic, nowhere, everywhere)
    with comm.together():
        part = plan.select(domain.lower, domain.upper)
        state.set_local({name: torch.from_numpy(values) for name, values in part.items()})
    del part
    claim(state, domain, comm)
    velocities = config.system.velocities
    if velocities is not None:
        maxwell_boltzmann(state, velocities.temperature, velocities.seed, comm)


def forces(config: Input, state: AtomState, comm: Comm, timers: Timers) -> Forces:
    """Potential, neighbor list and decomposition of an input (collective)."""
    with comm.together():
        potential = build_potential(config.potential, state.species_table)
    return Forces(potential, comm, config.parallel.skin, rank_grid(config, comm), timers)


def integrator(config: Input, state: AtomState, comm: Comm) -> Integrator:
    """The integrator of an input."""
    return build_integrator(config.dynamics, degrees_of_freedom(state.n_total), comm)
