"""Systems on one rank, driven by the engine's own step loop, and the series of observables they leave."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from allegro_md.cell import Cell
from allegro_md.comm import Comm
from allegro_md.exact import FORCE_SCALE
from allegro_md.integrators.nve import VelocityVerlet
from allegro_md.integrators.thermalize import maxwell_boltzmann
from allegro_md.io.structure import SystemBuilder
from allegro_md.potentials.base import Potential
from allegro_md.reporting import Snapshot, Thermo
from allegro_md.simulation.forces import ForceEvaluator
from allegro_md.simulation.loop import StepLoop
from allegro_md.state import AtomState, SpeciesTable
from allegro_md.timers import Timers
from allegro_md.triggers import Every, Trigger

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))  # the long tests and the benchmark scripts share their statistics

Array = NDArray[np.float64]


@dataclass
class Recorder:
    """Observer that keeps the observables of each step in memory, and the velocities where they are asked for."""

    rows: list[Thermo] = field(default_factory=list)
    velocities: list[Array] | None = None
    name: str = "recorder"
    priority: int = 10
    trigger: Trigger = Every(1)
    needs: frozenset[str] = frozenset({"thermo"})

    def __call__(self, snapshot: Snapshot) -> None:
        assert snapshot.thermo is not None
        self.rows.append(snapshot.thermo)
        if self.velocities is not None:
            self.velocities.append(by_id(snapshot.state, "velocity"))

    def __getitem__(self, name: str) -> Array:
        """One observable at every step so far."""
        return np.array([getattr(row, name) for row in self.rows])


def atoms(
    x: Array, v: Array | None, cell: Cell, masses: Sequence[float], kind: NDArray[np.int16] | None = None
) -> AtomState:
    """A state of given positions (Å) and velocities (Å/fs); species are told apart by their mass (amu)."""
    table = SpeciesTable(("X",) * len(masses), np.ones(len(masses), dtype=np.int64), np.array(masses))
    state = AtomState(cell, table, len(x))
    state.set_local(
        {
            "id": torch.arange(len(x)),
            "species": torch.from_numpy(np.zeros(len(x), np.int16) if kind is None else kind),
            "position": torch.from_numpy(np.array(x)),
            "velocity": torch.from_numpy(np.zeros_like(x) if v is None else np.array(v)),
        }
    )
    return state


def crystal(symbol: str, a: float, n: int, temperature: float, rattle: float = 0.0, seed: int = 1) -> AtomState:
    """An fcc crystal of n³ cubic cells with start velocities."""
    builder = SystemBuilder.from_crystal(symbol, "fcc", a, repeat=(n, n, n), rattle=rattle, seed=seed)
    state = AtomState(builder.cell, builder.species_table, builder.n_total)
    part = builder.select(np.zeros(3), np.ones(3))
    state.set_local({name: torch.from_numpy(values) for name, values in part.items()})
    maxwell_boltzmann(state, temperature, seed, Comm.serial())
    return state


def copy(state: AtomState) -> AtomState:
    """Own atoms of another state, in id order."""
    order = torch.argsort(state.local("id"))
    twin = AtomState(state.cell, state.species_table, state.n_total)
    twin.set_local({name: state.local(name)[order].clone() for name in ("id", "species", "position", "velocity")})
    return twin


def simulate(
    state: AtomState, potential: Potential, integrator: Any, steps: int, skin: float = 0.5,
    recorder: Recorder | None = None,
) -> Recorder:
    """Runs on one rank; observables of steps 0 … `steps`, or what the recorder given takes of them."""
    comm, timers, recorder = Comm.serial(), Timers(), recorder or Recorder()
    forces = ForceEvaluator(potential, comm, skin, None, timers)
    loop = StepLoop(state, forces, integrator, comm, timers)
    loop.observers = [recorder]
    loop.start()
    loop.advance(steps)
    return recorder


def by_id(state: AtomState, name: str) -> Array:
    """A field of the own atoms in id order; forces in eV/Å."""
    values = state.local(name)[torch.argsort(state.local("id"))].numpy().copy()
    return values / FORCE_SCALE if name == "force" else values


@dataclass(frozen=True)
class Engine:
    """The helpers of this file, for the tests."""

    atoms = staticmethod(atoms)
    crystal = staticmethod(crystal)
    copy = staticmethod(copy)
    simulate = staticmethod(simulate)
    by_id = staticmethod(by_id)
    Recorder: type[Recorder] = Recorder
    VelocityVerlet: type[VelocityVerlet] = VelocityVerlet


@pytest.fixture(scope="session")
def engine() -> Engine:
    return Engine()


@pytest.fixture(scope="session")
def data() -> Path:
    return ROOT / "tests" / "data"
