"""Edges of single-layer networks, and their repulsion, by kernels of GPUs: the bits of those of CPUs."""

from __future__ import annotations

import numpy as np
import pytest
from block_data import EDGES, REALS, filled_workspace, poison, run, small_network
from host_build import TURNS, on_host

from allegro_md.kernels.arguments import Block
from allegro_md.kernels.cpu_edges import edge_gradients, place_edges
from allegro_md.kernels.cpu_repulsion import add_repulsion

FIRST = 3
SPECIES = np.random.default_rng(6).integers(0, 2, 30).astype(np.int16)


@pytest.mark.parametrize("degrees", [1, 2, 3, 4])
@pytest.mark.parametrize("name", REALS)
def test_from_vectors_and_back(name: str, degrees: int) -> None:
    network = small_network(degrees, 16, True, REALS[name])
    wanted = filled_workspace(network)
    wanted.vector[0] = [30.0, 0.0, 0.0]  # beyond the end of the table
    place_edges(FIRST, 5, EDGES, SPECIES, network, wanted)
    edge_gradients(EDGES, network, wanted)
    w, edges = filled_workspace(network), np.array([EDGES])
    center, neighbor = w.center.astype(np.int32), w.neighbor.astype(np.int32)
    placed = ("inverse", "spacing", "fraction", "interval", "harmonics")
    for turn in TURNS:
        found = [poison(getattr(w, key)) if key != "interval" else np.full_like(w.interval, -1) for key in placed]
        gradient = poison(w.by_vector)
        with on_host(*turn):
            run("edges.cuh", f"place_edges<{name},{degrees}>", len(center), edges, wanted.vector, center, neighbor,
                FIRST, SPECIES, 2, network.per_spacing, 9, 4 * network.table.shape[3], *found)  # fmt: skip
            run("edges.cuh", f"edge_gradients<{name},{degrees}>", len(center), edges, wanted.vector, *found[:2],
                w.by_fraction, w.sums, gradient)  # fmt: skip
        for key, got in zip((*placed, "by_vector"), (*found, gradient), strict=True):
            assert np.array_equal(got[:EDGES], getattr(wanted, key)[:EDGES]), key
        assert np.isnan(gradient[EDGES:]).all() and (found[3][EDGES:] == -1).all()


def test_repulsion() -> None:
    network = small_network(1, 16, True, np.float64)
    w, edges, rng = filled_workspace(network), np.array([EDGES]), np.random.default_rng(7)
    repulsion = np.stack([rng.uniform(5e3, 6e3, (2, 2)), rng.uniform(8.0, 9.0, (2, 2)), rng.uniform(1.5, 2.5, (2, 2))])
    center, neighbor = w.center.astype(np.int32), w.neighbor.astype(np.int32)
    wanted, gradient, zeros = w.by_vector.copy(), w.by_vector.copy(), np.zeros(6)
    add_repulsion(FIRST, EDGES, SPECIES, repulsion, Block(w.vector, w.center, w.neighbor), zeros, wanted)
    for turn in TURNS:
        energy, got, total = np.full(len(center), np.nan), gradient.copy(), np.zeros(6)
        with on_host(*turn):
            run("repulsion.cuh", "add_repulsion", len(center), edges, FIRST, center, neighbor, SPECIES, 2, repulsion,
                w.vector, energy, got)  # fmt: skip
        for e in range(EDGES):
            total[center[e]] += energy[e]
        assert np.array_equal(got, wanted) and np.array_equal(total, zeros) and (energy[:EDGES] == 0.0).any()
