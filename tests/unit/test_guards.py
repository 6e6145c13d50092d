"""What the guards see, and what they say about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from allegro_md.cell import Cell
from allegro_md.comm import Comm
from allegro_md.errors import PhysicsError
from allegro_md.evaluation import Evaluation
from allegro_md.exact import FORCE_SCALE
from allegro_md.guards import ForceStdGuard, Guard, Limits
from allegro_md.neighbors.list import NeighborList
from allegro_md.reporting import Snapshot, Thermo
from allegro_md.state import AtomState, SpeciesTable

SALT = SpeciesTable(("Na", "Cl"), np.array([11, 17]), np.array([22.99, 35.45]))
LOOSE = Limits(force=1000.0, displacement=1.0, distance=np.zeros((2, 2)), temperature=1e4)


def line(places: list[float], skin: float = 0.5) -> tuple[AtomState, NeighborList]:
    """Atoms along x in free space, Na and Cl in turn, with ids that are not their places in memory."""
    n = len(places)
    state = AtomState(Cell.from_rows(np.zeros((3, 3)), (False, False, False)), SALT, n)
    state.set_local(
        {
            "id": torch.arange(10, 10 + n),
            "species": torch.arange(n, dtype=torch.int16) % 2,
            "position": torch.tensor(places, dtype=torch.float64)[:, None] * torch.tensor([1.0, 0.0, 0.0]),
            "velocity": torch.zeros(n, 3, dtype=torch.float64),
        }
    )
    state.all("shift").zero_()
    state.all("force").zero_()
    neighbors = NeighborList(5.0, skin)
    neighbors.build(state)
    return state, neighbors


def look(guard: Guard, state: AtomState, neighbors: NeighborList, timestep: float) -> None:
    guard.require(guard.measure(state, neighbors, timestep), state, neighbors, timestep)


def raised(guard: Guard, state: AtomState, neighbors: NeighborList, timestep: float = 2.0) -> PhysicsError:
    with pytest.raises(PhysicsError) as caught:
        look(guard, state, neighbors, timestep)
    return caught.value


@pytest.mark.parametrize("excess", [4, 64, 10**5])
def test_a_force_just_beyond_the_limit(excess: int) -> None:
    """By units of 2⁻⁴⁴ eV/Å, less than float32 or another order of rounding can see: the atom is still named."""
    state, neighbors = line([0.0, 2.0, 4.5])
    state.local("force")[1, 0] = int(1000 * FORCE_SCALE) + excess
    error = raised(Guard(LOOSE, Comm.serial()), state, neighbors)
    assert list(error.atoms) == [11]
    assert "the force on atom 11 (Cl) is 1000 eV/Å" in str(error)


def test_nothing_to_say() -> None:
    state, neighbors = line([0.0, 2.0, 4.5])
    state.local("velocity")[:] = 0.28  # 0.97 Å in 2 fs
    look(Guard(LOOSE, Comm.serial()), state, neighbors, 2.0)
    state, neighbors = line([])
    look(Guard(LOOSE, Comm.serial()), state, neighbors, 2.0)


def test_force() -> None:
    state, neighbors = line([0.0, 2.0, 4.5])
    state.local("force")[1, 2] = int(-1500.0 * FORCE_SCALE)
    state.local("force")[2, 0] = int(2000.0 * FORCE_SCALE)
    error = raised(Guard(LOOSE, Comm.serial()), state, neighbors)
    assert error.atoms == (12, 11)
    assert "force on atom 12 (Na) is 2000 eV/Å; 1000 eV/Å are allowed (guard.max_force); also atoms 11" in str(error)


def test_atoms_of_another_rank_that_obey_the_limit_are_not_named() -> None:
    """Each rank tells its own longest, whether or not it is the rank where the limit is passed."""
    state, neighbors = line([0.0, 2.0, 4.5])
    state.local("force")[1, 0] = int(900.0 * FORCE_SCALE)
    told: list[Any] = []
    obeying, passing = Comm.serial(), Comm.serial()
    obeying.allgather = lambda value: told.append(value) or [value]  # type: ignore[func-returns-value, method-assign]
    passing.allgather = lambda value: [told[0], value]  # type: ignore[method-assign]
    with pytest.raises(PhysicsError):
        Guard(LOOSE, obeying).require(np.array([1.0, -1.0, -1.0]), state, neighbors, 2.0)
    state.local("id")[:] += 10
    state.local("force")[2, 0] = int(2000.0 * FORCE_SCALE)
    assert told[0] and raised(Guard(LOOSE, passing), state, neighbors).atoms == (22,)


def on_ranks(atoms: list[list[int]], beyond: NDArray[np.float64], make: Callable[[], Any], limits: Limits) -> set[str]:
    """What all ranks say, each of which has some of the same atoms, by their places in the state that is made."""
    states, told = [make() for _ in atoms], []
    for (state, neighbors), mine in zip(states, atoms, strict=True):
        order = torch.tensor([*mine, *(k for k in range(state.n_local) if k not in mine)])
        for name in ("id", "species", "position", "velocity", "force"):
            state.all(name)[:] = state.all(name)[order]
        neighbors.build(state)  # before the others are ghosts: the lists are those of all atoms
        state.n_local, state.n_ghost = len(mine), state.n_local - len(mine)
        comm = Comm.serial()
        comm.allgather = lambda value: told.append(value) or [value]  # type: ignore[func-returns-value, method-assign]
        with pytest.raises(PhysicsError):
            Guard(limits, comm).require(beyond, state, neighbors, 2.0)
    said = set()
    for (state, neighbors), _ in zip(states, atoms, strict=True):
        comm = Comm.serial()
        comm.allgather = lambda value: told  # type: ignore[method-assign]
        with pytest.raises(PhysicsError) as caught:
            Guard(limits, comm).require(beyond, state, neighbors, 2.0)
        said.add(f"{caught.value} {caught.value.atoms}")
    return said


SPLITS = ([list(range(12))], [list(range(12))[::-1]], [[9, 3, 0, 7, 11], [2, 1], [10, 4, 5, 8, 6]])


def test_equal_offences_are_named_alike_by_any_number_of_ranks() -> None:
    """More atoms than are named have equal forces, moves and distances: those with the lowest ids are named."""
    limits = Limits(1000.0, 1.0, np.full((2, 2), 1.5), 1e4)

    def make() -> tuple[AtomState, NeighborList]:
        state, neighbors = line([float(k) for k in range(12)])
        state.local("force")[:, 0] = int(2000.0 * FORCE_SCALE)
        state.local("velocity")[:, 0] = np.nan
        return state, neighbors

    for which, words in enumerate(("atom 10 (Na) is 2000", "atom 10 (Na) is inf", "atom 10 (Na) and atom 11 (Cl)")):
        beyond = np.full(3, -1.0)
        beyond[which] = 1.0
        said = set().union(*(on_ranks(split, beyond, make, limits) for split in SPLITS))
        assert len(said) == 1 and words in said.pop()


@pytest.mark.parametrize("speed", [0.6, np.nan, np.inf])
def test_displacement(speed: float) -> None:
    state, neighbors = line([0.0, 2.0])
    state.local("velocity")[1, 1] = speed
    error = raised(Guard(LOOSE, Comm.serial()), state, neighbors)
    assert error.atoms == (11,) and "guard.max_displacement" in str(error)
    look(Guard(LOOSE, Comm.serial()), state, neighbors, 0.0) if np.isfinite(speed) else None


def test_distance_by_pair_of_species() -> None:
    distance = np.array([[3.0, 1.5], [1.5, 2.0]])
    guard = Guard(Limits(1000.0, 1.0, distance, 1e4), Comm.serial())
    state, neighbors = line([0.0, 2.0, 4.5])  # Na–Cl 2.0, Cl–Na 2.5, Na–Na 4.5
    look(guard, state, neighbors, 2.0)
    state.local("position")[1, 0] = 3.1  # Cl–Na 1.4
    assert neighbors.skin_excess(state) > 0.0  # the engine asks before every evaluation
    error = raised(guard, state, neighbors)
    assert set(error.atoms) <= {11, 12} and "1.4 Å apart; 1.5 Å are allowed (guard.min_distance)" in str(error)


def test_distances_are_never_missed_between_rebuilds() -> None:
    """The pass over all pairs is left out only where no pair can have come too close; here all are looked at."""
    rng = np.random.default_rng(4)
    guard = Guard(Limits(1e9, 1e9, np.full((2, 2), 1.0), 1e9), Comm.serial())
    trips = 0
    state, neighbors = line(list(1.35 * np.arange(12.0)), skin=1.0)
    for _ in range(400):
        state.local("position")[:, 0] += torch.from_numpy(rng.normal(scale=0.02, size=12))
        if neighbors.skin_excess(state) > 0.0:
            neighbors.build(state)
        x = np.sort(state.local("position")[:, 0].numpy())
        if np.diff(x).min() < 1.0:
            raised(guard, state, neighbors)
            trips += 1
            state.local("position")[:, 0] = torch.from_numpy(1.35 * np.arange(12.0))
            neighbors.build(state)
        else:
            look(guard, state, neighbors, 2.0)
    assert trips > 3


def in_a_cell(state: AtomState, neighbors: NeighborList, scale: float, moved: float) -> None:
    """Strains the line of atoms and moves the middle one."""
    state.cell = state.cell.with_matrix(np.eye(3) * scale)
    state.local("position")[:, 0] = torch.tensor([0.0, 2.0 * scale - moved, 4.5 * scale])
    neighbors.skin_excess(state)


def test_pairs_are_not_measured_in_every_step_of_a_changing_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    """While cell and atoms have changed by less than the closest pair has to spare, measuring once is enough."""
    state, neighbors = line([0.0, 2.0, 4.5])
    guard = Guard(Limits(1000.0, 1.0, np.full((2, 2), 1.5), 1e4), Comm.serial())
    scans, measure = [], Guard._closest

    def counted(*args: Any) -> Any:
        scans.append(1)
        return measure(*args)

    monkeypatch.setattr(Guard, "_closest", counted)
    for scale, moved in ((1.0, 0.0), (1.02, 0.1), (0.98, 0.1), (0.97, 0.05)):
        in_a_cell(state, neighbors, scale, moved)
        look(guard, state, neighbors, 2.0)
    assert len(scans) == 1


@pytest.mark.parametrize("first", [1.0, 1.3])
def test_compression_is_found(first: float) -> None:
    """Also where pairs were measured after the cell had grown."""
    state, neighbors = line([0.0, 2.0, 4.5])
    guard = Guard(Limits(1000.0, 1.0, np.full((2, 2), 1.5), 1e4), Comm.serial())
    in_a_cell(state, neighbors, first, 0.0)
    look(guard, state, neighbors, 2.0)
    in_a_cell(state, neighbors, 0.74, 0.0)
    assert "(guard.min_distance)" in str(raised(guard, state, neighbors))


@pytest.mark.parametrize("kelvin", [2e4, np.nan])
def test_temperature(kelvin: float) -> None:
    guard = Guard(LOOSE, Comm.serial())
    with pytest.raises(PhysicsError, match="guard.max_temperature"):
        guard.temperature(Thermo(0, 0, 0, 0, kelvin, 0, 1, np.zeros(6)))
    guard.temperature(Thermo(0, 0, 0, 0, 300.0, 0, 1, np.zeros(6)))


def spread_of(*std: float) -> Evaluation:
    return Evaluation({"force_std": torch.tensor(std, dtype=torch.float64)})


def test_force_std() -> None:
    state, _ = line([0.0, 2.0, 4.5])
    guard = ForceStdGuard(0.25, 5, Comm.serial())
    guard(Snapshot(0, 0.0, state, 0.0, spread_of(0.25, 0.0, 0.1)))
    with pytest.raises(PhysicsError, match="force on atom 11 .Cl. is 0.5 eV/Å; 0.25 eV/Å are allowed") as caught:
        guard(Snapshot(5, 5.0, state, 0.0, spread_of(0.3, 0.5, 0.1)))
    assert caught.value.atoms == (11, 10) and "(guard.max_force_std); also atoms 10" in str(caught.value)
    assert [step for step in range(12) if guard.trigger(step)] == [0, 5, 10]
