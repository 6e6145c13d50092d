"""Virials of atoms in the centroid form and the heat flux made of them, for every potential that gives them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from systems import INPUTS, NETWORKS, grid_points, lennard_jones

from allegro_md.cell import Cell
from allegro_md.comm import Comm
from allegro_md.config import EamTerm, ZblTerm
from allegro_md.evaluation import Evaluation
from allegro_md.exact import FORCE_SCALE
from allegro_md.models.allegro.architecture import parse_architecture
from allegro_md.models.allegro.network import Network
from allegro_md.potentials import build_potential
from allegro_md.potentials.allegro import AllegroPotential
from allegro_md.potentials.committee import Committee
from allegro_md.potentials.fused import FusedPotential
from allegro_md.potentials.sum import SumPotential
from allegro_md.simulation.forces import ForceEvaluator
from allegro_md.state import AtomState, SpeciesTable
from allegro_md.timers import Timers

Array = NDArray[np.float64]

SILVER = SpeciesTable(("Ag",), np.array([47]), np.array([107.87]))
ALLOY = SpeciesTable(("Cu", "Ni"), np.array([29, 28]), np.array([63.5, 58.7]))


def eam() -> Any:
    return build_potential([EamTerm(kind="eam", file=INPUTS / "potentials" / "ag-sutton-chen.eam.alloy")], SILVER)


def zbl() -> Any:
    return build_potential([ZblTerm(kind="zbl", cutoff=4.0)], SILVER)


def network(kind: str, seed: int = 5) -> Network:
    return Network(parse_architecture(NETWORKS[kind])).initialize(seed)


def fused(kind: str, precision: str = "double") -> Any:
    return FusedPotential(network(kind), ALLOY.symbols, precision)


def committee() -> Any:
    return Committee([network("single-layer", seed) for seed in (1, 2, 3)], ALLOY.symbols, "reference", "double")


POTENTIALS: dict[str, tuple[Callable[[], Any], SpeciesTable]] = {
    "lj": (lambda: lennard_jones(0.01, 2.2, 5.0), SILVER),
    "eam": (eam, SILVER),
    "zbl": (zbl, SILVER),
    "sum": (lambda: SumPotential([lennard_jones(0.01, 2.2, 5.0), eam(), zbl()]), SILVER),
    "committee": (committee, ALLOY),
    "reference": (lambda: AllegroPotential(network("multi-layer"), ALLOY.symbols, "double"), ALLOY),
    **{kind: (partial(fused, kind), ALLOY) for kind in NETWORKS},
    **{f"{kind}-mixed": (partial(fused, kind, "mixed"), ALLOY) for kind in NETWORKS},
}

ROWS = np.array([[6.9, 0.0, 0.0], [2.0, 5.2, 0.0], [-3.0, 1.0, 7.8]])
"""Thinner than the cutoffs: an atom is its own neighbor, and there are images beyond the first."""


def evaluated(
    potential: Any, table: SpeciesTable, position: Array, cell: Cell, needs: frozenset[str] = frozenset()
) -> tuple[Evaluation, AtomState]:
    n = len(position)
    state = AtomState(cell, table, n)
    state.set_local(
        {
            "id": torch.arange(n),
            "species": torch.from_numpy((np.arange(n) % len(table.symbols)).astype(np.int16)),
            "position": torch.from_numpy(position),
            "velocity": torch.zeros(n, 3, dtype=torch.float64),
        }
    )
    forces = ForceEvaluator(potential, Comm.serial(), 0.4, None, Timers())
    return forces(state, needs | {"centroid_virial"}), state


def in_order(rows: Any, state: AtomState) -> Array:
    """Rows of local atoms in the order of ids."""
    ordered = np.empty(np.shape(rows))
    ordered[state.local("id").numpy()] = rows
    return ordered


@pytest.fixture(scope="module", params=POTENTIALS)
def case(request: Any) -> tuple[str, Any, SpeciesTable]:
    make, table = POTENTIALS[request.param]
    return request.param, make(), table


def test_their_sum_is_the_virial(case: tuple[str, Any, SpeciesTable]) -> None:
    """To 1e-12; in single precision it is symmetric as far as the energy does not change with a rotation."""
    name, potential, table = case
    position = grid_points((3, 2, 3), 2.6, 0.12, 5)
    result, state = evaluated(potential, table, position, Cell(ROWS), frozenset({"virial"}))
    assert state.n_all > 8 * state.n_local
    assert result.centroid_virial is not None and result.virial is not None
    total = result.centroid_virial.sum(axis=0)
    xx, yy, zz, yz, xz, xy = result.virial.value()
    expected = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    largest = np.abs(expected).max()
    np.testing.assert_allclose(0.5 * (total + total.T), expected, rtol=0, atol=1e-12 * largest)
    np.testing.assert_allclose(total, total.T, rtol=0, atol=(1e-6 if name.endswith("-mixed") else 1e-12) * largest)


def test_heat_flux_is_the_change_of_the_moment_of_energy(case: tuple[str, Any, SpeciesTable]) -> None:
    """J = d/dt Σ x (E + K) of a cluster: its potential part by differences along the velocities, and Newton's law."""
    name, potential, table = case
    if name.endswith("-mixed"):
        pytest.skip("energies in single precision are too coarse for differences")
    free = Cell(np.eye(3), (False,) * 3)
    position, velocity = grid_points((3, 2, 3), 2.4, 0.15, 6), np.random.default_rng(7).normal(size=(18, 3))

    def moment(time: float) -> Array:
        result, state = evaluated(potential, table, position + time * velocity, free)
        return in_order(result.energy, state) @ (position + time * velocity)

    h = 3e-4
    change = (8.0 * (moment(h) - moment(-h)) - (moment(2.0 * h) - moment(-2.0 * h))) / (12.0 * h)
    result, state = evaluated(potential, table, position, free)
    force = in_order(state.local("force"), state) / FORCE_SCALE
    expected = change - in_order(result.energy, state) @ velocity + (force * velocity).sum(axis=1) @ position
    flux = np.einsum("jab,jb->a", in_order(result.centroid_virial, state), velocity)
    np.testing.assert_allclose(flux, expected, rtol=0, atol=1e-6 * np.abs(flux).max())


def test_asking_for_them_changes_no_bit(case: tuple[str, Any, SpeciesTable]) -> None:
    _, potential, table = case
    position = grid_points((3, 2, 3), 2.6, 0.12, 5)
    _, state = evaluated(potential, table, position, Cell(ROWS))
    with_them = state.local("force").clone()
    result = ForceEvaluator(potential, Comm.serial(), 0.4, None, Timers())(state)
    assert torch.equal(with_them, state.local("force")) and result.centroid_virial is None
