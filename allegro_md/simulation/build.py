"""From a validated input to a simulation that can be stepped: the one place where the engine is put together."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from allegro_md.allocator import return_large_arrays
from allegro_md.cell import Cell
from allegro_md.comm import Comm
from allegro_md.config import Input
from allegro_md.config.guard import GuardConfig
from allegro_md.config.output import ParallelConfig
from allegro_md.config.system import SystemConfig as SystemTable
from allegro_md.domain.balance import build_balancer
from allegro_md.domain.decomposition import Decomposition, choose_grid
from allegro_md.domain.migrate import assign_initial_owners
from allegro_md.errors import InputError
from allegro_md.evaluation import PotentialInfo
from allegro_md.guards import Guard, Limits
from allegro_md.integrators import build_integrator
from allegro_md.integrators.base import Integrator, Setting
from allegro_md.integrators.thermalize import maxwell_boltzmann
from allegro_md.io.checkpoint import Checkpoint
from allegro_md.io.structure import ReadOptions, SystemBuilder
from allegro_md.potentials import Potential, build_potential, resolved
from allegro_md.potentials.base import leaves
from allegro_md.reporting import OBSERVE, HoldsMemory, HoldsRows, Observer, ObserverSetting, Stateful, Writes
from allegro_md.simulation.continuation import restore, restore_fields
from allegro_md.simulation.device import device_of_atoms
from allegro_md.simulation.forces import ForceEvaluator
from allegro_md.simulation.groups import NO_GROUPS, Grouping, apply_groups, assign_groups, hold, refuse_conflicts
from allegro_md.simulation.loop import StageStart, StepLoop, Substepping
from allegro_md.simulation.motion import remove_momentum
from allegro_md.state import FIXED_IN_FILE, GROUP, AtomState, SpeciesTable
from allegro_md.timers import Timers


@dataclass(frozen=True)
class Parts:
    """Parts of a simulation, before any atom is made.

    Attributes:
        config: the input, with the engines that models run on.
        system: its atoms, of which each rank can make its part.
        potential: of all terms.
    """

    config: Input
    system: SystemBuilder
    potential: Potential


def build_parts(config: Input, comm: Comm) -> Parts:
    """Reads the structure and builds the potential of an input (collective).

    Raises:
        InputError: the system or its potential cannot be made.
    """
    return_large_arrays()
    system = build_structure(config.system, comm)
    with comm.collective_errors():
        potential = build_potential(config.potential, system.species_table)
    config = config.model_copy(update={"potential": resolved(config.potential, potential)})
    return Parts(config, system, potential)


def build_engine(
    parts: Parts, comm: Comm, timers: Timers, checkpoint: Checkpoint | None = None
) -> tuple[StepLoop, list[str]]:
    """Makes the atoms, or restores those of a checkpoint; joins them with forces, integrator and guard (collective).

    Returns:
        The simulation before its first evaluation of forces, and lines for the log.

    Raises:
        InputError: the parts do not fit each other, or the checkpoint is of another system.
    """
    comm.timers = timers
    index = 0 if checkpoint is None else stage_of(checkpoint)
    changes_cell = parts.config.changes_cell
    parts = replace(parts, config=parts.config.of_stage(index))
    config, info, remarks = parts.config, parts.potential.info, []
    with comm.collective_errors():
        device = device_of_atoms(config.potential, parts.potential)
    state = AtomState(parts.system.cell, parts.system.species_table, parts.system.n_total, device)
    if checkpoint is None:
        create_atoms(state, parts.system, config.system, config.parallel, comm, config)
    else:
        restore(state, checkpoint)
    grid, balancer = config.parallel.grid_for(comm.size), build_balancer(config.parallel.balance, comm.size)
    forces = ForceEvaluator(parts.potential, comm, config.parallel.skin, grid, timers, balancer)
    integrator, guard, grouping = build_dynamics(parts, state, forces, comm)
    if checkpoint is None:
        remarks = [*grouping.remarks, *remove_momentum(state, config.dynamics, info, comm, grouping.driven)]
    else:
        restore_fields(state, checkpoint, integrator.fields)
    loop = StepLoop(state, forces, integrator, comm, timers, guard)
    loop.changes_cell = changes_cell
    if checkpoint is not None:
        integrator.load_state_dict(checkpoint.extras["integrator"])
        wall, refinement = float(checkpoint.extras["wall"]), Substepping(*checkpoint.extras["refinement"])
        loop.resume(checkpoint.step, wall, refinement)
        if "stage" in checkpoint.extras:  # not in checkpoints of earlier versions
            loop.stage_start = StageStart(**checkpoint.extras["stage"]["start"])
    return loop, remarks


def build_dynamics(
    parts: Parts, state: AtomState, forces: ForceEvaluator, comm: Comm
) -> tuple[Integrator, Guard, Grouping]:
    """Builds what belongs to one stage of a run, and lets its groups act from now on (collective).

    Args:
        parts: with the input as it is for the stage (`Input.of_stage`).
        state: with its atoms and their groups.
        forces: of the run.
        comm: all ranks.

    Raises:
        InputError: the ensemble does not fit the system.
    """
    config = parts.config
    grouping = apply_groups(state, forces, config.group, config.dynamics, comm)
    integrator = new_integrator(parts, comm, state.cell, grouping)
    limit = hottest(config, integrator)
    return integrator, build_guard(config.guard, state.species_table, parts.potential.info, limit, comm), grouping


def build_structure(table: SystemTable, comm: Comm) -> SystemBuilder:
    """Describes the system of a ``[system]`` table, so that each rank can make its part (collective).

    Raises:
        InputError: the structure cannot be read.
    """
    if table.crystal is None:
        assert table.structure is not None
        return SystemBuilder.from_structure(
            table.structure,
            options=ReadOptions(table.frame, table.format, table.element_of_type, table.units, table.velocity_unit),
            repeat=table.repeat,
            periodic=table.periodic,
            masses=table.masses,
            honor_constraints=table.constraints == "honor",
            comm=comm,
        )
    crystal = table.crystal
    return SystemBuilder.from_crystal(
        crystal.symbol,
        crystal.lattice,
        crystal.a,
        c=crystal.c,
        repeat=tuple(a * b for a, b in zip(crystal.repeat, table.repeat, strict=True)),
        periodic=table.periodic,
        rattle=crystal.rattle,
        seed=crystal.seed,
        masses=table.masses,
    )


def create_atoms(
    state: AtomState, system: SystemBuilder, table: SystemTable, parallel: ParallelConfig, comm: Comm,
    config: Input | None = None,
) -> None:
    """Makes each rank's part of the system with its groups and its start velocities (collective).

    Args:
        state: of a rank, without atoms.
        system: all atoms.
        table: of the input.
        parallel: decomposition.
        comm: all ranks.
        config: for the groups and what is held; None: there are none.

    Raises:
        InputError: a group has no atoms, or groups exclude each other but have common atoms.
    """
    shape = parallel.grid_for(comm.size) or comm.bcast(choose_grid(comm.size, state.cell, *system.extent))
    decomposition = Decomposition.even(shape, state.cell.periodic)
    with comm.collective_errors():
        part = system.select(*decomposition.brick(comm.rank))
        if system.fixes_atoms or (config is not None and config.group):
            state.add_field(GROUP)
            part[GROUP.name] = system.fixed(part["id"]) * np.int64(FIXED_IN_FILE)
        state.set_local({name: state.device_array(values) for name, values in part.items()})
    del part
    assign_initial_owners(state, decomposition, comm)
    if config is not None:
        assign_groups(state, config.group, comm)
        if GROUP.name in state.fields:
            for stage in config.stages:
                refuse_conflicts(state, config.group, stage.dynamics, comm)
        hold(state, config.group, config.dynamics, comm)
    if table.velocities is not None:
        maxwell_boltzmann(state, table.velocities.temperature, table.velocities.seed, comm)


def stage_of(checkpoint: Checkpoint) -> int:
    """Returns the index of the stage that a checkpoint belongs to."""
    return int(checkpoint.extras["stage"]["index"]) if "stage" in checkpoint.extras else 0


def new_integrator(
    parts: Parts, comm: Comm, cell: Cell | None = None, grouping: Grouping = NO_GROUPS
) -> Integrator:
    """Builds the integrator of an input, as it is before the first step.

    Args:
        parts: the input, and what is made of it.
        comm: all ranks.
        cell: at the start; None: that of the system.
        grouping: what the groups mean for the motion.
    """
    cell = parts.system.cell if cell is None else cell
    setting = Setting(
        parts.potential.info, parts.system.n_total, cell, comm, grouping.n_held, grouping.driven, grouping.thermostatted
    )
    return build_integrator(parts.config.dynamics, setting)


def hottest(config: Input, integrator: Integrator) -> float:
    """Temperature beyond which a run has broken, K: as the input says, or ten times the highest it asks for."""
    if config.guard.max_temperature != "auto":
        return float(config.guard.max_temperature)
    velocities = config.system.velocities
    start = 0.0 if velocities is None else velocities.temperature
    return max(10_000.0, 10.0 * max(start, integrator.max_temperature))


def build_guard(
    table: GuardConfig, species: SpeciesTable, info: PotentialInfo, hottest: float, comm: Comm
) -> Guard:
    """Builds the guard of a ``[guard]`` table.

    Args:
        table: the limits of the input.
        species: of the system.
        info: of the potential, for the shortest distance it was made for.
        hottest: temperature limit, K.
        comm: all ranks.
    """
    distance: NDArray[np.float64] = np.zeros((len(species.symbols), len(species.symbols)))
    for pair, shortest in info.min_distance.items():
        symbols = pair.split("-")
        for i, first in enumerate(species.symbols):
            for j, second in enumerate(species.symbols):  # isotopes are species of one symbol
                if sorted((first, second)) == sorted(symbols):
                    distance[i, j] = table.min_distance * float(shortest)
    limits = Limits(
        force=table.max_force,
        displacement=table.max_displacement or math.inf,
        distance=distance,
        temperature=hottest,
        volume_ratio=table.max_volume_ratio,
    )
    return Guard(limits, comm)


def build_observers(
    config: Input, system: AtomState | SystemBuilder, potential: Potential, comm: Comm, index: int = 0,
    first_step: int = 0,
) -> tuple[list[Observer], list[Observer]]:
    """Builds the observers that an input asks for; nothing is written before the first call.

    Args:
        config: the input.
        system: for the elements, the number of atoms and the cell.
        potential: that they are to see.
        comm: all ranks.
        index: of a stage.
        first_step: steps made before the stage.

    Returns:
        Those that go through the whole run, and those of the stage.

    Raises:
        InputError: two of them have one name, under which a checkpoint keeps the state of only one; or the potential
            does not give what one needs.
        TypeError: one has a part of a protocol only, so that its files, state or memory would go unseen.
    """
    stage, output = config.stages[index], config.stages[index].output
    setting = ObserverSetting(
        directory=output.directory, n_total=system.n_total, thermo_every=output.thermo.every, comm=comm,
        species_table=system.species_table, cell=system.cell, timestep=stage.dynamics.length_of_step,
        steps=stage.dynamics.steps, first_step=first_step, changes_cell=config.changes_cell,
        results=f"{OBSERVE}/{stage.name}" if stage.name else OBSERVE,
    )  # fmt: skip
    of_run = [build(table, setting) for build, table in (*output.files(), *config.guard.observers())]
    of_stage = [build(table, setting) for build, table in output.observables()]
    for observer in (*of_run, *of_stage):
        require_whole(observer)
        require_given(observer, potential)
    names = [observer.name for observer in (*of_run, *of_stage)]
    for name in names:
        if names.count(name) > 1:
            what = f"{names.count(name)} observers are named '{name}'"
            raise InputError(what, "output.observe", "give each of them a name of its own, or remove one")
    return of_run, of_stage


def require_given(observer: Observer, potential: Potential) -> None:
    """Refuses an observer of the heat flux where a potential gives no centroid virial.

    Raises:
        InputError: names the potential.
    """
    for part in leaves(potential):
        if "centroid_virial" in observer.needs - part.info.provides:
            what = (
                f"'{observer.name}' is made of the heat flux, but the potential '{part.info.name}' gives forces on "
                "atoms only, not how the energy of each atom pushes its neighbors"
            )
            raise InputError(what, "output.observe", "remove this observer, or use a potential of the program")


def require_whole(observer: Observer) -> None:
    """Refuses an observer with some but not all methods of `Stateful`, `HoldsRows`, `Writes` or `HoldsMemory`.

    Raises:
        TypeError: its files, its state or its memory would be overlooked.
    """
    for protocol in (Stateful, HoldsRows, Writes, HoldsMemory):
        names = [name for name in vars(protocol) if not name.startswith("_")]
        missing = [name for name in names if not hasattr(observer, name)]
        if 0 < len(missing) < len(names):
            what = f"observer '{observer.name}' lacks {', '.join(missing)}"
            raise TypeError(f"{what}: reporting.{protocol.__name__} is all of {', '.join(names)}")
