"""Guards: whether the physics still holds, looked at in every step on values all ranks share.

A blow-up is found in the step in which it happens, with the atoms that caused it, before a frame of it is written.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from allegro_md.backends import backend_for
from allegro_md.backends.cpu.limits import clearances
from allegro_md.comm import Comm
from allegro_md.config.guard import GuardConfig
from allegro_md.errors import PhysicsError
from allegro_md.exact import FORCE_SCALE
from allegro_md.neighbors.list import NeighborList
from allegro_md.reporting import PRIORITY, ObserverSetting, Snapshot, Thermo
from allegro_md.state import AtomState, DeviceArray, on_host
from allegro_md.triggers import Every

MOST_ATOMS = 10
"""Atoms that a message and the file of offenders name."""


@dataclass(frozen=True)
class Limits:
    """Beyond these a run ends.

    Attributes:
        force: largest force on an atom, eV/Å.
        displacement: farthest move of an atom in one step, Å; infinite: none.
        distance: (species, species) Å, least distance of a pair; 0: none.
        temperature: K.
        volume_ratio: of the volume and that at the beginning of the stage, and of that and the volume; 0: none.
    """

    force: float
    displacement: float
    distance: NDArray[np.float64]
    temperature: float
    volume_ratio: float = 0.0


class Guard:
    """Looks at a state after every step.

    What it measures takes part in the one reduction at the end of a step; only a limit that is passed costs more.
    """

    FINE = np.full(3, -1.0)
    """Measured where there is no guard."""

    def __init__(self, limits: Limits, comm: Comm) -> None:
        """`limits` are the same on all ranks."""
        self._limits, self._comm = limits, comm
        self._watches_distance = bool((limits.distance > 0.0).any())
        self._measured: NeighborList | None = None
        self._offsets: DeviceArray | None = None
        self._clearance = 0.0

    def measure(self, state: AtomState, lists: NeighborList, timestep: float) -> NDArray[np.float64]:
        """Excess of this rank's atoms over the limits of force (eV/Å), last move (Å) and distance (Å).

        Args:
            state: with forces and velocities of the same step.
            lists: the lists the forces were made with.
            timestep: of the last move, fs; 0: there was none.

        Returns:
            (3,) float64; not positive within the limits.
        """
        largest_length = backend_for(state.device).limits.largest_length
        return np.array(
            [
                largest_length(state.array_local("force")) / FORCE_SCALE - self._limits.force,
                largest_length(state.array_local("velocity")) * timestep - self._limits.displacement,
                -self._least_clearance(state, lists) if self._watches_distance else -1.0,
            ]
        )

    def require(self, beyond: NDArray[np.float64], state: AtomState, lists: NeighborList, timestep: float) -> None:
        """Ends the run where a limit is passed (collective).

        Args:
            beyond: (3,) float64, the largest of what the ranks have measured.
            state, lists, timestep: as given to `measure`.

        Raises:
            PhysicsError: a limit is passed; names the worst atoms (on all ranks).
        """
        limits = self._limits
        if beyond[0] > 0.0:
            force = state.host_local("force") / FORCE_SCALE
            _blame(self._comm, "max_force", _long(state, force, limits.force, "the force on", "eV/Å"))
        if beyond[1] > 0.0:
            move = state.host_local("velocity") * timestep
            _blame(self._comm, "max_displacement", _long(state, move, limits.displacement, "a step of", "Å"))
        if beyond[2] > 0.0:
            _blame(self._comm, "min_distance", self._close_pairs(state, lists))

    def temperature(self, thermo: Thermo) -> None:
        """Checks a measured temperature.

        Raises:
            PhysicsError: it is beyond the limit (on all ranks).
        """
        if not thermo.temperature <= self._limits.temperature:
            raise PhysicsError(
                f"the temperature is {thermo.temperature:.6g} K, beyond guard.max_temperature = "
                f"{self._limits.temperature:g} K"
            )

    def cell(self, start: float, volume: float, measure: Callable[[], Thermo]) -> None:
        """Checks the volume of a cell that changes (collective).

        Args:
            start: volume at the beginning of the stage, Å³; NaN where the cell has none.
            volume: now, Å³.
            measure: the observables of this step, for the message.

        Raises:
            PhysicsError: the cell has collapsed or exploded (on all ranks).
        """
        limit = self._limits.volume_ratio
        if not limit or not math.isfinite(start) or start <= limit * volume <= limit * limit * start:
            return
        thermo = measure()
        what = "collapsed" if volume < start else "expanded without end"
        raise PhysicsError(
            f"the cell has {what}: its volume is {volume:.6g} Å³, {volume / start:.3g} of that at the beginning of the "
            f"stage, beyond guard.max_volume_ratio = {limit:g}; the density is {thermo.density:.4g} g/cm³, the "
            f"pressure {thermo.pressure:.4g} GPa — is the pressure or the deformation that the input asks for meant, "
            "is barostat_time too short, or does the model predict wrong stresses?"
        )

    def _least_clearance(self, state: AtomState, neighbors: NeighborList) -> float:
        """A lower bound of distance − limit over all pairs, exact where it could be negative.

        The pairs are measured once per list; until atoms may have come closer than that allows, nothing is to be done.
        """
        if neighbors is not self._measured or neighbors.offsets is not self._offsets:
            self._clearance = self._closest(state, neighbors)[0] - neighbors.max_separation
            self._measured, self._offsets = neighbors, neighbors.offsets
        bound = self._clearance - neighbors.max_approach
        return bound if bound >= 0.0 else self._closest(state, neighbors)[0]

    def _closest(self, state: AtomState, neighbors: NeighborList) -> tuple[float, int, int]:
        lists = neighbors.offsets, neighbors.neighbors
        return backend_for(state.device).limits.least_clearance(state, lists, self._limits.distance)

    def _close_pairs(self, state: AtomState, neighbors: NeighborList) -> list[_Offence]:
        """The local atoms that are closest to another one, each with that one, beyond the limit."""
        lists = (on_host(neighbors.offsets), on_host(neighbors.neighbors))
        nearest, partner = clearances(state, lists, self._limits.distance)
        nearest, ids, species = nearest[: state.n_local], state.host_all("id"), state.host_all("species")
        far = [i for i in _order(-nearest, ids[: state.n_local]) if nearest[i] < 0.0]
        found = []
        for i in far:
            j, clearance = int(partner[i]), float(nearest[i])
            limit = float(self._limits.distance[int(species[i]), int(species[j])])
            pair, distance = f"{_name(state, i)} and {_name(state, j)}", clearance + limit
            text = f"{pair} are {distance:.6g} Å apart; {limit:.4g} Å are allowed"
            found.append(_Offence(-clearance, int(ids[i]), text, int(ids[j])))
        return found


class ForceStdGuard:
    """Observer that ends a run where the members of a committee disagree about the force on an atom."""

    name = "force_std"
    priority = PRIORITY["stop"]
    needs = frozenset({"force_std"})

    def __init__(self, limit: float, every: int, comm: Comm) -> None:
        """`limit` in eV/Å; `every`: steps between looks."""
        self.trigger = Every(every)
        self._limit, self._comm = limit, comm

    def __call__(self, snapshot: Snapshot) -> None:
        """Checks all atoms.

        Raises:
            PhysicsError: the limit is passed; names the worst atoms (on all ranks).
        """
        std = snapshot.force_std
        assert std is not None
        if self._comm.max(float(std.max(initial=0.0))) > self._limit:
            what, rows = "the standard deviation of the force on", std[:, None]
            _blame(self._comm, "max_force_std", _long(snapshot.state, rows, self._limit, what, "eV/Å"))


def build(table: GuardConfig, setting: ObserverSetting) -> ForceStdGuard:
    """Makes the observer of an input table that has a limit."""
    assert table.max_force_std is not None
    return ForceStdGuard(table.max_force_std, table.force_std_every or setting.thermo_every, setting.comm)


@dataclass(frozen=True)
class _Offence:
    """Excess of an atom over a limit, its id, the message, and the id of the other atom that this names, if any."""

    excess: float
    atom: int
    text: str
    partner: int = -1


def _blame(comm: Comm, key: str, offences: list[_Offence]) -> NoReturn:
    """Raises, on all ranks alike, for the worst of all ranks' offences."""
    found = sorted((o for part in comm.allgather(offences) for o in part), key=lambda o: (-o.excess, o.atom))
    found = [offence for offence in found if offence.excess > 0.0] or found[:1]  # the longest of a rank may be within
    others = ", ".join(str(o.atom) for o in found[1:MOST_ATOMS] if o.atom != found[0].partner)
    raise PhysicsError(
        f"{found[0].text} (guard.{key})"
        + (f"; also atoms {others}" if others else "")
        + " — is the timestep too long, the start far from equilibrium, or the model far from its training?",
        [o.atom for o in found[:MOST_ATOMS]],
    )


def _order(excess: NDArray[np.float64], ids: NDArray[np.int64]) -> list[int]:
    """Indices of the `MOST_ATOMS` largest of `excess` (n,) of atoms; among equals those with the lowest `ids` (n,)."""
    order: list[int] = np.lexsort((ids, -excess))[:MOST_ATOMS].tolist()
    return order


def _name(state: AtomState, index: int) -> str:
    symbol = state.species_table.symbols[int(state.array_all("species")[index])]
    return f"atom {int(state.array_all('id')[index])} ({symbol})"


def _long(state: AtomState, rows: NDArray[np.float64], limit: float, what: str, unit: str) -> list[_Offence]:
    """The local atoms with the longest `rows` (n_local, 3) float64, in `unit`, beyond the limit.

    The longest of a rank is always among them, even within the limit: where this was found passed, on this rank or
    another, lengths may have been rounded in another way.
    """
    length = np.nan_to_num(np.linalg.norm(rows, axis=1), nan=math.inf)
    ids = state.host_local("id")
    far = [i for k, i in enumerate(_order(length, ids)) if k == 0 or length[i] > limit]
    return [
        _Offence(
            float(length[i] - limit), int(ids[i]),
            f"{what} {_name(state, i)} is {float(length[i]):.6g} {unit}; {limit:g} {unit} are allowed",
        )
        for i in far
    ]  # fmt: skip
