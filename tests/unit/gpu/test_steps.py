"""Steps, sums and limits of atoms by kernels of GPUs: the bits of those of CPUs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from host_build import TURNS, on_gpu, on_host

from allegro_md.backends import backend_for
from allegro_md.backends.cpu import limits as cpu_limits
from allegro_md.backends.cuda import limits, steps, sums
from allegro_md.cell import Cell
from allegro_md.errors import PhysicsError
from allegro_md.exact import ExactSum
from allegro_md.kernels.gpu.launch import kernel
from allegro_md.rng import Draw, Stream
from allegro_md.state import GROUP, WORK, AtomState, SpeciesTable

CPU = backend_for("cpu")
RNG = np.random.default_rng(8)
F, T, G = (np.eye(3) + RNG.uniform(-0.1, 0.1, (3, 3)) for _ in range(3))
FACTORS, WIDTH = np.array([1e-17, 2e-17]), np.array([1e-4, 2e-4])
DRAW = Draw((1 << 40) + 7, Stream.LANGEVIN, 3, 1)


def system(n: int = 700, grouped: bool = True) -> AtomState:
    """Two species in a tilted cell, with random forces, groups of which one is held, and work that was done before."""
    rng = np.random.default_rng(n)
    rows = np.array([[9.0, 0.0, 0.0], [2.0, 8.0, 0.0], [-1.0, 3.0, 7.0]])
    cell = Cell(rows, (True, True, False), np.array([1.0, -2.0, 0.5]))
    table = SpeciesTable(("Ar", "Kr"), np.array([18, 36]), np.array([39.948, 83.798]))
    species, ids = rng.integers(0, 2, n), rng.permutation(10**10 + np.arange(n))
    x, v = rng.uniform(-9.0, 9.0, (n, 3)), rng.normal(scale=1e-2, size=(n, 3))
    state = AtomState.from_arrays(cell, table, x, species=species, velocities=v, ids=ids)
    state.host_local("force")[:] = rng.integers(-(2**50), 2**50, (n, 3))
    if grouped:
        for field, values in ((GROUP, rng.integers(0, 8, n)), (WORK, rng.uniform(-1.0, 1.0, n))):
            state.add_field(field)
            state.host_local(field.name)[:] = values
        state.held = 2
    return state


STEPS: dict[str, Callable[[Any, AtomState], ExactSum | None]] = {
    "kick": lambda on, s: on.kick(s, FACTORS),
    "work": lambda on, s: on.work(s, 1e-13),
    "scale_velocities": lambda on, s: on.scale_velocities(s, 1.1),
    "scale_some": lambda on, s: on.scale_velocities(s, 0.7, 4),
    "add_forces": lambda on, s: on.add_forces(s, np.array([[1, -2, 3], [4, 5, -6]]), 5),
    "drift": lambda on, s: on.drift(s, 1.7),
    "thermalize": lambda on, s: on.thermalize(s, np.array([0.9, 0.8]), WIDTH, DRAW),
    "thermalize_some": lambda on, s: on.thermalize(s, np.array([0.9, 0.8]), WIDTH, DRAW, 4),
    "strain": lambda on, s: on.strain(s, F),
    "kick_with_cell": lambda on, s: on.kick_with_cell(s, FACTORS, F, G),
    "drift_with_cell": lambda on, s: on.drift_with_cell(s, F, T),
}


@pytest.mark.parametrize("grouped", [True, False])
@pytest.mark.parametrize("name", STEPS)
def test_steps(name: str, grouped: bool) -> None:
    if not grouped and name in ("work", "add_forces", "scale_some", "thermalize_some"):
        pytest.skip("is about groups")
    before, wanted = system(grouped=grouped), system(grouped=grouped)
    heat = STEPS[name](CPU.steps, wanted)
    for turn in TURNS:
        state = on_gpu(before)
        with on_host(*turn):
            found = STEPS[name](steps, state)
        for field in before.fields:
            assert np.array_equal(state.host_all(field), wanted.host_all(field)), field
        assert any(not np.array_equal(wanted.host_all(field), before.host_all(field)) for field in before.fields)
        if heat is not None:
            assert found is not None and np.array_equal(found.value(), heat.value()) and heat.value()[0] != 0.0


SUMS: dict[str, Callable[[Any, AtomState], ExactSum]] = {
    "kinetic_energy": lambda on, s: on.kinetic_energy(s),
    "kinetic_some": lambda on, s: on.kinetic_energy(s, 4),
    "kinetic_tensor": lambda on, s: on.kinetic_tensor(s),
    "momentum": lambda on, s: on.momentum(s),
    "total_mass": lambda on, s: on.total_mass(s),
    "summed": lambda on, s: on.summed(s.array_local("velocity"), "momentum", s),
    "summed_rows": lambda on, s: on.summed(s.array_local("velocity")[:, 1], "momentum", s),
}


@pytest.mark.parametrize("n", [700, 1, 0])
@pytest.mark.parametrize("name", SUMS)
def test_sums(name: str, n: int) -> None:
    state = system(n)
    wanted = SUMS[name](CPU.sums, state)
    for turn in TURNS:
        with on_host(*turn):
            found = SUMS[name](sums, on_gpu(state))
        assert found.kind == wanted.kind and np.array_equal(found.value(), wanted.value())


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])
def test_a_term_out_of_range_is_named(bad: float) -> None:
    state = system()
    state.host_local("velocity")[[300, 650], 1] = bad
    state.host_local("group")[[300, 650]] = 4
    with on_host():
        found = sums.kinetic_energy(on_gpu(state))
    with pytest.raises(PhysicsError, match=f"atom {state.host_local('id')[300]} is not finite or out of range"):
        found.value()


def test_vectors_of_minimizers() -> None:
    import torch

    state, start = system(60), RNG.uniform(-0.5, 0.5, (60, 5, 3))
    factors = np.array([0.3, 0.0, -1.7, 1e-3, 2.0])
    wanted = start.copy()
    CPU.steps.combine(wanted, factors, 2)
    for turn in TURNS:
        rows = torch.from_numpy(start.copy())
        with on_host(*turn):
            steps.combine(rows, factors, 2)
            found = sums.products(rows, (2, 4), on_gpu(state))
        assert np.array_equal(rows.numpy(), wanted)
        assert np.array_equal(found.value(), CPU.sums.products(wanted, (2, 4), state).value())


def test_largest_length() -> None:
    import torch

    state = system()
    for field, bad in (("velocity", None), ("force", None), ("velocity", np.nan), ("velocity", np.inf)):
        rows = state.host_local(field).copy()
        if bad is not None:
            rows[333, 2] = bad
        for turn in TURNS:
            with on_host(*turn):
                assert limits.largest_length(torch.from_numpy(rows)) == cpu_limits.largest_length(rows)
    with on_host():
        assert limits.largest_length(torch.empty((0, 3), dtype=torch.float64)) == 0.0


@pytest.mark.parametrize("shortest", [[[1.0, 0.0], [0.0, 2.5]], [[9.0, 9.0], [9.0, 9.0]], [[0.0, 0.0], [0.0, 0.0]]])
def test_least_clearance(shortest: Any) -> None:
    import torch

    state = system(90)
    lists = CPU.lists.find_pairs(state, 90, 3.0)
    wanted = CPU.limits.least_clearance(state, lists, np.array(shortest))
    for turn in TURNS:
        with on_host(*turn):
            tensors = torch.from_numpy(lists[0]), torch.from_numpy(lists[1])
            assert limits.least_clearance(on_gpu(state), tensors, np.array(shortest)) == wanted


def test_arguments_are_checked() -> None:
    import torch

    drift = kernel("steps.cuh", "drift")
    x = torch.zeros(6, dtype=torch.float64)
    with on_host():
        for wrong in (x.float(), x[::2], x.to("meta"), None, 3.0):
            with pytest.raises(TypeError, match="drift: position takes a contiguous tensor of float64 on cpu, not "):
                drift(1, 6, x, 1.0, wrong, threads=64)
        with pytest.raises(TypeError, match="drift takes 4 arguments, not 3"):
            drift(1, 6, x, 1.0, threads=64)
        with pytest.raises(ValueError, match="drift takes 32 to 256 threads, not 512"):
            drift(1, 6, x, 1.0, x, threads=512)
    with pytest.raises(ValueError, match=r"there is no kernel nothing in steps.cuh"):
        kernel("steps.cuh", "nothing")
