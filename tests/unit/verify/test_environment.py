"""Environments against a sum over all images, and what they give against the engine."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch

from allegro_md.cell import Cell
from allegro_md.comm import Comm
from allegro_md.evaluation import PotentialInfo
from allegro_md.potentials.lj import LennardJones
from allegro_md.simulation.forces import ForceEvaluator
from allegro_md.state import AtomState, SpeciesTable
from allegro_md.timers import Timers
from allegro_md.verify.environment import MARGIN, Cluster, gather

ARGON = SpeciesTable(("Ar",), np.array([18]), np.array([39.948]))
TILTED = np.array([[9.0, 0.0, 0.0], [4.0, 8.0, 0.0], [-3.0, 2.0, 7.0]])


def state_of(x: Any, rows: Any, periodic: tuple[bool, bool, bool], origin: Any = (0.0, 0.0, 0.0)) -> AtomState:
    state = AtomState(Cell(rows, periodic, np.array(origin)), ARGON, len(x))
    state.set_local(
        {
            "id": torch.arange(len(x)), "species": torch.zeros(len(x), dtype=torch.int16),
            "position": torch.from_numpy(x), "velocity": torch.zeros(len(x), 3, dtype=torch.float64),
        }
    )  # fmt: skip
    return state


def expected(x: Any, rows: Any, periodic: tuple[bool, bool, bool], i: int, radius: float) -> Counter[tuple[int, ...]]:
    """(id, shift) of everything within the radius, trying far more images than there can be."""
    found: Counter[tuple[int, ...]] = Counter()
    ranges = [range(-12, 13) if p else range(1) for p in periodic]
    for shift in np.array(np.meshgrid(*ranges)).reshape(3, -1).T:
        distance = np.linalg.norm(x + shift @ rows - x[i], axis=1)
        found.update((int(j), *map(int, shift)) for j in np.flatnonzero(distance < radius))
    return found


@pytest.mark.parametrize("periodic", [(True, True, True), (True, False, True), (False, False, False)])
@pytest.mark.parametrize("radius", [3.0, 11.0])
def test_everything_within_the_radius(periodic: tuple[bool, bool, bool], radius: float) -> None:
    x = np.random.default_rng(1).uniform(size=(12, 3)) @ TILTED
    x += np.random.default_rng(2).integers(-3, 4, (12, 3)) * np.array(periodic) @ TILTED  # far from the box
    rows = np.array([0, 5, 11])
    for i, environment in zip(rows, gather(state_of(x, TILTED, periodic), rows, radius, Comm.serial()), strict=True):
        found = Counter((int(a), *map(int, s)) for a, s in zip(environment.id, environment.shift, strict=True))
        assert found == expected(x, TILTED, periodic, int(i), radius + MARGIN)
        assert environment.atom == i and not environment.shift[0].any()
        np.testing.assert_array_equal(environment.position, x[environment.id])


def test_no_samples() -> None:
    state = state_of(np.zeros((1, 3)), TILTED, (True,) * 3)
    assert gather(state, np.zeros(0, dtype=np.int64), 5.0, Comm.serial()) == []


def test_alone_has_the_bits_of_the_engine() -> None:
    """Also for places handed over instead of the atoms' own, several side by side, up to rounding."""
    x = np.random.default_rng(3).permutation(np.array(list(np.ndindex(2, 2, 2)))) @ (0.5 * TILTED)
    x = x + np.random.default_rng(4).normal(scale=0.1, size=x.shape)
    state = state_of(x, TILTED, (True,) * 3, origin=(1.0, -2.0, 0.3))
    potential = LennardJones(np.array([[0.01]]), np.array([[3.4]]), 6.0)
    forces = ForceEvaluator(potential, Comm.serial(), 0.5, None, Timers())
    result = forces(state, frozenset({"virial", "virial_per_atom"}))
    rows = np.arange(8)
    for row, environment in zip(rows, gather(state, rows, 12.0, Comm.serial()), strict=True):
        cluster = Cluster(environment, 6.0, potential.info)
        alone = cluster.evaluate(potential)
        assert alone.virial is not None and result.virial_per_atom is not None
        assert alone.energies[0] == float(result.per_atom["energy"][row])
        assert np.array_equal(alone.force[0], state.local("force")[row].numpy())
        assert np.array_equal(alone.virial[0], result.virial_per_atom[row])
        near = np.linalg.norm(environment.place, axis=1) <= 6.0
        assert cluster.n_centers == near.sum()
        beside = cluster.elsewhere(potential, np.stack([cluster.place] * 3), cluster.n_centers)
        for other in beside:
            np.testing.assert_allclose(other.energies, alone.energies, rtol=0, atol=1e-14)
            assert np.abs(other.force[0] - alone.force[0]).max() < 1e4  # units of 6e-14 eV/Å


def test_moving_one_copy_moves_no_image() -> None:
    """In a box smaller than the cutoff an atom sees itself: its images stay when it is taken elsewhere alone."""
    state = state_of(np.array([[0.1, 0.2, 0.3]]), 4.0 * np.eye(3), (True,) * 3)
    potential = LennardJones(np.array([[0.01]]), np.array([[3.4]]), 5.0)
    (environment,) = gather(state, np.array([0]), 10.0, Comm.serial())
    cluster = Cluster(environment, 5.0, PotentialInfo("", 5.0))
    places = np.stack([cluster.place, cluster.place])
    places[1, 0] += [0.01, 0.0, 0.0]
    here, there = cluster.elsewhere(potential, places, 1)
    assert here.energies[0] != there.energies[0] and there.force[0, 0] != 0
