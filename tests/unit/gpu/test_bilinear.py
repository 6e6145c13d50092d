"""Bilinear networks by the kernel of GPUs: the bits of those of CPUs."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from host_build import TURNS, on_gpu, on_host

from allegro_md.cell import Cell
from allegro_md.errors import InputError, PhysicsError, ResourceError
from allegro_md.kernels.arguments import Atoms, Lists, Out
from allegro_md.kernels.cpu_aligned import aligned
from allegro_md.kernels.cpu_bilinear import bilinear
from allegro_md.kernels.cpu_bilinear_lanes import PackedBilinear
from allegro_md.kernels.fixed import FINE
from allegro_md.models.allegro.architecture import Mlp, Residual
from allegro_md.models.allegro.network import Network
from allegro_md.models.fused.fold import fold
from allegro_md.models.fused.gpu import NO_CENTER, GpuEvaluator
from allegro_md.models.fused.packing import FusedEvaluator
from allegro_md.models.fused.splines import tabulate
from allegro_md.neighbors.list import NeighborList
from allegro_md.potentials.fused import FusedPotential
from allegro_md.state import AtomState, SpeciesTable

CUTOFF, INTERVALS = 4.0, 48
LOCAL, GHOSTS = 90, 60
MODELS = [
    (np.float32, 2, 1, 1), (np.float64, 2, 1, 1), (np.float32, 1, 3, 2), (np.float32, 2, 4, 2), (np.float64, 3, 2, 2),
    (np.float32, 4, 2, 2), (np.float64, 4, 3, 1),
]  # fmt: skip
"""Precision, degrees, channels, species."""


def random_model(real: Any, degrees: int, channels: int, kinds: int, size: float = 0.05) -> PackedBilinear:
    """Tables of noise; the cutoffs of pairs differ where there are several species."""
    rng = np.random.default_rng(degrees + 10 * channels + 100 * kinds)
    functions = 2 * degrees * channels + 1
    table = np.zeros((kinds * kinds, INTERVALS, 4, -(-functions // 8) * 8), dtype=real)
    table[..., :functions] = size * rng.standard_normal((kinds * kinds, INTERVALS, 4, functions))
    cutoffs = CUTOFF - 0.3 * np.arange(kinds * kinds, dtype=np.float64).reshape(kinds, kinds)
    return PackedBilinear(degrees, channels, INTERVALS / cutoffs, rng.standard_normal(kinds), aligned(table))


@cache
def surroundings(kinds: int) -> tuple[Atoms, Lists]:
    """Atoms and their images in a tilted cell, in lists of any length, none first: of each center any other atoms."""
    rng = np.random.default_rng(kinds)
    n = LOCAL + GHOSTS
    shift = np.zeros((n, 3), dtype=np.int32)
    shift[LOCAL:] = rng.integers(-1, 2, (GHOSTS, 3))
    position, species = rng.uniform(0.0, 6.0, (n, 3)), rng.integers(0, kinds, n).astype(np.int16)
    lengths = rng.integers(0, 61, LOCAL)
    lengths[0] = 0
    lists = [rng.permutation(np.delete(np.arange(n), i))[:length] for i, length in enumerate(lengths)]
    cell = np.array([[6.0, 0.0, 0.0], [1.5, 6.0, 0.0], [-1.0, 2.0, 5.0]])
    offsets, neighbors = np.concatenate([[0], lengths.cumsum()]), np.concatenate(lists).astype(np.int32)
    return Atoms(position, shift, species, cell), Lists(offsets, neighbors)


def no_repulsion() -> Any:
    return np.zeros((3, 0, 0))


def random_repulsion(kinds: int) -> Any:
    """Shorter than the cutoff, and weak enough for atoms anywhere."""
    rng = np.random.default_rng(kinds)
    return np.stack([rng.uniform(low, high, (kinds, kinds)) for low, high in ((0.5, 2.0), (1.0, 4.0), (2.5, 3.8))])


class Outcome(NamedTuple):
    """Status, with `NO_CENTER` where all is well, and results."""

    status: int
    out: Out

    def same(self, other: Outcome) -> bool:
        return self.status == other.status and all(
            np.array_equal(a, b) for a, b in zip(self.out, other.out, strict=True)
        )


def outputs(n: int, virial: bool, centroid: bool) -> Out:
    """Forces that were there before; NaN where numbers are to be written."""
    before = np.random.default_rng(5).integers(-(2**40), 2**40, (LOCAL + GHOSTS, 12))
    rows = np.full((n if virial else 0, 6), np.nan)
    return Out(before[:, :3].copy(), np.full(n, np.nan), rows, before[: len(before) if centroid else 0, 3:].copy())


def on_cpu(
    model: PackedBilinear, atoms: Atoms, lists: Lists, centers: tuple[int, int], out: Out, repulsion: Any = None
) -> Outcome:
    repulsion = no_repulsion() if repulsion is None else repulsion
    status = int(bilinear(atoms, lists, centers, CUTOFF, model, repulsion, out))
    return Outcome(NO_CENTER if status == FINE else status, out)


def on_card(
    model: PackedBilinear, atoms: Atoms, lists: Lists, centers: tuple[int, int], out: Out, turn: tuple[bool, int],
    repulsion: Any = None,
) -> Outcome:
    """By the kernel of GPUs, run here."""
    status, longest = torch.full((1,), NO_CENTER), int(np.diff(lists.offsets).max())

    def tensors(arrays: Any) -> Any:
        return type(arrays)(*map(torch.from_numpy, arrays))

    with on_host(*turn):
        evaluate = GpuEvaluator(model, CUTOFF, no_repulsion() if repulsion is None else repulsion, "cpu")
        there = tensors(atoms)._replace(cell=atoms.cell)
        evaluate(there, tensors(lists), longest, centers, tensors(out), status)
    return Outcome(int(status), out)


@pytest.mark.parametrize(("virial", "centroid"), [(False, False), (True, True)])
@pytest.mark.parametrize("shape", MODELS, ids=str)
def test_bits(shape: Any, virial: bool, centroid: bool) -> None:
    model, (atoms, lists), centers = random_model(*shape), surroundings(shape[3]), (0, LOCAL - 5)
    wanted = on_cpu(model, atoms, lists, centers, outputs(LOCAL - 5, virial, centroid))
    assert wanted.status == NO_CENTER and np.isfinite(wanted.out.energy).all() and np.isfinite(wanted.out.virial).all()
    assert not np.array_equal(wanted.out.force, outputs(0, False, False).force)
    for turn in TURNS:
        assert on_card(model, atoms, lists, centers, outputs(LOCAL - 5, virial, centroid), turn).same(wanted)


@pytest.mark.parametrize("shape", [MODELS[0], MODELS[4], MODELS[6]], ids=str)
def test_nuclear_repulsion(shape: Any) -> None:
    model, (atoms, lists), repulsion = random_model(*shape), surroundings(shape[3]), random_repulsion(shape[3])
    wanted = on_cpu(model, atoms, lists, (0, LOCAL), outputs(LOCAL, True, True), repulsion)
    without = on_cpu(model, atoms, lists, (0, LOCAL), outputs(LOCAL, True, True))
    assert wanted.status == NO_CENTER and not np.array_equal(wanted.out.energy, without.out.energy)
    for turn in TURNS:
        assert on_card(model, atoms, lists, (0, LOCAL), outputs(LOCAL, True, True), turn, repulsion).same(wanted)


@pytest.mark.parametrize("centers", [(0, 7), (7, 64), (64, 64), (64, LOCAL)])
def test_rows_count_from_the_first_center(centers: tuple[int, int]) -> None:
    model, (atoms, lists), n = random_model(*MODELS[0]), surroundings(1), centers[1] - centers[0]
    wanted = on_cpu(model, atoms, lists, centers, outputs(n, True, True))
    for turn in TURNS:
        assert on_card(model, atoms, lists, centers, outputs(n, True, True), turn).same(wanted)


@pytest.mark.parametrize("real", [np.float32, np.float64])
def test_large_gradients(real: Any) -> None:
    """Of tens of eV/Å, which are looked at one by one."""
    model, (atoms, lists) = random_model(real, 2, 1, 1, size=0.4), surroundings(1)
    wanted = on_cpu(model, atoms, lists, (0, LOCAL), outputs(LOCAL, True, False))
    assert wanted.status == NO_CENTER and np.abs(wanted.out.force).max() > 2.0**44 * 50.0
    for turn in TURNS:
        assert on_card(model, atoms, lists, (0, LOCAL), outputs(LOCAL, True, False), turn).same(wanted)


@pytest.mark.parametrize("centroid", [False, True])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -1e300])
def test_the_first_center_out_of_range(bad: float, centroid: bool) -> None:
    model, (atoms, lists) = random_model(*MODELS[0]), surroundings(1)
    position = atoms.position.copy()
    position[LOCAL + 3, 1] = bad
    there = atoms._replace(position=position)
    wanted = on_cpu(model, there, lists, (0, LOCAL), outputs(LOCAL, False, centroid))
    assert (wanted.status != NO_CENTER) == bool(np.isnan(bad))  # what is infinitely far away is no neighbor
    for turn in TURNS:
        found = on_card(model, there, lists, (0, LOCAL), outputs(LOCAL, False, centroid), turn)
        assert found.status == wanted.status


def test_two_atoms_at_nearly_one_place() -> None:
    """A gradient that is finite and too large, of the first of the two."""
    model, (atoms, lists) = random_model(*MODELS[1], size=50.0), surroundings(1)
    wanted = on_cpu(model, atoms, lists, (0, LOCAL), outputs(LOCAL, False, False))
    assert wanted.status != NO_CENTER
    for turn in TURNS:
        assert on_card(model, atoms, lists, (0, LOCAL), outputs(LOCAL, False, False), turn).status == wanted.status


def test_a_list_that_does_not_fit() -> None:
    model, (atoms, _) = random_model(*MODELS[0]), surroundings(1)
    long = Lists(np.array([0, 2000]), np.ones(2000, dtype=np.int32))
    with pytest.raises(ResourceError, match="an atom has 2000 listed neighbors; on a GPU it may have 9"):
        on_card(model, atoms, long, (0, 1), outputs(1, False, False), TURNS[0])


COMMON: dict[str, Any] = {"symbols": ("Cu", "Ni"), "cutoff": 4.2, "channels": 2, "average_neighbors": 14.0, "layers": 1}
LINEAR = Residual(**COMMON, latents=12, two_body=Mlp(widths=(8,)), l_max=1, latent=Mlp(), readout=Mlp())
SINGLE = Residual(**COMMON, latents=12, two_body=Mlp(widths=(8,)), l_max=1, latent=Mlp(), readout=Mlp(widths=(6,)))
TWO_LAYERS = SINGLE.model_copy(update={"layers": 2})
NEEDS = frozenset({"virial", "virial_per_atom", "centroid_virial"})


def crowd(n: int = 150) -> tuple[AtomState, NeighborList]:
    """A cluster of two species, and its neighbors."""
    rng = np.random.default_rng(9)
    table = SpeciesTable(("Cu", "Ni"), np.array([29, 28]), np.array([63.5, 58.7]))
    grid = 2.6 * np.array(list(np.ndindex(6, 6, 6)))[:n] + rng.uniform(-0.3, 0.3, (n, 3))
    cell = Cell(np.diag([20.0, 20.0, 20.0]), (False,) * 3)
    state = AtomState.from_arrays(cell, table, grid, species=rng.integers(0, 2, n), ids=rng.permutation(n))
    lists = NeighborList(4.2, 0.3)
    lists.build(state)
    return state, lists


def lists_on_gpu(lists: NeighborList) -> NeighborList:
    """The same, of tensors."""
    twin = NeighborList(lists.cutoff, lists.skin)
    twin.offsets, twin.neighbors = torch.from_numpy(lists.offsets), torch.from_numpy(lists.neighbors)
    return twin


@pytest.mark.parametrize("needs", [frozenset(), frozenset({"virial"}), NEEDS], ids=len)
@pytest.mark.parametrize("precision", ["mixed", "double"])
@pytest.mark.parametrize(("kind", "architecture"), [("bilinear", LINEAR), ("single-layer", SINGLE)])
def test_the_potential(
    kind: str, architecture: Residual, precision: str, needs: frozenset[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    potential = FusedPotential(Network(architecture).initialize(3), architecture.symbols, precision)
    assert potential.kind == kind and potential.info.gpu_obstacle == ""
    monkeypatch.setattr("allegro_md.potentials.fused.GPU_CENTERS", 64)
    state, lists = crowd()
    twin = on_gpu(state)
    wanted = potential(state, lists, needs)
    with on_host():
        found = potential(twin, lists_on_gpu(lists), needs)
    assert np.array_equal(twin.host_all("force"), state.host_all("force")) and state.host_all("force").any()
    assert found.per_atom.keys() == wanted.per_atom.keys() and found.totals.keys() == wanted.totals.keys()
    for name, values in wanted.per_atom.items():
        assert np.array_equal(found.per_atom[name].numpy(), values), name
    assert all(np.array_equal(found.totals[name].value(), total.value()) for name, total in wanted.totals.items())
    twin.array_all("position")[7, 2] = torch.nan
    state.host_all("position")[7, 2] = np.nan
    with pytest.raises(PhysicsError, match=r"forces on atom (\d+) are") as host:
        potential(state, lists, needs)
    with on_host(), pytest.raises(PhysicsError) as card:
        potential(twin, lists_on_gpu(lists), needs)
    assert str(card.value) == str(host.value)


def test_what_is_not_built_is_refused() -> None:
    folded = fold(Network(TWO_LAYERS).initialize(3), TWO_LAYERS.symbols)
    reason = FusedEvaluator(folded, tabulate(folded, 16), np.float32).gpu_obstacle
    assert reason == "it is a multi-layer network, and only bilinear and single-layer ones can"
    potential = FusedPotential(Network(LINEAR).initialize(3), LINEAR.symbols)
    potential.info = replace(potential.info, gpu_obstacle=reason)
    state, lists = crowd()
    with pytest.raises(InputError, match=rf"cannot run this model on a GPU: {reason} — use device"):
        potential(on_gpu(state), lists_on_gpu(lists), frozenset())
