"""Lennard-Jones against LAMMPS, an image sum and difference quotients; and its exactness."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from allegro_md.cell import Cell
from allegro_md.config import LennardJonesTerm
from allegro_md.config.potential import POTENTIALS
from allegro_md.errors import InputError, PhysicsError
from allegro_md.neighbors.list import NeighborList
from allegro_md.potentials import pair
from allegro_md.potentials.lj import LennardJones
from allegro_md.potentials.parts import Parts
from allegro_md.state import AtomState, SpeciesTable

EPSILON = np.array([[0.0104, 0.0126], [0.0126, 0.0141]])
SIGMA = np.array([[3.40, 3.52], [3.52, 3.65]])


def image_sum(lab: Any, system: Any, epsilon: Any, sigma: Any, cutoff: Any, shift: Any) -> Any:
    """Energy per atom from the textbook formula."""
    i, j, d = lab.pairs(system, cutoff)
    r = np.linalg.norm(d, axis=1)
    e, s = epsilon[system.kind[i], system.kind[j]], sigma[system.kind[i], system.kind[j]]

    def phi(r: Any) -> Any:
        return 4.0 * e * ((s / r) ** 12 - (s / r) ** 6)

    energy = np.zeros(len(system.x))
    np.add.at(energy, i, 0.5 * (phi(r) - shift * phi(cutoff)))
    return energy


def test_lammps_step_0(lab: Any, data: Path) -> None:
    with np.load(data / "lammps-lj" / "nve.npz") as reference:
        box = reference["box"]
        system = lab.System(reference["x0"], Cell(np.diag(box[:, 1] - box[:, 0])), ("Ar",), np.zeros(4000, np.int16))
        epsilon, sigma = np.full((1, 1), reference["epsilon"]), np.full((1, 1), reference["sigma"])
        result = lab.run(LennardJones(epsilon, sigma, float(reference["cutoff"])), system)
        force, energy = reference["f0"], reference["pe_atom0"]
        thermo = dict(zip(reference["thermo_cols"], reference["thermo"][0], strict=True))
    assert np.abs(result.force - force).max() < 1e-10 * np.abs(force).max()
    assert np.abs(result.energy - energy).max() < 1e-11
    assert result.energy.sum() == pytest.approx(thermo["PotEng"], rel=1e-10)
    # LAMMPS' metal units: bar = 1.6021765e6 eV/Å³ (its constant); the kinetic part is m v²/V with mvv2e.
    kinetic = thermo["KinEng"]
    pressure = (2.0 * kinetic + result.virial[:, :3].sum()) / (3.0 * 57.0**3) * 1.6021765e6
    assert pressure == pytest.approx(thermo["Press"], rel=1e-7, abs=1e-4)


@pytest.mark.parametrize("shift", [True, False])
@pytest.mark.parametrize("periodic", [(True, True, True), (True, False, True), (False, False, False)])
def test_image_sum_and_differences(lab: Any, shift: bool, periodic: Any) -> None:
    system = lab.liquid(("Ar", "Kr"), 3.9)
    system.cell = Cell(system.cell.matrix, periodic)
    cutoff = 9.1  # box heights are near 10 Å: most pairs are seen more than once
    result = lab.run(LennardJones(EPSILON, SIGMA, cutoff, shift), system)
    energy = image_sum(lab, system, EPSILON, SIGMA, cutoff, shift)
    assert np.abs(result.energy - energy).max() < 5e-13  # energies of pairs are rounded to 6e-14 eV
    if shift:  # else the energy jumps where a pair leaves
        force, virial = lab.differences(
            lambda s: image_sum(lab, s, EPSILON, SIGMA, cutoff, shift).sum(), system, 1e-5
        )
        assert np.abs(result.force - force).max() < 1e-7 * np.abs(force).max()
        assert np.abs(result.virial.sum(axis=0) - virial).max() < 1e-7 * np.abs(virial).max()


def test_one_atom_in_a_small_cell(lab: Any) -> None:
    cell = Cell(1.8 * np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]]))
    system = lab.System(np.array([[0.3, 0.2, 0.1]]), cell, ("Ar",), np.zeros(1, np.int16))
    one = np.full((1, 1), 1.0)
    result = lab.run(LennardJones(0.01 * one, 2.3 * one, 7.0), system)
    assert result.energy == pytest.approx(image_sum(lab, system, 0.01 * one, 2.3 * one, 7.0, True), rel=1e-12)
    assert (result.fixed == 0).all()


def test_every_bit_is_independent_of_skin_and_ranks(lab: Any) -> None:
    system = lab.liquid(("Ar", "Kr"), 3.9, n=4)
    potential = LennardJones(EPSILON, SIGMA, 6.5)
    whole = lab.run(potential, system, skin=0.0)
    assert np.abs(whole.fixed).max() > 0
    assert (whole.fixed.sum(axis=0) == 0).all()  # Newton's third law, exactly
    order = np.random.default_rng(1).permutation(64)
    for ranks, skin in [([np.arange(64)], 1.5), ([order], 0.4), (np.array_split(order, 3), 0.7)]:
        split = lab.run(potential, system, ranks, skin)
        assert (split.fixed == whole.fixed).all()
        assert (split.energy == whole.energy).all()
        assert (split.virial == whole.virial).all()


@pytest.mark.parametrize("x", [[0.0, 0.0, 0.05], [0.0, 0.0, 0.0], [0.0, np.nan, 0.0]])
def test_close_approach_is_an_error(lab: Any, x: Any) -> None:
    system = lab.System(np.array([[0.0, 0.0, 0.0], x]), Cell(np.eye(3) * 30.0), ("Ar",), np.zeros(2, np.int16))
    potential = LennardJones(EPSILON[:1, :1], SIGMA[:1, :1], 8.5)
    state = lab.hold(lab.System(np.zeros((2, 3)), system.cell, ("Ar",), system.kind), np.arange(2), 0.0)
    state.all("position")[:2] = torch.from_numpy(system.x)
    neighbors = NeighborList(8.5, 0.0)
    neighbors.offsets, neighbors.neighbors = np.array([0, 1, 2]), np.array([1, 0], dtype=np.int32)
    with pytest.raises(PhysicsError, match="atom 0"):
        potential(state, neighbors, frozenset({"virial"}))


def test_builder_wants_every_pair(lab: Any) -> None:
    system = lab.liquid(("Ar", "Kr"), 3.9)
    pairs = {"Ar-Ar": (0.0104, 3.4), "Kr-Kr": (0.0141, 3.65), "Kr-Ar": (0.0126, 3.52)}
    built = POTENTIALS.builder("lj")(LennardJonesTerm(kind="lj", pairs=pairs, cutoff=8.0), system.species)
    direct = LennardJones(EPSILON, SIGMA, 8.0)
    assert (lab.run(built, system).fixed == lab.run(direct, system).fixed).all()
    with pytest.raises(InputError, match="Ar, Kr"):
        POTENTIALS.builder("lj")(LennardJonesTerm(kind="lj", epsilon=0.01, sigma=3.4, cutoff=8.0), system.species)
    with pytest.raises(InputError, match="Ar-Kr"):
        POTENTIALS.builder("lj")(LennardJonesTerm(kind="lj", pairs={"Ar-Ar": (0.01, 3.4)}, cutoff=8.0), system.species)


def test_isotopes_are_one_element(lab: Any) -> None:
    isotopes = lab.liquid(("Ar", "Ar"), 3.9)
    plain = lab.System(isotopes.x, isotopes.cell, ("Ar",), np.zeros(len(isotopes.x), np.int16))
    term = LennardJonesTerm(kind="lj", epsilon=0.0104, sigma=3.4, cutoff=8.0)
    built = POTENTIALS.builder("lj")(term, isotopes.species)
    direct = LennardJones(EPSILON[:1, :1], SIGMA[:1, :1], 8.0)
    assert (lab.run(built, isotopes).fixed == lab.run(direct, plain).fixed).all()


class Poisoned:
    """numpy, whose new memory holds what is of no use."""

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    def empty(self, shape: Any, dtype: Any = np.float64) -> NDArray[Any]:
        return np.full(shape, np.nan, dtype)


def test_ghosts_that_have_not_come_are_not_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two atoms by themselves, evaluated early; the list that follows theirs in memory has ghosts only."""
    x = np.array([[0.0, 0.0, 0.0], [3.5, 0.0, 0.0], [20.0, 0.0, 0.0]])
    ghosts = np.array([20.0, 0.0, 0.0]) + 4.0 * np.random.default_rng(1).normal(size=(12, 3))
    argon = SpeciesTable(("Ar",), np.array([18]), np.array([39.9]))
    state = AtomState.from_arrays(Cell(np.eye(3), (False,) * 3), argon, x)
    state.resize(3, 12)
    state.host_all("position")[3:], state.host_all("species")[3:], state.host_all("shift")[3:] = ghosts, 0, 0
    lists = NeighborList(6.0, 0.5)
    lists.offsets, lists.neighbors = np.array([0, 1, 2, 14]), np.array([1, 0, *range(3, 15)], dtype=np.int32)
    one = np.ones((1, 1))
    found = []
    for parts in (Parts.whole(state), Parts((0, 2), (2, 3), (3, 3), 3, 15)):
        state.host_all("force")[...] = 0
        with monkeypatch.context() as patch:
            patch.setattr(pair, "np", Poisoned())
            result = LennardJones(0.0103 * one, 3.4 * one, 6.0).in_parts(state, lists, frozenset({"virial"}), parts)
        assert result.virial is not None
        found.append((state.host_all("force").copy(), result.energy, result.virial.value()))
    assert found[0][0][0, 0] == -found[0][0][1, 0] != 0
    for a, b in zip(*found, strict=True):
        assert np.array_equal(a, b)
