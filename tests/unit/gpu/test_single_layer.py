"""Networks of one layer by kernels of GPUs: energies, forces and virials have the bits of those of CPUs."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from host_build import TURNS, on_host

from allegro_md.backends import backend_for
from allegro_md.cell import Cell
from allegro_md.errors import ResourceError
from allegro_md.kernels.arguments import Atoms, Lists, Out
from allegro_md.kernels.cpu_single_layer import single_layer
from allegro_md.kernels.cpu_single_layer_arrays import BLOCK_ROWS, PackedSingleLayer, allocate
from allegro_md.kernels.fixed import FINE
from allegro_md.kernels.gpu import single_layer as gpu
from allegro_md.kernels.gpu import single_layer_arrays
from allegro_md.kernels.gpu.single_layer_arrays import CenterBlock
from allegro_md.models.allegro.architecture import Bessel, Dense, Mlp, Residual, Spline
from allegro_md.models.allegro.network import Network
from allegro_md.models.fused import gpu_single_layer
from allegro_md.models.fused.fold import fold
from allegro_md.models.fused.gpu import NO_CENTER
from allegro_md.models.fused.gpu_single_layer import GpuSingleLayer
from allegro_md.models.fused.packing import pack_single_layer
from allegro_md.models.fused.splines import tabulate
from allegro_md.state import AtomState, SpeciesTable

COMMON = {"symbols": ("Cu", "Ni"), "cutoff": 4.2, "channels": 5, "average_neighbors": (13.0, 15.0), "layers": 1}
DENSE = COMMON | {"embedding": Bessel(), "embedding_width": 12, "scalars": 20}
RESIDUAL = COMMON | {"latents": 24, "two_body": Mlp(widths=(16,))}
ARCHITECTURES: dict[str, Dense | Residual] = {
    "l = 0": Dense(**DENSE, l_max=0, two_body=Mlp(widths=(24,)), latent=Mlp(widths=(24,)), readout=Mlp(widths=(12,))),
    "l = 1, pair cutoffs": Dense(**DENSE | {"embedding": Spline(), "pair_cutoffs": ((4.2, 3.6), (3.9, 3.3))}, l_max=1,
                                 two_body=Mlp(widths=(24,)), latent=Mlp(widths=(24,)), readout=Mlp(widths=(12,))),
    "l = 1, repulsion": Dense(**DENSE, l_max=1, zbl=True, two_body=Mlp(), latent=Mlp(widths=(24,)), readout=Mlp()),
    "l = 2, residual": Residual(**RESIDUAL | {"channels": 20}, l_max=2, latent=Mlp(widths=(24,)),
                                readout=Mlp(widths=(8,))),
    "l = 3, four levels": Dense(**DENSE, l_max=3, two_body=Mlp(widths=(24,)),
                                latent=Mlp(widths=(80, 20), activation="gelu"),
                                readout=Mlp(widths=(12,), activation="mish"), individual_weights=False, coupled=False),
    "l = 3, residual": Residual(**RESIDUAL, l_max=3, latent=Mlp(), readout=Mlp(widths=(8,)), parity="so3"),
}  # fmt: skip
REALS: dict[str, type[np.floating[Any]]] = {"float32": np.float32, "float64": np.float64}


class System(NamedTuple):
    """Atoms, and the list of more pairs than are edges."""

    atoms: Atoms
    lists: Lists


@cache
def system(kinds: int, n: int = 60) -> System:
    """Some atoms in a tilted cell, some of them far from all others."""
    rng = np.random.default_rng(n)
    rows = np.array([[9.0, 0.0, 0.0], [1.0, 9.0, 0.0], [-1.0, 2.0, 18.0]])
    cell = Cell(rows, (True, True, False), np.zeros(3))
    table = SpeciesTable(("Cu", "Ni"), np.array([29, 28]), np.array([63.546, 58.693]))
    species = rng.integers(0, kinds, n)
    x = 2.25 * np.array(list(np.ndindex(4, 4, 8)))[rng.permutation(128)[:n]] + rng.uniform(-0.4, 0.4, (n, 3))
    x[::9, 2] += 40.0
    state = AtomState.from_arrays(cell, table, x, species=species, velocities=np.zeros((n, 3)), ids=np.arange(n))
    offsets, neighbors = backend_for("cpu").lists.find_pairs(state, n, 4.9)
    position, shift, species = (state.host_all(name) for name in ("position", "shift", "species"))
    return System(Atoms(position, shift, species, np.array(cell.matrix)), Lists(offsets, neighbors))


@cache
def packed(name: str, precision: str, kinds: int) -> tuple[PackedSingleLayer, Any, Any]:
    """A network with random weights, the squares of its cutoffs, and its repulsion."""
    network = Network(ARCHITECTURES[name]).initialize(3)
    network.scales.data[:] = torch.tensor([0.7, 1.9])
    network.shifts.data[:] = torch.tensor([-1.5, -5.0])
    folded = fold(network, ("Ni", "Cu")[:kinds])
    assert folded.kind == "single-layer"
    table = tabulate(folded, 64).astype(REALS[precision])
    return pack_single_layer(folded, 64 / folded.cutoffs, table), folded.cutoffs**2, folded.repulsion


def by_cpu(network: tuple[PackedSingleLayer, Any, Any], atoms: Atoms, lists: Lists, centers: tuple[int, int]) -> Out:
    (model, cutoff2, repulsion), n, n_all = network, centers[1] - centers[0], len(atoms.position)
    out = Out(np.zeros((n_all, 3), np.int64), np.empty(n), np.zeros((n, 6)), np.zeros((n_all, 9), np.int64))
    work = allocate(model, 2 * BLOCK_ROWS)
    assert single_layer(atoms, lists, centers, cutoff2, model, repulsion, work, out) == FINE
    return out


@pytest.fixture(autouse=True)
def poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory of blocks begins as NaN."""

    def allocate(*arguments: Any) -> Any:
        work = single_layer_arrays.allocate(*arguments)
        for array in (*work, *work.inputs, *work.slopes):
            if isinstance(array, torch.Tensor):
                array.fill_(torch.nan if array.is_floating_point() else -(2**30))
        return work

    monkeypatch.setattr(gpu_single_layer, "allocate", allocate)


def on_device(arrays: tuple[Any, ...], device: str = "cpu") -> list[Any]:
    return [torch.from_numpy(x.copy()).to(device) for x in arrays]


def by_gpu(
    network: tuple[PackedSingleLayer, Any, Any], atoms: Atoms, lists: Lists, centers: tuple[int, int], rows: int,
    wanted: bool = True
) -> tuple[Out, int]:
    n, n_all, longest = centers[1] - centers[0], len(atoms.position), int(np.diff(lists.offsets).max())
    position, shift, species, offsets, neighbors = on_device((*atoms[:3], *lists))
    tensors, pairs = Atoms(position, shift, species, atoms.cell), Lists(offsets, neighbors)
    virial: Any = torch.full((n if wanted else 0, 6), torch.nan, dtype=torch.float64)
    centroid: Any = torch.zeros((n_all if wanted else 0, 9), dtype=torch.int64)
    force: Any = torch.zeros((n_all, 3), dtype=torch.int64)
    energy: Any = torch.full((n,), torch.nan, dtype=torch.float64)
    out, status = Out(force, energy, virial, centroid), torch.full((1,), NO_CENTER)
    evaluate = GpuSingleLayer(*network, "cpu", rows)
    evaluate(tensors, pairs, longest, centers, out, status)
    return Out(force.numpy(), energy.numpy(), virial.numpy(), centroid.numpy()), int(status)


def assert_equal(found: tuple[Out, int], wanted: Out) -> None:
    assert found[1] == NO_CENTER
    for name in ("force", "energy", "virial", "centroid"):
        assert np.array_equal(getattr(found[0], name), getattr(wanted, name)), name


@pytest.mark.parametrize("kinds", [1, 2])
@pytest.mark.parametrize("precision", REALS)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_bits_of_the_cpu(name: str, precision: str, kinds: int) -> None:
    network = packed(name, precision, kinds)
    atoms, lists = system(kinds)
    everything = 0, len(atoms.position)
    wanted = by_cpu(network, atoms, lists, everything)
    assert np.abs(wanted.force).max() > 2**36 and np.abs(wanted.centroid).max() > 2**36
    for turn, rows in zip(TURNS, (10**6, 300), strict=True):
        with on_host(*turn):
            assert_equal(by_gpu(network, atoms, lists, everything, rows), wanted)


@pytest.mark.parametrize("rows", [1, 64, 1000])
def test_blocks_cannot_be_seen(rows: int) -> None:
    network = packed("l = 2, residual", "float32", 2)
    atoms, lists = system(2)
    for centers in ((0, 60), (13, 41), (5, 5)):
        wanted = by_cpu(network, atoms, lists, centers)
        with on_host():
            found = by_gpu(network, atoms, lists, centers, rows)
            assert_equal(found, wanted)
            lean, _ = by_gpu(network, atoms, lists, centers, rows, wanted=False)
        assert np.array_equal(lean.force, wanted.force) and np.array_equal(lean.energy, wanted.energy)


def test_memory_that_runs_out_gives_smaller_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    network, asked = packed("l = 1, repulsion", "float32", 1), []
    atoms, lists = system(1)
    enough, allocate_all = 200, vars(gpu_single_layer)["allocate"]

    def allocate(network: Any, edges: int, centers: int) -> Any:
        asked.append(edges)
        if edges > enough:
            raise torch.OutOfMemoryError
        return allocate_all(network, edges, centers)

    monkeypatch.setattr(gpu_single_layer, "allocate", allocate)
    with on_host():
        assert_equal(by_gpu(network, atoms, lists, (0, 60), 1000), by_cpu(network, atoms, lists, (0, 60)))
        assert asked[0] > asked[-2] > enough >= asked[-1]
        enough = 3
        with pytest.raises(ResourceError, match="out of memory for the smallest block"):
            by_gpu(network, atoms, lists, (0, 60), 1000)


@pytest.mark.parametrize("name", ["l = 1, repulsion", "l = 3, residual"])
def test_nothing_comes_back_to_the_host(name: str) -> None:
    """Tensors without data, which nobody can read: launches are checked, and nothing else happens."""
    model, cutoff2, repulsion = packed(name, "float32", 2)
    atoms, lists = system(2)
    position, shift, species, *pairs = on_device((*atoms[:3], *lists), "meta")
    network = single_layer_arrays.on_device(model, repulsion, "meta")
    blocks = [CenterBlock(0, 20, 300), CenterBlock(20, 60, 500)]
    work = single_layer_arrays.allocate(network, 500, 40)
    force, energy, virial, centroid, status = on_device((
        np.zeros((60, 3), np.int64), np.zeros(60), np.zeros((60, 6)), np.zeros((60, 9), np.int64), np.zeros(1, np.int64)
    ), "meta")  # fmt: skip
    gpu.single_layer(
        Atoms(position, shift, species, atoms.cell), Lists(*pairs), blocks, torch.from_numpy(cutoff2).to("meta"),
        network, work, Out(force, energy, virial, centroid), status,
    )  # fmt: skip


@pytest.mark.parametrize("wrong", [1e-12, np.nan])
def test_a_center_out_of_range_is_named(wrong: float) -> None:
    network = packed("l = 1, pair cutoffs", "float32", 1)
    atoms, lists = system(1)
    position = atoms.position.copy()
    near = next(i for i in range(20, 60) if lists.offsets[i + 1] > lists.offsets[i])
    neighbor = lists.neighbors[lists.offsets[near]]
    position[near] = position[neighbor] + [wrong, 0.0, 0.0]
    moved = atoms._replace(position=position)
    out = Out(np.zeros((60, 3), np.int64), np.empty(60), np.zeros((0, 6)), np.zeros((0, 9), np.int64))
    model, cutoff2, _ = network
    status = single_layer(moved, lists, (0, 60), cutoff2, model, np.zeros((3, 0, 0)), allocate(model, 768), out)
    with on_host():
        assert by_gpu(network, moved, lists, (0, 60), 300)[1] == status != FINE
