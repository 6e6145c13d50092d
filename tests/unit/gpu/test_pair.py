"""Pair potentials by kernels of GPUs: forces, energies, virials, and the atom that is named, as those of CPUs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from host_build import TURNS, on_gpu, on_host
from pair_systems import CUTOFF, KERNELS, LOCAL, SKIN, large_shift, system, with_a_near_pair

from allegro_md.cell import Cell
from allegro_md.errors import PhysicsError
from allegro_md.evaluation import Evaluation, Needs
from allegro_md.kernels.arguments import Atoms, Lists
from allegro_md.neighbors.list import NeighborList
from allegro_md.potentials import eam, lj, zbl
from allegro_md.potentials.pair import GpuParameters, evaluate
from allegro_md.potentials.parts import Parts
from allegro_md.state import AtomState, SpeciesTable
from allegro_md.state import on_host as copied

ON_GPU: dict[str, Callable[..., GpuParameters]] = {
    "lj": lj.gpu_parameters, "eam": eam.gpu_parameters, "zbl": zbl.gpu_parameters,
}  # fmt: skip
ALL = frozenset({"virial", "virial_per_atom", "centroid_virial"})
System = tuple[Atoms, Lists]


def held(atoms: Atoms, lists: Lists) -> tuple[AtomState, NeighborList]:
    """A state of these atoms, with forces of another potential, and the list."""
    n_all, rng = len(atoms.position), np.random.default_rng(9)
    n = len(lists.offsets) - 1
    table = SpeciesTable(("Ag", "Au"), np.array([47, 79]), np.array([107.9, 197.0]))
    state = AtomState(Cell(atoms.cell), table, n)
    state.resize(n, n_all - n)
    values = atoms._asdict() | {"id": 10**10 + np.arange(n_all) % LOCAL * 7, "velocity": 0.0}
    values["force"] = rng.integers(-(2**50), 2**50, (n_all, 3))
    for name in state.fields:
        state.array_all(name)[...] = values[name]
    pairs = NeighborList(CUTOFF, SKIN)
    pairs.offsets, pairs.neighbors = lists
    return state, pairs


def results(state: AtomState, found: Evaluation) -> dict[str, Any]:
    totals = {name: total.value() for name, total in found.totals.items()}
    per_atom = {name: copied(values) for name, values in found.per_atom.items()}
    return per_atom | totals | {"force": state.host_all("force")}


def poisoned(size: int | tuple[int, ...], **kind: Any) -> torch.Tensor:
    return torch.full((size,) if isinstance(size, int) else size, np.nan, **kind)


def compared(
    name: str, atoms: Atoms, lists: Lists, needs: Needs = ALL, parameters: tuple[Any, ...] | None = None
) -> dict[str, Any]:
    """Results of the CPU, which those of kernels of GPUs are equal to, in both turns; memory begins as NaN."""
    kernel, of_test = KERNELS[name]
    parameters = of_test() if parameters is None else parameters
    fixed = kernel, parameters, ON_GPU[name](*parameters)
    before, pairs = held(atoms, lists)
    state, _ = held(atoms, lists)
    wanted: Any
    try:
        wanted = results(state, evaluate(name, *fixed, state, pairs, needs, Parts.whole(state)))
    except PhysicsError as error:
        wanted = {"error": str(error)}
    on_device = NeighborList(CUTOFF, SKIN)
    on_device.offsets, on_device.neighbors = (torch.from_numpy(each) for each in lists)
    for turn in TURNS:
        twin = on_gpu(before)
        with on_host(*turn), pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch, "empty", poisoned)
            try:
                found = results(twin, evaluate(name, *fixed, twin, on_device, needs, Parts.whole(twin)))
            except PhysicsError as error:
                found = {"error": str(error)}
        assert found.keys() == wanted.keys(), (found, wanted)
        for key, value in wanted.items():
            assert np.array_equal(found[key], value), key
    return dict(wanted)


def of_one_species(name: str) -> tuple[Any, ...]:
    parameters = KERNELS[name][1]()
    if name == "zbl":
        return parameters[0], np.ascontiguousarray(parameters[1][:, :1, :1])
    if name == "lj":
        return (parameters[0]._replace(table=np.ascontiguousarray(parameters[0].table[:1, :1])),)
    functions = parameters[0]
    pairs = np.ascontiguousarray(functions.pairs[:1, :1])
    return (functions._replace(embedding=functions.embedding[:1].copy(), pairs=pairs),)


@pytest.mark.parametrize("needs", [frozenset(), {"virial"}, {"centroid_virial"}, ALL], ids=len)
@pytest.mark.parametrize("name", KERNELS)
def test_two_species(name: str, needs: Any) -> None:
    found = compared(name, *system(0), frozenset(needs))
    assert found.keys() == {"energy", "force", *needs}
    assert all(np.any(values != 0) for values in found.values())


@pytest.mark.parametrize("needs", [frozenset(), ALL], ids=len)
@pytest.mark.parametrize("name", KERNELS)
def test_one_species(name: str, needs: Any) -> None:
    atoms, lists = system(1)
    compared(name, atoms._replace(species=np.zeros_like(atoms.species)), lists, needs, of_one_species(name))


@pytest.mark.parametrize("name", KERNELS)
def test_far_unwrapped(name: str) -> None:
    """Shifts beyond what a code holds take another way to the same pair vectors."""
    atoms, lists = system(2)
    far = atoms.shift + np.array([2**20 - 1, 0, -(2**20)], np.int32)
    near, moved = compared(name, atoms, lists), compared(name, atoms._replace(shift=far), lists)
    assert all(np.array_equal(near[key], moved[key]) for key in near)


@pytest.mark.parametrize("share", [0.6, 0.55, 0.45, 0.1, 0.05, 0.03, 0.01, 0.0])
@pytest.mark.parametrize("name", KERNELS)
def test_an_atom_that_nearly_sits_on_another(name: str, share: float) -> None:
    """The way with checks, forces that need a second look, and those out of range."""
    atoms, lists = system(3)
    atoms = with_a_near_pair(atoms, share)
    for needs in (frozenset({"virial_per_atom"}), ALL):
        found = compared(name, atoms, lists, needs)
        if share == 0.0 and name != "eam":
            assert "the forces on atom 10000000000 are not finite or out of range; its nearest" in found["error"]


def test_ways_of_lennard_jones() -> None:
    """A force that needs a second look, too large for the centroid virial alone; pairs that are never far enough."""
    atoms, lists = system(3)
    near = with_a_near_pair(atoms, 0.5)
    found = compared("lj", near, lists, frozenset({"virial"})), compared("lj", near, lists)
    assert ["error" in each for each in found] == [False, True]
    compared("lj", atoms, lists, ALL, large_shift(KERNELS["lj"][1]()))


def test_screening_that_leaves_nothing() -> None:
    """Exponentials of numbers beyond the range of results, and at its end."""
    cutoff, table = KERNELS["zbl"][1]()
    for factor in (50.0, 75.0, 300.0):
        found = compared("zbl", *system(8), ALL, (cutoff, table * np.array([1.0, factor])[:, None, None]))
    assert found["energy"].min() < 1e-100


@pytest.mark.parametrize("factor", [50.0, 400.0])
def test_large_functions(factor: float) -> None:
    """Gradients of F(ρ) beyond what is small, and beyond what is allowed."""
    (functions,) = KERNELS["eam"][1]()
    pairs = functions.pairs * ([1.0] * 4 + [factor] * 4)
    found = compared("eam", *system(4), ALL, (functions._replace(embedding=factor * functions.embedding, pairs=pairs),))
    assert ("error" in found) == (factor == 400.0)


@pytest.mark.parametrize("name", KERNELS)
def test_the_atom_with_no_force_is_named(name: str) -> None:
    atoms, lists = system(5)
    position = atoms.position.copy()
    position[20] = np.nan
    first = next(i for i in range(LOCAL) if i == 20 or 20 in lists.neighbors[lists.offsets[i] : lists.offsets[i + 1]])
    for needs in (frozenset(), ALL):
        found = compared(name, atoms._replace(position=position), lists, needs)
        assert found["error"] == f"{name}: the forces on atom {10**10 + 7 * first} are not finite or out of range"


@pytest.mark.parametrize("copies", [450, 520, 2100])
@pytest.mark.parametrize("name", KERNELS)
def test_long_lists(name: str, copies: int) -> None:
    """One neighbor many times; more than `EDGE_TERMS` are too many where edges write to both ends."""
    atoms, (offsets, neighbors) = system(6)
    seen = atoms.position + atoms.shift @ atoms.cell
    j = neighbors[np.argmax(np.linalg.norm(seen[neighbors[: offsets[1]]] - seen[0], axis=1) < 0.9 * CUTOFF)]
    more = np.concatenate([np.full(copies, j, np.int32), neighbors])
    found = compared(name, atoms, Lists(np.concatenate([[0], offsets[1:] + copies]), more))
    assert ("error" in found) == (name == "eam" and copies > 512)


@pytest.mark.parametrize("name", KERNELS)
def test_nothing_to_do(name: str) -> None:
    atoms, lists = system(7)
    found = compared(name, atoms, Lists(np.zeros(LOCAL + 1, np.int64), np.zeros(0, np.int32)))
    assert not found["energy"].any()
    none = Atoms(atoms.position[:0], atoms.shift[:0], atoms.species[:0], atoms.cell)
    compared(name, none, Lists(np.zeros(1, np.int64), lists.neighbors[:0]))
