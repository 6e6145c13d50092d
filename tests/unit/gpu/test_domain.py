"""Ownership of atoms and their ghosts by kernels of GPUs: the bits of those of CPUs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import device_atoms
import numpy as np
import pytest
import torch
from host_build import TURNS, on_gpu, on_host

from allegro_md.backends.base import AtomCost, Bins, Columns
from allegro_md.backends.cpu import domain as cpu
from allegro_md.backends.cuda import domain
from allegro_md.cell import Cell
from allegro_md.comm import Comm
from allegro_md.state import AtomState, SpeciesTable

X = np.array([0.0, 0.25, 0.25, 0.7, 1.0])
Y = np.sort(np.random.default_rng(1).uniform(0.0, 1.0, (4, 4)))
Z = np.sort(np.random.default_rng(2).uniform(-1.0, 1.0, (4, 3, 6)))
Z[..., 0], Z[..., -1] = -np.inf, np.inf


@pytest.fixture(autouse=True)
def poisoned() -> Iterator[None]:
    """Memory that torch gives holds NaN, or the largest integers."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def system(n: int = 700) -> AtomState:
    """A tilted cell, free along its last axis; some atoms are on planes of the cell, or one bit beside them."""
    rng = np.random.default_rng(n)
    rows = np.array([[9.0, 0.0, 0.0], [2.0, 8.0, 0.0], [-1.0, 3.0, 7.0]])
    cell = Cell(rows, (True, True, False), np.array([1.0, -2.0, 0.5]))
    fraction = rng.uniform(-3.0, 3.0, (n, 3))
    exact = rng.choice([-1.0, -0.0, 0.0, 0.25, 0.7, 1.0, 2.0], (n, 3))
    fraction = np.where(rng.random((n, 3)) < 0.3, exact, fraction)
    x = fraction @ rows + cell.origin
    x = np.where(rng.random((n, 3)) < 0.2, np.nextafter(x, rng.choice([-99.0, 99.0], (n, 3))), x)
    state = AtomState.from_arrays(cell, SpeciesTable(("Ar",), np.array([18]), np.array([39.948])), x)
    state.host_local("shift")[:] = rng.integers(-3, 4, (n, 3))
    return state


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 100.0, -100.0, 99.0])
def test_first_beyond(bad: float) -> None:
    state = system()
    for where in ((), (650, 300, 301), (0,), (699,)):
        state.host_local("position")[list(where), 1] = bad
        for turn in TURNS:
            with on_host(*turn):
                assert domain.first_beyond(on_gpu(state), 100.0) == cpu.first_beyond(state, 100.0)
        assert cpu.first_beyond(state, 100.0) == (min(where) if where and bad != 99.0 else -1)
        state.host_local("position")[list(where), 1] = 0.0


@pytest.mark.parametrize("n", [700, 2, 1, 0])
def test_extremes(n: int) -> None:
    state = system(n)
    for turn in TURNS:
        with on_host(*turn):
            assert np.array_equal(domain.extremes(on_gpu(state)), cpu.extremes(state))


@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("axis", range(3))
def test_costs_along(axis: int, listed: bool) -> None:
    state, columns, bins = system(), Columns(X, Y), Bins(axis, -0.7, 0.05, 40)
    offsets = np.concatenate([[0], np.cumsum(np.random.default_rng(5).integers(0, 60, 705))])
    wanted = cpu.costs_along(state, columns, bins, AtomCost(offsets if listed else None, 8.5, 1.7))
    cost = AtomCost(torch.from_numpy(offsets) if listed else None, 8.5, 1.7)
    for turn in TURNS:
        with on_host(*turn):
            found = domain.costs_along(on_gpu(state), columns, bins, cost)
        assert found.dtype == np.int64 and np.array_equal(found, wanted) and (found.sum(axis=1) > 0).any()


@pytest.mark.parametrize("n", [700, 0])
def test_assign_owners(n: int) -> None:
    state = system(n)
    twins = [on_gpu(state) for _ in TURNS]
    wanted = cpu.assign_owners(state, (X, Y, Z))
    for twin, turn in zip(twins, TURNS, strict=True):
        with on_host(*turn):
            owner = domain.assign_owners(twin, (X, Y, Z))
        assert owner.dtype == torch.int32 and np.array_equal(owner.numpy(), wanted)
        assert np.array_equal(twin.host_local("shift"), state.host_local("shift"))
    assert n == 0 or len(np.unique(wanted)) > 20


NOWHERE = np.array([[np.inf] * 3, [-np.inf] * 3])


@pytest.mark.parametrize("inner", [NOWHERE, np.array([[-0.5, 0.0, -1.0], [1.0, 0.25, 2.0]])])
@pytest.mark.parametrize(("n", "m"), [(700, 26), (700, 1), (700, 0), (1, 3), (0, 3)])
def test_within(n: int, m: int, inner: Any) -> None:
    state, rng = system(n), np.random.default_rng(m)
    boxes = np.sort(rng.choice([-2.0, -1.0, -0.3, 0.0, 0.25, 0.7, 1.0, 2.0], (m, 2, 3)), axis=1)
    boxes[1:2, 1, 2] = np.inf
    rows, counts = cpu.within(state, inner, boxes)
    for turn in TURNS:
        with on_host(*turn):
            found, numbers = domain.within(on_gpu(state), inner, boxes)
        assert found.dtype == torch.int32 and numbers.dtype == np.int64
        assert np.array_equal(found.numpy(), rows) and np.array_equal(numbers, counts)
    assert n < 700 or m < 26 or (counts > 0).sum() > 5


TYPES = [(np.int16, ()), (np.int32, (3,)), (np.int64, ()), (np.int64, (3,)), (np.float64, (3, 3)), (np.float64, ())]


@pytest.mark.parametrize(("dtype", "shape"), TYPES)
def test_rows_are_copied(dtype: Any, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(3)
    values = (1e4 * rng.normal(size=(500, *shape))).astype(dtype)
    for m, inside in itertools.product((300, 0), (True, False)):
        rows = rng.integers(0, 200, m).astype(np.int32)
        wanted = values.copy()
        cpu.gather(wanted, rows, wanted[200 : 200 + m])
        for turn in TURNS:
            twin = torch.from_numpy(values.copy())
            out = twin[200 : 200 + m] if inside else torch.full((m, *shape), -77, dtype=twin.dtype)
            with on_host(*turn):
                domain.gather(twin, torch.from_numpy(rows), out)
            assert np.array_equal(out.numpy(), wanted[200 : 200 + m])
            assert np.array_equal(twin.numpy(), wanted if inside else values)


@pytest.mark.parametrize("shape", [(), (3,), (3, 3)])
def test_rows_are_added(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(4)
    values = rng.integers(-(2**62), 2**62, (500, *shape))
    for m in (300, 0):
        rows = rng.integers(0, 60, m).astype(np.int32)
        wanted = values.copy()
        cpu.scatter_add(wanted, rows, wanted[200 : 200 + m])
        for turn in TURNS:
            twin = torch.from_numpy(values.copy())
            with on_host(*turn):
                domain.scatter_add(twin, torch.from_numpy(rows), twin[200 : 200 + m])
            assert np.array_equal(twin.numpy(), wanted)


@pytest.mark.parametrize("name", device_atoms.WHERE)
def test_migration_and_halo(name: str) -> None:
    device_atoms.check(name, Comm.serial())


@pytest.mark.parallel
def test_migration_and_halo_on_two_ranks(mpirun: Any) -> None:
    assert "the same bits" in mpirun(2, [Path(device_atoms.__file__)]).stdout
