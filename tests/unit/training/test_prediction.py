"""Predictions of a batch against the engine's own calculator and against derivatives of energies."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from labeled import alloy, frame

from allegro_md.ase import AllegroCalculator
from allegro_md.io.labeled import Frame
from allegro_md.models.allegro.architecture import Bessel, Dense, Mlp
from allegro_md.models.allegro.network import Network
from allegro_md.training import batches
from allegro_md.training.batches import Samples, packed, shuffled
from allegro_md.training.graph import Graph, graph_of
from allegro_md.training.prediction import predict

SYMBOLS = ("Cu", "Au")
CUTOFFS = np.array([[4.0, 3.6], [3.8, 3.5]])


@pytest.fixture(scope="module")
def network() -> Network:
    return Network(
        Dense(symbols=SYMBOLS, cutoff=4.0, pair_cutoffs=tuple(map(tuple, CUTOFFS.tolist())), layers=2, l_max=2,
              channels=3, average_neighbors=12.0, embedding=Bessel(), embedding_width=4, two_body=Mlp(widths=(5,)),
              scalars=4, latent=Mlp(widths=(5,)), readout=Mlp(widths=(3,)))
    ).initialize(3)  # fmt: skip


def samples(n: int) -> Samples:
    return Samples([frame(alloy(seed)) for seed in range(n)], SYMBOLS, CUTOFFS)


def test_a_batch_is_its_frames_by_the_calculator(network: Network) -> None:
    frames = samples(4)
    prediction = predict(network, frames.batch([2, 0, 3]))
    start = 0
    for place, seed in enumerate([2, 0, 3]):
        atoms = alloy(seed)
        stop = start + len(atoms)
        atoms.calc = AllegroCalculator(network, engine="reference", precision="double")
        assert float(prediction.energy[place]) == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
        assert prediction.forces[start:stop].numpy() == pytest.approx(atoms.get_forces(), abs=1e-9)
        assert prediction.stress[place].numpy() == pytest.approx(atoms.get_stress(voigt=False), abs=1e-10)
        start = stop


def test_turned_and_mirrored(network: Network) -> None:
    """Energies stay, forces and stresses turn with the atoms."""
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    if np.linalg.det(turn) > 0.0:
        turn = -turn  # improper
    atoms = alloy(1)
    turned = atoms.copy()
    turned.calc = atoms.calc
    turned.set_cell(atoms.cell.array @ turn.T, scale_atoms=False)
    turned.positions = atoms.positions @ turn.T
    frames = Samples([frame(atoms), frame(atoms)], SYMBOLS, CUTOFFS)
    object.__setattr__(frames.frames[1], "cell", turned.cell.array)
    object.__setattr__(frames.frames[1], "position", turned.positions)
    one, other = (predict(network, frames.batch([k])) for k in (0, 1))
    assert float(one.energy) == pytest.approx(float(other.energy), abs=1e-10)
    assert (one.forces.numpy() @ turn.T) == pytest.approx(other.forces.numpy(), abs=1e-10)
    assert (turn @ one.stress[0].numpy() @ turn.T) == pytest.approx(other.stress[0].numpy(), abs=1e-10)


def test_a_single_atom_without_neighbors(network: Network) -> None:
    lonely = frame(alloy(0))
    object.__setattr__(lonely, "numbers", np.array([29]))
    object.__setattr__(lonely, "position", np.zeros((1, 3)))
    object.__setattr__(lonely, "cell", np.zeros((3, 3)))
    object.__setattr__(lonely, "periodic", (False, False, False))
    object.__setattr__(lonely, "forces", np.zeros((1, 3)))
    prediction = predict(network, Samples([lonely], SYMBOLS, CUTOFFS).batch([0]), differentiable=True)
    assert prediction.energy.tolist() == [float(network.shifts[0])]
    assert prediction.forces.tolist() == [[0.0, 0.0, 0.0]]


def test_every_frame_once_in_an_order_of_its_own() -> None:
    frames = samples(7)
    epochs = [shuffled(frames, 3, None, seed, epoch) for seed, epoch in ((1, 0), (1, 1), (2, 0), (1, 0))]
    for steps in epochs:
        assert sorted(sum(steps, [])) == list(range(7))
        assert [len(step) for step in steps] == [3, 3, 1]
    assert epochs[0] == epochs[3]
    assert epochs[0] != epochs[1] and epochs[0] != epochs[2]


def test_packed_by_edges() -> None:
    frames = samples(6)
    sizes = [frames.edges_of(k) for k in range(6)]
    limit = max(sizes) + min(sizes)
    steps = list(packed(frames, range(6), limit))
    assert sum(steps, []) == list(range(6))
    for step, following in zip(steps, [*steps[1:], []], strict=True):
        total = sum(sizes[k] for k in step)
        assert total <= limit
        assert not following or total + sizes[following[0]] > limit
    assert list(packed(frames, range(6), 1)) == [[k] for k in range(6)]


def test_memory_of_neighbors_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is room for two frames only, the others are found anew: the same edges in the same steps."""
    plenty = samples(6)
    sizes = [plenty.edges_of(k) for k in range(6)]
    room = plenty.graph(0).nbytes + plenty.graph(1).nbytes
    found: list[int] = []

    def counted(frame: Frame, *arguments: object) -> Graph:
        found.append(len(frame.numbers))
        return graph_of(frame, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(batches, "KEPT_BYTES", room)
    monkeypatch.setattr(batches, "graph_of", counted)
    scarce = samples(6)
    for _ in range(2):
        assert [scarce.edges_of(k) for k in range(6)] == sizes
    assert len(found) == 6, "the number of edges is kept"
    for _ in range(2):
        one, other = scarce.batch(range(6)), plenty.batch(range(6))
        assert torch.equal(one.edges.vector, other.edges.vector) and torch.equal(one.neighbor, other.neighbor)
    assert len(found) == 6 + 2 * 4
