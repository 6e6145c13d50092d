"""The Allegro potential: exact to the bit under any division into blocks and ranks, and right."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from allegro_md.cell import Cell
from allegro_md.errors import InputError, PhysicsError, ResourceError
from allegro_md.exact import FORCE_RANGE, FORCE_SCALE
from allegro_md.kernels.blocks import BLOCK_ROWS, LIMIT
from allegro_md.kernels.fixed import CENTER_BOUND, MOST_TERMS
from allegro_md.models.allegro.architecture import Bessel, Dense, Mlp, Residual, Spline
from allegro_md.models.allegro.edges import Edges
from allegro_md.models.allegro.network import Network
from allegro_md.neighbors.list import NeighborList
from allegro_md.potentials.allegro import AllegroPotential
from allegro_md.potentials.lj import LennardJones
from allegro_md.potentials.sum import SumPotential
from allegro_md.state import AtomState

SYMBOLS = ("Cu", "Ni")
COMMON = {"symbols": SYMBOLS, "cutoff": 4.2, "channels": 5, "average_neighbors": 14.0}
DENSE = COMMON | {"embedding": Bessel(), "embedding_width": 12, "scalars": 20}
ARCHITECTURES: dict[str, Dense | Residual] = {
    "dense": Dense(**DENSE, layers=1, l_max=1, two_body=Mlp(widths=(24,)), latent=Mlp(widths=(24,)),
                   readout=Mlp(widths=(12,))),
    "dense-two-layers": Dense(**DENSE | {"average_neighbors": (13.0, 15.5), "zbl": True}, layers=2, l_max=2,
                              two_body=Mlp(widths=(17,)), latent=Mlp(widths=(21,), activation="gelu"),
                              readout=Mlp(widths=(9,), activation="mish")),
    "dense-spline": Dense(**DENSE | {"embedding": Spline(), "pair_cutoffs": ((4.2, 3.6), (3.9, 3.3))}, layers=2,
                          l_max=1, two_body=Mlp(), latent=Mlp(activation=None), readout=Mlp()),
    "residual": Residual(**COMMON, layers=2, l_max=2, two_body=Mlp(widths=(16,)), latents=24, latent=Mlp(widths=(24,)),
                         readout=Mlp(widths=(8,), activation=None), envelope=48.0),
}  # fmt: skip
NETWORKS = {name: Network(a, torch.float64).initialize(7) for name, a in ARCHITECTURES.items()}


@pytest.fixture(scope="module")
def system(lab: Any) -> Any:
    """125 atoms in a triclinic box, 50 to 60 neighbors within the list."""
    return lab.liquid(SYMBOLS, 2.5, n=5, seed=2)


def same(a: Any, b: Any) -> None:
    assert np.array_equal(a.fixed, b.fixed)
    assert np.array_equal(a.energy, b.energy)
    assert np.array_equal(a.virial, b.virial)


@pytest.mark.parametrize("precision", ["mixed", "double"])
@pytest.mark.parametrize("name", NETWORKS)
def test_no_division_can_be_seen(name: Any, precision: str, lab: Any, system: Any) -> None:
    """Tiles per block, ranks, and who shares a block: not one bit of energies, forces, virials."""
    n = len(system.x)
    whole = lab.run(AllegroPotential(NETWORKS[name], SYMBOLS, precision, tiles=64), system)
    assert np.abs(whole.force).max() > 0.01
    for tiles in (1, 2, 3, 7):
        same(lab.run(AllegroPotential(NETWORKS[name], SYMBOLS, precision, tiles=tiles), system), whole)
    everyone = np.random.default_rng(1).permutation(n)  # other centers in every block, at other rows
    for ranks in ([everyone], np.array_split(everyone, 3), [np.array([k]) for k in everyone[:4]] + [everyone[4:]]):
        same(lab.run(AllegroPotential(NETWORKS[name], SYMBOLS, precision, tiles=2), system, list(ranks)), whole)
    assert not whole.fixed.sum(axis=0).any()


def test_without_the_constant_tile_the_division_is_seen(lab: Any, system: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test of the test above: products over as many rows as there happen to be edges round differently."""
    import allegro_md.potentials.allegro as module

    whole = lab.run(AllegroPotential(NETWORKS["dense"], SYMBOLS, "mixed", tiles=64), system)
    monkeypatch.setattr(module, "padded", lambda rows: rows)
    everyone = np.random.default_rng(1).permutation(len(system.x))
    split = lab.run(
        AllegroPotential(NETWORKS["dense"], SYMBOLS, "mixed", tiles=2), system, np.array_split(everyone, 7)
    )
    assert not np.array_equal(split.fixed, whole.fixed)
    assert np.abs(split.force - whole.force).max() < 1e-4 * np.abs(whole.force).max()


def test_skin_cannot_be_seen(lab: Any, system: Any) -> None:
    potential = AllegroPotential(NETWORKS["dense"], SYMBOLS, "mixed")
    same(lab.run(potential, system, skin=0.2), lab.run(potential, system, skin=1.0))


@pytest.mark.parametrize("name", NETWORKS)
def test_against_the_network(name: Any, lab: Any, system: Any) -> None:
    """One list of edges for the whole network at once, by an image sum."""
    network = NETWORKS[name]
    got = lab.run(AllegroPotential(network, SYMBOLS, "double"), system)
    evaluator = network.prepare(torch.float64)
    i, j, d = lab.pairs(system, network.architecture.cutoff)
    near = np.linalg.norm(d, axis=1) < evaluator.cutoffs[system.kind[i], system.kind[j]]
    order = np.lexsort((j[near], i[near]))
    i, j, d = i[near][order], j[near][order], d[near][order]
    vector = torch.tensor(d, requires_grad=True)
    kind = torch.tensor(system.kind.astype(np.int64))
    energy = evaluator(Edges(vector, torch.tensor(i), kind, kind[torch.tensor(j)]))
    (gradient,) = torch.autograd.grad(energy.sum(), vector)
    force = np.zeros_like(system.x)
    np.add.at(force, i, gradient.numpy())
    np.add.at(force, j, -gradient.numpy())
    assert np.abs(got.energy - energy.detach().numpy()).max() < 1e-12 * max(1.0, np.abs(got.energy).max())
    assert np.abs(got.force - force).max() < 1e-11 * np.abs(force).max() + len(i) / FORCE_SCALE
    total = -np.einsum("ea,eb->ab", d, gradient.numpy())[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
    assert np.abs(got.virial.sum(axis=0) - total).max() < 1e-11 * np.abs(total).max()


def test_mixed_is_close_to_double(lab: Any, system: Any) -> None:
    mixed, double = (lab.run(AllegroPotential(NETWORKS["dense"], SYMBOLS, p), system) for p in ("mixed", "double"))
    assert not np.array_equal(mixed.fixed, double.fixed)
    assert np.abs(mixed.force - double.force).max() < 1e-5 * np.abs(double.force).max()


def test_forces_and_virial_are_derivatives(lab: Any) -> None:
    small = lab.liquid(SYMBOLS, 2.6, n=2, seed=4)  # a box smaller than the cutoff
    potential = AllegroPotential(NETWORKS["dense-two-layers"], SYMBOLS, "double")
    got = lab.run(potential, small)
    force, virial = lab.differences(lambda s: float(lab.run(potential, s, virial=False).energy.sum()), small)
    assert np.abs(got.force - force).max() < 1e-6 * max(1.0, np.abs(force).max())
    assert np.abs(got.virial.sum(axis=0) - virial).max() < 1e-6 * max(1.0, np.abs(virial).max())


def test_a_center_with_more_edges_than_a_block(lab: Any) -> None:
    """A dense box: the block grows by whole tiles, and nothing else changes."""
    packed = lab.liquid(("Cu",), 0.95, n=3, seed=1)
    network = NETWORKS["dense"]
    one, many = (AllegroPotential(network, ("Cu",), "double", tiles=t) for t in (1, 8))
    i, _, _ = lab.pairs(packed, network.architecture.cutoff)
    assert np.bincount(i).max() > BLOCK_ROWS * 0.5
    same(lab.run(one, packed), lab.run(many, packed))


def test_no_atoms_and_no_neighbors(lab: Any) -> None:
    network = Network(ARCHITECTURES["dense"]).initialize(3)
    network.shifts.data[:] = torch.tensor([-1.25, -2.5])
    potential = AllegroPotential(network, SYMBOLS, "mixed")
    gas = lab.System(30.0 * np.arange(21.0).reshape(7, 3), Cell(np.eye(3), (False,) * 3), SYMBOLS,
                     np.array([0, 1, 1, 0, 0, 1, 0], dtype=np.int16))  # fmt: skip
    got = lab.run(potential, gas)
    assert np.array_equal(got.energy, np.where(gas.kind == 0, -1.25, -2.5))
    assert not got.fixed.any() and not got.virial.any()
    state = AtomState(gas.cell, gas.species, 7)  # a rank without atoms
    neighbors = NeighborList(potential.info.cutoff, 0.3)
    neighbors.build(state)
    empty = potential(state, neighbors, frozenset({"virial", "virial_per_atom"}))
    assert empty.per_atom["energy"].shape == (0,) and empty.per_atom["virial_per_atom"].shape == (0, 6)


def test_species_are_matched_by_symbol(lab: Any, system: Any) -> None:
    """The system's table may be in another order than the model's, and may lack species."""
    swapped = lab.System(system.x, system.cell, ("Ni", "Cu"), (1 - system.kind).astype(np.int16))
    straight = lab.run(AllegroPotential(NETWORKS["dense"], SYMBOLS, "double"), system)
    same(lab.run(AllegroPotential(NETWORKS["dense"], ("Ni", "Cu"), "double"), swapped), straight)
    with pytest.raises(InputError, match="does not know Ar.*trained for Cu, Ni"):
        AllegroPotential(NETWORKS["dense"], ("Cu", "Ar"))


def test_out_of_memory_halves_the_block(lab: Any, system: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = lab.run(AllegroPotential(NETWORKS["dense"], SYMBOLS, "double", tiles=8), system)
    potential = AllegroPotential(NETWORKS["dense"], SYMBOLS, "double", tiles=8)
    evaluate = potential._evaluate

    def scarce(edges: Any) -> Any:
        if len(edges.vector) > 2 * BLOCK_ROWS:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return evaluate(edges)

    monkeypatch.setattr(potential, "_evaluate", scarce)
    same(lab.run(potential, system), expected)

    def none_left(edges: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(potential, "_evaluate", none_left)
    with pytest.raises(ResourceError, match="out of memory"):
        lab.run(potential, system)


def test_out_of_memory_while_gathering_halves_the_block(lab: Any, system: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = lab.run(AllegroPotential(NETWORKS["dense"], SYMBOLS, "double", tiles=8), system)
    potential = AllegroPotential(NETWORKS["dense"], SYMBOLS, "double", tiles=8)
    gather, room = potential._gather, [2]

    def scarce(*arguments: Any) -> Any:
        if potential._tiles > room[0]:
            raise MemoryError
        return gather(*arguments)

    monkeypatch.setattr(potential, "_gather", scarce)
    same(lab.run(potential, system), expected)
    assert potential._tiles == 2
    room[0] = 0
    with pytest.raises(ResourceError, match="out of memory"):
        lab.run(potential, system)


@pytest.mark.parametrize("network_first", [True, False])
def test_a_large_force_of_another_term_is_not_held_against_the_network(lab: Any, network_first: bool) -> None:
    """A collision: the pair term is within its own bound, but beyond that of the network's sums."""
    pair = lab.System(np.array([[0.0, 0, 0], [0.9, 0, 0]]), Cell(np.eye(3), (False,) * 3), SYMBOLS,
                      np.array([0, 1], dtype=np.int16))  # fmt: skip
    ones = np.ones((2, 2))
    network, wall = AllegroPotential(NETWORKS["dense"], SYMBOLS), LennardJones(0.1 * ones, 2.0 * ones, 4.0)
    alone = lab.run(network, pair), lab.run(wall, pair)
    assert LIMIT < np.abs(alone[1].force).max() < CENTER_BOUND
    got = lab.run(SumPotential((network, wall) if network_first else (wall, network)), pair)
    assert np.array_equal(got.fixed, alone[0].fixed + alone[1].fixed)


def test_no_more_terms_than_the_forces_have_room_for() -> None:
    term = LennardJones(np.ones((1, 1)), np.ones((1, 1)), 3.0)
    assert MOST_TERMS * CENTER_BOUND <= FORCE_RANGE
    SumPotential([term] * MOST_TERMS)
    with pytest.raises(InputError, match="5 terms, but no more than 4"):
        SumPotential([term] * (MOST_TERMS + 1))


def test_a_runaway_force_is_an_error(lab: Any) -> None:
    network = Network(ARCHITECTURES["dense-two-layers"]).initialize(3)
    close = lab.System(np.array([[0.0, 0, 0], [1e-3, 0, 0]]), Cell(np.eye(3), (False,) * 3), SYMBOLS,
                       np.array([0, 1], dtype=np.int16))  # fmt: skip
    with pytest.raises(PhysicsError, match="forces on atom 0"):
        lab.run(AllegroPotential(network, SYMBOLS), close)
    potential = AllegroPotential(network, SYMBOLS)
    lost = lab.System(np.array([[0.0, 0, 0], [2.5, 0, 0]]), close.cell, SYMBOLS, close.kind)
    state = lab.hold(lost, np.arange(2), potential.info.cutoff + 0.3)
    neighbors = NeighborList(potential.info.cutoff, 0.3)
    neighbors.build(state)
    state.all("position")[1, 1] = float("nan")
    with pytest.raises(PhysicsError, match="forces on atom 0"):
        potential(state, neighbors, frozenset())
