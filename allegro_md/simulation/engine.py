"""The engine as a function of a whole system, on all ranks of a communicator: for systems of moderate size."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from allegro_md.comm import Comm
from allegro_md.integrators.base import Integrator
from allegro_md.observables import summed
from allegro_md.potentials import Potential
from allegro_md.simulation.forces import ForceEvaluator
from allegro_md.simulation.loop import StepLoop, Substepping
from allegro_md.state import AtomState, on_host
from allegro_md.timers import Timers
from allegro_md.verify.whole import Evaluated, System


class WholeEngine:
    """Evaluates systems from scratch, whatever rank the atoms begin on; see `verify.whole.Engine` (collective)."""

    def __init__(self, potential: Potential, comm: Comm, skin: float, grid: tuple[int, int, int] | None) -> None:
        """Joins the parts; `skin` in Å, `grid` None for the one with the least surface."""
        self._potential, self._comm, self._skin, self._grid = potential, comm, skin, grid

    def __call__(
        self, system: System, skin: float | None = None, order: NDArray[np.int64] | None = None
    ) -> Evaluated:
        """Energies, forces and virials of all atoms, on every rank; `order` (n_total,) of ids deals them out."""
        comm = self._comm
        forces, state = self._forces(skin), self._state(system, order)
        result = forces(state, frozenset({"virial", "virial_per_atom"}))
        fields = {name: state.host_local(name) for name in ("id", "position", "force")}
        total = np.zeros(0)
        if result.energy is not None:
            fields["energy"] = on_host(result.energy)
            total = comm.reduce(summed(result.energy, "energy", state))
        if result.virial is not None and result.virial_per_atom is not None:
            fields["virial"] = on_host(result.virial_per_atom)
            total = np.append(total, comm.reduce(result.virial))
        atoms = _by_id(fields, comm)
        return Evaluated(atoms["position"], atoms.get("energy"), atoms["force"], atoms.get("virial"), total)

    def conserved(
        self, system: System, velocity: NDArray[np.float64], integrator: Integrator, steps: int, parts: int
    ) -> NDArray[np.float64]:
        """The conserved energy at the start and after each step made in so many parts, (steps + 1,) eV.

        `velocity` (n_total, 3) Å/fs, in the order of ids.
        """
        state = self._state(system, None)
        state.array_local("velocity")[...] = state.device_array(velocity[state.host_local("id")])
        loop = StepLoop(state, self._forces(None), integrator, self._comm, Timers())
        loop.resume(0, 0.0, Substepping(parts, steps))
        loop.start()
        energies = [loop.measure().conserved]
        for step in range(1, steps + 1):
            loop.advance(step)
            energies.append(loop.measure().conserved)
        return np.array(energies)

    def _forces(self, skin: float | None) -> ForceEvaluator:
        return ForceEvaluator(self._potential, self._comm, self._skin if skin is None else skin, self._grid, Timers())

    def _state(self, system: System, order: NDArray[np.int64] | None) -> AtomState:
        """This rank's part of a system, by `order` (n_total,) of ids; None: ascending."""
        n = len(system.position)
        ids = (np.arange(n) if order is None else order)[self._comm.rank :: self._comm.size]
        return AtomState.from_arrays(
            system.cell, system.species_table, system.position[ids], species=system.species[ids], ids=ids, n_total=n
        )


def gathered(state: AtomState, comm: Comm) -> dict[str, NDArray[Any]]:
    """Species, positions and velocities of all atoms in id order, on every rank."""
    return _by_id({name: state.host_local(name) for name in ("id", "species", "position", "velocity")}, comm)


def _by_id(fields: dict[str, NDArray[Any]], comm: Comm) -> dict[str, NDArray[Any]]:
    """Per-atom arrays of all ranks in id order."""
    parts = comm.allgather(fields)
    order = np.argsort(np.concatenate([part["id"] for part in parts]))
    return {name: np.concatenate([part[name] for part in parts])[order] for name in fields}
