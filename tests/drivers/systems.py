"""The systems of the exactness tests: every rank makes the same arrays and keeps its share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

import numpy as np
import torch
from ase.data import atomic_numbers
from numpy.typing import NDArray

from allegro_md.cell import Cell
from allegro_md.comm import Comm
from allegro_md.config import load_input
from allegro_md.config.dynamics import INTEGRATORS
from allegro_md.evaluation import Evaluation, Needs, PotentialInfo
from allegro_md.exact import FORCE_SCALE
from allegro_md.integrators import build_integrator
from allegro_md.integrators.base import Clock, Collective, EvaluateForces, Integrator, Setting
from allegro_md.integrators.nve import VelocityVerlet
from allegro_md.integrators.nvt_bussi import NvtBussiConfig
from allegro_md.integrators.nvt_langevin import Langevin, NvtLangevinConfig
from allegro_md.integrators.steps import drift, kick, strain
from allegro_md.models.allegro.architecture import parse_architecture
from allegro_md.models.allegro.network import Network
from allegro_md.neighbors.list import NeighborList
from allegro_md.observables import VOIGT
from allegro_md.potentials import build_potential
from allegro_md.potentials import fused as fused_module
from allegro_md.potentials.allegro import AllegroPotential
from allegro_md.potentials.base import Potential
from allegro_md.potentials.fused import FusedPotential
from allegro_md.potentials.lj import LennardJones
from allegro_md.potentials.sum import SumPotential
from allegro_md.simulation.build import Parts, build_structure, create_atoms, new_integrator
from allegro_md.state import AtomState, Field, SpeciesTable
from allegro_md.units import AMU_A2_PER_FS2, BOLTZMANN

INPUTS = Path(__file__).resolve().parents[2] / "inputs"

Array = NDArray[np.float64]


@dataclass
class Case:
    """A system ready to run on this rank, any atoms on any rank."""

    state: AtomState
    potential: Potential
    integrator: Integrator


def spread(
    x: Array,
    rows: Array,
    periodic: tuple[bool, bool, bool],
    comm: Comm,
    velocity: Array | None = None,
    mass: float = 39.948,
    origin: Array | None = None,
    symbols: tuple[str, ...] = ("Ar",),
) -> AtomState:
    """A state in which rank r begins with the atoms r, r + size, …: as wrong as can be; species in turn."""
    cell = Cell.from_rows(rows, periodic)
    if origin is not None:
        cell = Cell(cell.matrix, cell.periodic, origin, cell.absent)
    numbers = np.array([atomic_numbers[s] for s in symbols])
    state = AtomState(cell, SpeciesTable(symbols, numbers, np.full(len(symbols), mass)), len(x))
    ids = np.arange(comm.rank, len(x), comm.size)
    velocity = np.zeros_like(x) if velocity is None else velocity
    state.set_local(
        {
            "id": torch.from_numpy(ids),
            "species": torch.from_numpy((ids % len(symbols)).astype(np.int16)),
            "position": torch.from_numpy(x[ids]),
            "velocity": torch.from_numpy(velocity[ids]),
        }
    )
    return state


def lennard_jones(epsilon: float, sigma: float, cutoff: float) -> LennardJones:
    """One species."""
    return LennardJones(np.array([[epsilon]]), np.array([[sigma]]), cutoff)


def grid_points(shape: tuple[int, int, int], spacing: float, noise: float, seed: int) -> Array:
    """A simple cubic piece of matter, shaken."""
    points = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), -1).reshape(-1, 3) * spacing
    return points + np.random.default_rng(seed).normal(scale=noise, size=points.shape)


def thermal(n: int, mass: float, temperature: float, seed: int) -> Array:
    """Velocities (Å/fs) without net momentum."""
    v = np.random.default_rng(seed).normal(size=(n, 3)) * np.sqrt(BOLTZMANN * temperature / (mass * AMU_A2_PER_FS2))
    return v - v.mean(axis=0)


class Breathing:
    """Velocity Verlet in a cell that is stretched and sheared a little every step, atoms going along: no physics,
    but what a barostat will do to the engine.
    """

    needs: ClassVar[Needs] = frozenset({"virial"})
    stochastic: ClassVar[bool] = False
    order: ClassVar[int] = 0
    heats_atoms_at_rest: ClassVar[bool] = True
    changes_cell: ClassVar[bool] = True
    fields: ClassVar[tuple[Field, ...]] = ()

    def __init__(self, timestep: float, cell: Cell, collective: Collective) -> None:
        self.timestep = timestep
        self.degrees_of_freedom, self.max_temperature, self.finished = 3, 0.0, False
        self._start = np.array(cell.matrix)
        self._collective = collective

    def step(self, state: AtomState, forces: EvaluateForces, clock: Clock) -> Evaluation:
        kick(state, 0.5 * clock.dt)
        drift(state, clock.dt)
        matrix = self._collective.on_root(lambda: self._start @ _deformation(clock.step))
        strain(state, matrix)
        evaluation = forces(state, self.needs)
        kick(state, 0.5 * clock.dt)
        return evaluation

    def extended_energy(self) -> float:
        return 0.0

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


def _deformation(index: int) -> Array:
    a = np.sin(2.0 * np.pi * index / 40.0)
    return np.eye(3) + a * np.array([[0.04, 0.0, 0.0], [0.05, -0.03, 0.0], [-0.02, 0.03, 0.05]])


def from_input(name: str, comm: Comm, tiles: int | None, *settings: str) -> Case:
    """An input of the project, made the way the program makes it, or with blocks of so many tiles."""
    config = load_input(INPUTS / name, settings)
    system = build_structure(config.system, comm)
    state = AtomState(system.cell, system.species_table, system.n_total)
    create_atoms(state, system, config.system, config.parallel, comm)
    term: Any = config.potential[0]
    if tiles is None:
        potential = build_potential(config.potential, state.species_table)
    else:
        kind = AllegroPotential if term.engine == "reference" else FusedPotential
        potential = kind(term.model, state.species_table.symbols, term.precision, tiles=tiles)
    return Case(state, potential, new_integrator(Parts(config, system, potential), comm))


def quickstart(comm: Comm, tiles: int | None = None) -> Case:
    """Cu with vacancies at 900 K, a trained Allegro model, Nosé–Hoover."""
    return from_input("quickstart.toml", comm, tiles)


def network(comm: Comm, tiles: int | None = None) -> Case:
    """The same on the reference engine."""
    return from_input("quickstart.toml", comm, tiles, 'potential.engine="reference"')


def argon(comm: Comm, tiles: int | None = None) -> Case:
    """Liquid argon, Lennard-Jones, Nosé–Hoover."""
    return from_input("argon-lj.toml", comm, None)


def triclinic(comm: Comm, tiles: int | None = None) -> Case:
    """Hot matter in a strongly tilted cell with its corner away from the origin."""
    rows = np.array([[18.2, 0.0, 0.0], [9.5, 18.2, 0.0], [-11.0, 13.0, 18.2]])
    x = grid_points((7, 7, 7), 2.6, 0.1, 11)
    state = spread(x, rows, (True,) * 3, comm, thermal(len(x), 10.0, 1500.0, 12), 10.0, np.array([3.1, -40.0, 7.7]))
    return Case(state, lennard_jones(0.05, 2.3, 5.0), VelocityVerlet(2.0, 3 * len(x) - 3))


def slab(comm: Comm, tiles: int | None = None) -> Case:
    """A hot slab and vacuum: cut along z, ranks have nothing."""
    x = grid_points((9, 9, 6), 2.6, 0.1, 21) + np.array([0.0, 0.0, 17.0])
    rows = np.diag([23.4, 23.4, 60.0])
    state = spread(x, rows, (True,) * 3, comm, thermal(len(x), 10.0, 3000.0, 22), 10.0)
    return Case(state, lennard_jones(0.2, 2.3, 5.0), VelocityVerlet(2.0, 3 * len(x) - 3))


def liquid(comm: Comm, tiles: int | None = None) -> Case:
    """A hot liquid that also streams: every atom leaves the box several times. The box is barely two cutoffs wide."""
    x = grid_points((5, 5, 5), 2.6, 0.1, 31)
    velocity = thermal(len(x), 4.0, 1500.0, 32) + np.array([0.06, 0.03, -0.04])
    state = spread(x, np.eye(3) * 13.0, (True,) * 3, comm, velocity, 4.0)
    return Case(state, lennard_jones(0.05, 2.3, 5.5), VelocityVerlet(2.0, 3 * len(x) - 3))


def langevin(comm: Comm, tiles: int | None = None) -> Case:
    """The same liquid with friction and noise, which are those of the atom wherever it is."""
    case = liquid(comm)
    table = NvtLangevinConfig(
        ensemble="nvt-langevin", timestep=2.0, steps=300, temperature=(1500.0, 2500.0), friction=0.001, seed=9
    )
    setting = Setting(case.potential.info, case.state.n_total, case.state.cell, comm)
    return Case(case.state, case.potential, Langevin(table, setting))


def breathing(comm: Comm, tiles: int | None = None) -> Case:
    """A cell that changes size and shape every step."""
    x = grid_points((6, 6, 6), 2.6, 0.1, 41)
    rows = np.array([[15.6, 0.0, 0.0], [3.0, 15.6, 0.0], [0.0, -4.0, 15.6]])
    state = spread(x, rows, (True,) * 3, comm, thermal(len(x), 10.0, 3000.0, 42), 10.0)
    return Case(state, lennard_jones(0.05, 2.3, 5.0), Breathing(2.0, state.cell, comm))


def crystal_under(comm: Comm, steps: int, rows: Array | None = None, **keys: Any) -> Case:
    """A hot fcc crystal of 256 atoms in a cell that npt-mtk moves far in so many steps of 2 fs."""
    corners = np.array([[0.0, 0.0, 0.0], [0.0, 0.5, 0.5], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0]])
    x = 3.56 * (np.array(list(np.ndindex(4, 4, 4)))[:, None, :] + corners).reshape(-1, 3)
    rows = np.eye(3) * 14.24 if rows is None else rows
    velocity = thermal(len(x), 10.0, 900.0, 61)
    state = spread(x, rows, (True,) * 3, comm, velocity, 10.0)
    potential = lennard_jones(0.05, 2.3, 5.0)
    table = {"ensemble": "npt-mtk", "timestep": 2.0, "steps": steps, "temperature": 300.0, "barostat_time": 300.0}
    validated = INTEGRATORS.table("npt-mtk").model_validate(table | keys)
    setting = Setting(potential.info, len(x), state.cell, comm)
    return Case(state, potential, INTEGRATORS.builder("npt-mtk")(validated, setting))


def squeezed(comm: Comm, tiles: int | None = None) -> Case:
    """The volume shrinks by more than 30 %."""
    return crystal_under(comm, 120, pressure=[0.0, 120.0])


def stretched(comm: Comm, tiles: int | None = None) -> Case:
    """One axis grows by more than 20 %, the others move as they will."""
    tension = [0.0, 0.0, -6.0, 0.0, 0.0, 0.0]
    return crystal_under(comm, 120, pressure=[[0.0] * 6, tension], cell="anisotropic")


def flipping(comm: Comm, tiles: int | None = None) -> Case:
    """A cell that is sheared until a lattice vector is replaced, and farther; the crystal fits the tilted cell."""
    shear = [0.0, 0.0, 0.0, 0.0, 0.0, -6.0]
    rows = np.array([[14.24, 0.0, 0.0], [7.12, 14.24, 0.0], [0.0, 0.0, 14.24]])
    return crystal_under(comm, 120, rows, pressure=[[0.0] * 6, shear], cell="flexible")


def sheared(comm: Comm, tiles: int | None = None) -> Case:
    """Hot matter in a flow of all components, whose cell is replaced by less tilted ones; stochastic rescaling."""
    x = grid_points((6, 6, 6), 2.6, 0.1, 61)
    rows = np.array([[15.6, 0.0, 0.0], [3.0, 15.6, 0.0], [0.0, -4.0, 15.6]])
    velocity = thermal(len(x), 10.0, 2000.0, 62)
    state = spread(x, rows, (True,) * 3, comm, velocity, 10.0, np.array([-3.0, 5.0, 11.0]))
    rate = {"xx": 2e-4, "zz": -3e-4, "xy": 5e-3, "xz": -4e-3, "yz": 3e-3}
    content = {"ensemble": "nvt-bussi", "timestep": 2.0, "steps": 200, "temperature": 2000.0, "deform": {"rate": rate}}
    potential = lennard_jones(0.05, 2.3, 5.0)
    setting = Setting(potential.info, len(x), state.cell, comm)
    return Case(state, potential, build_integrator(NvtBussiConfig.model_validate(content), setting))


class Ideal:
    """Atoms that do not see each other."""

    info = PotentialInfo("ideal", 1.0)
    members: tuple[Potential, ...] = ()

    def __call__(self, state: AtomState, lists: NeighborList, needs: Needs) -> Evaluation:
        n = state.n_local
        return Evaluation.of(state, needs, np.zeros(n), np.zeros((n, 6)))


STRIDE = 0.0625
"""Å per step and axis of the crossing atoms: a binary fraction, so that they come to lie on faces exactly."""


def crossing_start(apart: float) -> tuple[Array, Array]:
    """Atoms on the corner, the edges, the faces and the middle of a box of 8 Å, leaving in all 26 directions.

    Args:
        apart: how far the 26 that begin at one point are moved from it, along their way, Å.
    """
    directions = np.array([d for d in np.ndindex(3, 3, 3) if d != (1, 1, 1)]) - 1.0
    points = 4.0 * np.array(list(np.ndindex(2, 2, 2)))
    x = (points[:, None, :] + apart * directions).reshape(-1, 3)
    return x, np.tile(STRIDE * directions, (len(points), 1))


def ideal(comm: Comm, tiles: int | None = None) -> Case:
    """Straight lines across faces, edges and corners."""
    x, v = crossing_start(0.0)
    return Case(spread(x, np.eye(3) * 8.0, (True,) * 3, comm, v), Ideal(), VelocityVerlet(1.0, 3 * len(x) - 3))


def ideal_tilted(comm: Comm, tiles: int | None = None) -> Case:
    """The same in a tilted box, free along y: atoms that leave there never come back."""
    x, v = crossing_start(0.0)
    rows = np.array([[8.0, 0.0, 0.0], [4.0, 8.0, 0.0], [-8.0, 2.0, 8.0]])
    return Case(spread(x, rows, (True, False, True), comm, v), Ideal(), VelocityVerlet(1.0, 3 * len(x) - 3))


class Soft:
    """φ(r) = k (1 − r²/c²)², a gentle push: written with numpy, each pair for itself, by the rules of exactness."""

    info = PotentialInfo("soft", 2.0)
    members: tuple[Potential, ...] = ()
    strength = 0.2

    def __call__(self, state: AtomState, lists: NeighborList, needs: Needs) -> Evaluation:
        i, j = np.repeat(np.arange(state.n_local), np.diff(lists.offsets)), lists.neighbors
        x, s, h = state.all("position").numpy(), state.all("shift").numpy(), state.cell.matrix
        images = s[j] - s[i]
        d = np.stack(
            [
                (x[j, k] - x[i, k]) + (images[:, 0] * h[0, k] + images[:, 1] * h[1, k] + images[:, 2] * h[2, k])
                for k in range(3)
            ],
            axis=1,
        )
        r2 = d[:, 0] * d[:, 0] + d[:, 1] * d[:, 1] + d[:, 2] * d[:, 2]
        closeness = np.maximum(0.0, 1.0 - r2 / self.info.cutoff**2)
        g = (-2.0 * self.strength / self.info.cutoff**2 * closeness)[:, None] * d
        fixed = np.rint(g * FORCE_SCALE).astype(np.int64)
        np.add.at(state.all("force").numpy(), i, fixed)
        np.subtract.at(state.all("force").numpy(), j, fixed)
        energy, w = np.zeros(state.n_local), np.zeros((state.n_local, 6))
        np.add.at(energy, i, 0.5 * self.strength * closeness * closeness)
        for v, (a, b) in enumerate(VOIGT):
            np.add.at(w[:, v], i, -d[:, a] * g[:, b])
        return Evaluation.of(state, needs, energy, w)


def soft(comm: Comm, tiles: int | None = None) -> Case:
    """The same for atoms that push each other a little."""
    x, v = crossing_start(0.25)
    return Case(spread(x, np.eye(3) * 8.0, (True,) * 3, comm, v), Soft(), VelocityVerlet(1.0, 3 * len(x) - 3))


ALLOY: dict[str, Any] = {"symbols": ("Cu", "Ni"), "cutoff": 3.6, "average_neighbors": (9.0, 11.0)}
SMALL = {"widths": (16,)}

DENSE = {
    **ALLOY, "form": "dense", "layers": 1, "l_max": 1, "channels": 4, "scalars": 16, "embedding_width": 8,
    "embedding": {"kind": "bessel"}, "two_body": SMALL, "latent": SMALL, "readout": SMALL,
}  # fmt: skip
NETWORKS: dict[str, dict[str, Any]] = {
    "bilinear": {
        **ALLOY, "form": "residual", "layers": 1, "l_max": 2, "channels": 2, "latents": 16, "two_body": SMALL,
        "latent": {}, "readout": {},
    },
    "single-layer": DENSE,
    "multi-layer": DENSE | {"layers": 2},
}  # fmt: skip
"""Architectures of each class of the fused engine."""


@contextmanager
def centers_at_once(tiles: int | None) -> Iterator[None]:
    """Few centers per call of the fused engine, so that small systems take several calls; None: as many as always."""
    with mock.patch.object(fused_module, "CENTERS", fused_module.CENTERS if tiles is None else 32 * tiles):
        yield


def fused(kind: str, comm: Comm, tiles: int | None = None) -> Case:
    """A hot alloy with a network of random weights on the fused engine; what keeps it together is Lennard-Jones."""
    architecture = parse_architecture(NETWORKS[kind])
    x = grid_points((6, 6, 6), 2.6, 0.1, 51)
    rows = np.array([[15.6, 0.0, 0.0], [2.0, 15.6, 0.0], [0.0, -3.0, 15.6]])
    velocity = thermal(len(x), 10.0, 2000.0, 52) + np.array([0.06, 0.03, -0.04])
    state = spread(x, rows, (True,) * 3, comm, velocity, 10.0, symbols=architecture.symbols)
    network = FusedPotential(Network(architecture).initialize(5), architecture.symbols, tiles=tiles or 1)
    assert network.kind == kind
    table = np.ones((2, 2))
    total = SumPotential([network, LennardJones(0.1 * table, 2.3 * table, 3.6)])
    return Case(state, total, VelocityVerlet(2.0, 3 * len(x) - 3))


CASES: dict[str, Callable[..., Case]] = {
    "quickstart": quickstart,
    "network": network,
    "argon": argon,
    "triclinic": triclinic,
    "slab": slab,
    "liquid": liquid,
    "langevin": langevin,
    "breathing": breathing,
    "squeezed": squeezed,
    "stretched": stretched,
    "flipping": flipping,
    "sheared": sheared,
    "ideal": ideal,
    "ideal-tilted": ideal_tilted,
    "soft": soft,
    **{kind: partial(fused, kind) for kind in NETWORKS},
}
