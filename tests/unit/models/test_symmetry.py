"""What every Allegro network must satisfy: symmetries, locality, derivatives, empty and degenerate structures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from allegro_md.models.allegro.architecture import Bessel, Dense, Mlp, Residual, Spline
from allegro_md.models.allegro.edges import Edges
from allegro_md.models.allegro.network import Network

FREE = (np.zeros((3, 3)), (False, False, False))
SYMBOLS = ("Na", "Cl")


def dense(**changes: Any) -> Any:
    values = {
        "symbols": SYMBOLS, "cutoff": 4.0, "layers": 2, "l_max": 2, "channels": 4, "average_neighbors": 9.0,
        "embedding": Bessel(), "embedding_width": 8, "two_body": Mlp(widths=(8,)), "scalars": 8,
        "latent": Mlp(widths=(8,)), "readout": Mlp(widths=(8,)),
    }  # fmt: skip
    return Network(Dense(**values | changes)).initialize(1)


def residual(**changes: Any) -> Any:
    values = {
        "symbols": SYMBOLS, "cutoff": 4.0, "layers": 2, "l_max": 2, "channels": 4, "average_neighbors": 9.0,
        "two_body": Mlp(widths=(8,)), "latents": 8, "latent": Mlp(widths=(8,)),
        "readout": Mlp(widths=(8,), activation=None),
    }  # fmt: skip
    return Network(Residual(**values | changes)).initialize(2)


NETWORKS = {
    "dense": dense(),
    "dense-l3": dense(l_max=3, layers=3, channels=3),
    "dense-even": dense(parity=False, coupled=False),
    "dense-spline-zbl": dense(embedding=Spline(), pair_cutoffs=((3.2, 3.7), (3.5, 4.0)), zbl=True),
    "residual": residual(),
    "residual-restricted": residual(parity="o3_restricted", layers=3, l_max=1),
    "residual-so3": residual(parity="so3", layers=1),
}


@pytest.fixture(params=NETWORKS)
def network(request: pytest.FixtureRequest) -> Any:
    return NETWORKS[request.param]


@pytest.fixture(scope="module")
def cluster() -> Any:
    """24 atoms, the last of them alone."""
    rng = np.random.default_rng(5)
    grid = np.stack(np.meshgrid(*[np.arange(3)] * 3, indexing="ij"), -1).reshape(-1, 3)[:24]
    positions = 2.4 * grid + rng.uniform(-0.4, 0.4, (24, 3))
    positions[-1] += 30.0
    return positions, [SYMBOLS[k] for k in rng.integers(2, size=24)]


def rotation() -> Any:
    q, r = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return q * np.linalg.det(q)


MATRICES = {"rotate": rotation(), "invert": -np.eye(3), "reflect": np.diag([1.0, 1.0, -1.0])}


@pytest.mark.parametrize("matrix", MATRICES.values(), ids=MATRICES.keys())
def test_rotation_and_inversion(network: Any, cluster: Any, matrix: Any, on_structure: Any) -> None:
    positions, symbols = cluster
    before, after = (on_structure(network, x, *FREE, symbols) for x in (positions, positions @ matrix.T))
    scale = max(1.0, np.abs(before.forces).max())
    assert np.abs(after.energies - before.energies).max() < 1e-10 * scale
    assert np.abs(after.forces - before.forces @ matrix.T).max() < 1e-10 * scale


def test_permutation(network: Any, cluster: Any, on_structure: Any) -> None:
    positions, symbols = cluster
    order = np.random.default_rng(8).permutation(len(positions))
    before = on_structure(network, positions, *FREE, symbols)
    after = on_structure(network, positions[order], *FREE, [symbols[k] for k in order])
    assert np.abs(after.energies - before.energies[order]).max() < 1e-10
    assert np.abs(after.forces - before.forces[order]).max() < 1e-10 * max(1.0, np.abs(before.forces).max())


def test_strictly_local(network: Any, cluster: Any, on_structure: Any) -> None:
    """dE_i/dx_k is nonzero for i itself and its neighbors, and exactly zero for all other atoms."""
    positions, symbols = cluster
    got = on_structure(network, positions, *FREE, symbols)
    evaluator = network.prepare()
    species = torch.tensor([SYMBOLS.index(s) for s in symbols])
    x = torch.tensor(positions, requires_grad=True)
    center, neighbor = torch.tensor(got.center), torch.tensor(got.neighbor)
    energies = evaluator(Edges(x[neighbor] - x[center], center, species, species[neighbor]))
    graph = np.zeros((len(x), len(x)), dtype=bool)
    graph[got.center, got.neighbor] = True
    graph |= np.diag(graph.any(axis=1))
    assert not graph.all()
    for i in range(len(x)):
        (row,) = torch.autograd.grad(energies[i], x, retain_graph=True)
        assert np.array_equal((row.numpy() != 0.0).any(axis=1), graph[i])


def test_isolated_atoms_and_empty_structures(network: Any, cluster: Any, on_structure: Any) -> None:
    positions, symbols = cluster
    network.shifts.data = torch.tensor([-1.5, -4.25], dtype=torch.float64)
    got = on_structure(network, positions, *FREE, symbols)
    assert got.energies[-1] == [-1.5, -4.25][SYMBOLS.index(symbols[-1])]
    alone = on_structure(network, 50.0 * np.eye(3), *FREE, ["Na", "Cl", "Na"])
    assert np.array_equal(alone.energies, [-1.5, -4.25, -1.5])
    assert not alone.forces.any() and not alone.virial.any()
    assert len(on_structure(network, np.zeros((0, 3)), *FREE, []).energies) == 0


def test_forces_and_virial_are_derivatives(network: Any, on_structure: Any) -> None:
    rng = np.random.default_rng(4)
    cell = np.array([[5.0, 0.0, 0.0], [1.1, 4.8, 0.0], [-0.7, 0.6, 5.2]])
    sites = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
    positions = sites @ cell + rng.uniform(-0.2, 0.2, (4, 3))
    symbols = ["Na", "Cl", "Cl", "Na"]
    got = on_structure(network, positions, cell, (True,) * 3, symbols)
    assert np.abs(got.virial - got.virial.T).max() < 1e-11 * max(1.0, np.abs(got.virial).max())

    def energy(x: Any, h: Any) -> Any:
        return on_structure(network, x, h, (True,) * 3, symbols).energies.sum()

    step = 1e-4
    scale = max(1.0, np.abs(got.forces).max())
    for atom, axis in [(0, 0), (1, 2), (3, 1)]:
        moved = np.zeros((4, 3))
        moved[atom, axis] = step
        slope = (energy(positions + moved, cell) - energy(positions - moved, cell)) / (2 * step)
        assert abs(got.forces[atom, axis] + slope) < 1e-6 * scale
    for a, b in [(0, 0), (1, 2), (0, 1)]:
        strain = np.zeros((3, 3))
        strain[a, b] = step
        up, down = np.eye(3) + strain, np.eye(3) - strain
        slope = (energy(positions @ up, cell @ up) - energy(positions @ down, cell @ down)) / (2 * step)
        assert abs(got.virial[a, b] + slope) < 1e-6 * max(scale, np.abs(got.virial).max())


def test_smooth_at_the_cutoff(network: Any, on_structure: Any) -> None:
    """Energy and force of a pair vanish at the cutoff."""
    reach = float(network.prepare().cutoffs[0, 1])
    for r, limit in ((reach - 1e-4, 1e-6), (reach - 1e-12, 1e-12)):
        got = on_structure(network, np.array([[0.0, 0, 0], [r, 0, 0]]), *FREE, ["Na", "Cl"])
        shifts = network.shifts.detach().numpy()
        assert abs(got.energies[0] - shifts[0]) < limit
    assert np.abs(got.forces).max() < 1e-9
