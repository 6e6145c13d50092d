"""A backend is one module and one registry line: one in plain torch, trying all pairs, gives the same bits."""

from __future__ import annotations

import csv
import itertools
from importlib import import_module
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from allegro_md.backends import BACKENDS, backend_for
from allegro_md.backends.base import AtomCost, Bins, Columns
from allegro_md.cell import Cell
from allegro_md.comm import Comm
from allegro_md.config import load_input
from allegro_md.integrators.steps import strain
from allegro_md.rng import Draw, Stream
from allegro_md.simulation.run import Simulation
from allegro_md.state import GROUP, WORK, AtomState, SpeciesTable

DRIVER = Path(__file__).parent / "plain_torch.py"

INPUT = """
[system]
crystal = { symbol = "Ar", lattice = "fcc", a = 5.3, repeat = [4, 3, 3], rattle = 0.2 }
velocities = { temperature = 300.0, seed = 1 }
periodic = [true, true, false]
[potential]
kind = "lj"
epsilon = 0.0103
sigma = 3.4
cutoff = 6.0
[dynamics]
ensemble = "nvt-nose-hoover"
timestep = 4.0
steps = 60
temperature = 200.0
thermostat_time = 50.0
[parallel]
skin = 0.2
[output]
thermo = { every = 1 }
trajectory = { every = 20, fields = ["position", "velocity", "force", "image"], dtype = "float64" }
"""


def results(directory: Path) -> tuple[list[list[str]], dict[str, Any]]:
    """Rows of thermo.csv without the time they took, and all frames."""
    rows = [row[:-1] for row in csv.reader((directory / "thermo.csv").open())]
    with h5py.File(directory / "trajectory.h5") as file:
        group = file["particles/all"]
        return rows, {name: group[name]["value"][:] for name in ("position", "velocity", "force", "image")}


def same(first: Path, second: Path) -> bool:
    (rows, frames), (others, other_frames) = results(first), results(second)
    return rows == others and all(np.array_equal(frames[name], other_frames[name]) for name in frames)


def run(folder: Path, name: str, text: str = INPUT) -> Path:
    (folder / "input.toml").write_text(text)
    source = load_input(folder / "input.toml", [f'output.directory="{name}"'])
    Simulation.from_config(source, Comm.serial()).run()
    return folder / name


@pytest.mark.parallel
def test_the_same_bits_on_one_and_two_ranks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mpirun: Any) -> None:
    numba = run(tmp_path, "numba")
    monkeypatch.syspath_prepend(str(DRIVER.parent))
    monkeypatch.setitem(BACKENDS, "cpu", "plain_torch")
    plain = run(tmp_path, "plain")
    wanted = {"kick", "drift", "kinetic", "energy", "momentum", "mass", "largest_length", "find_pairs", "sort_order"}
    wanted |= {"farthest", "wrapped", "largest_displacement", "first_beyond", "extremes", "assign_owners", "within"}
    wanted |= {"gather"}
    assert import_module("plain_torch").CALLS >= wanted
    assert same(numba, plain)
    mpirun(2, [DRIVER, "run", tmp_path / "input.toml", "--set", f'output.directory="{tmp_path / "two"}"'])
    assert same(numba, tmp_path / "two")


def test_noise_and_friction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The step of Langevin dynamics that draws numbers; the heat it gives is a column of thermo.csv."""
    langevin = INPUT.replace("nvt-nose-hoover", "nvt-langevin").replace("thermostat_time = 50.0", 'friction = "20/ps"')
    numba = run(tmp_path, "numba", langevin)
    monkeypatch.syspath_prepend(str(DRIVER.parent))
    monkeypatch.setitem(BACKENDS, "cpu", "plain_torch")
    plain = run(tmp_path, "plain", langevin)
    assert "thermalize" in import_module("plain_torch").CALLS
    assert same(numba, plain)


def test_the_rest_of_a_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    """What that run does not need: planes on two ranks, and the guard of distances, which a model asks for."""
    monkeypatch.syspath_prepend(str(DRIVER.parent))
    numba, plain = backend_for("cpu"), import_module("plain_torch").BACKEND
    rng = np.random.default_rng(3)
    argon = SpeciesTable(("Ar", "Kr"), np.array([18, 36]), np.array([39.948, 83.798]))
    cell = Cell.from_rows(np.array([[9.0, 0.0, 0.0], [2.0, 8.0, 0.0], [-1.0, 3.0, 7.0]]), (True, True, False))
    state = AtomState.from_arrays(cell, argon, rng.uniform(-9.0, 9.0, (60, 3)), species=np.arange(60) % 2)
    lists = numba.lists.find_pairs(state, 60, 3.0)
    columns = Columns(np.array([0.0, 0.3, 1.0]), np.array([[0.0, 0.5, 1.0], [0.0, 0.7, 1.0]]))
    for axis, offsets in itertools.product(range(3), (None, lists[0])):
        bins, cost = Bins(axis, -0.7, 0.05, 40), AtomCost(offsets, 8.0, 1.7)
        costs = [b.domain.costs_along(state, columns, bins, cost) for b in (numba, plain)]
        total = 8 * 60 + (0 if offsets is None else int(offsets[-1]))
        assert np.array_equal(costs[0], costs[1]) and costs[0].sum() == pytest.approx(1.7 * total, abs=30.0)
    shortest = np.array([[1.0, 0.0], [0.0, 2.5]])
    found = [b.limits.least_clearance(state, lists, shortest) for b in (numba, plain)]
    assert found[0][0] == pytest.approx(found[1][0], abs=1e-12) and sorted(found[0][1:]) == sorted(found[1][1:])
    values, where = rng.integers(-9, 9, (60, 3)), np.array([4, 7, 4], dtype=np.int32)
    sums = [values.copy(), values.copy()]
    numba.domain.scatter_add(sums[0], where, values[:3])
    plain.domain.scatter_add(sums[1], torch.from_numpy(where), values[:3])
    assert np.array_equal(sums[0], sums[1]) and np.array_equal(sums[0][4], values[4] + values[0] + values[2])
    stretch = np.eye(3) * 1.01
    places = [b.lists.wrapped(state, np.float32) for b in (numba, plain)]
    moved = [b.lists.largest_displacement(state, places[0], stretch) for b in (numba, plain)]
    assert np.array_equal(*places)
    assert moved[0] == pytest.approx(moved[1], rel=1e-6) and moved[0] > 0.05


def test_a_cell_in_motion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kicks and drifts under a barostat, in a cell that shears."""
    keys = 'thermostat_time = 50.0\nbarostat_time = 200.0\npressure = [0.1, -0.1, 0.0, 0.0, 0.0, 0.1]\n'
    keys += 'cell = "flexible"\nhold = ["zz", "yz", "xz"]'
    moving = INPUT.replace("nvt-nose-hoover", "npt-mtk").replace("thermostat_time = 50.0", keys)
    numba = run(tmp_path, "numba", moving)
    monkeypatch.syspath_prepend(str(DRIVER.parent))
    monkeypatch.setitem(BACKENDS, "cpu", "plain_torch")
    plain = run(tmp_path, "plain", moving)
    assert import_module("plain_torch").CALLS >= {"kick_with_cell", "drift_with_cell"}
    assert same(numba, plain)


def test_strain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fractional coordinates stay, about a corner that is not 0; the same bits in another order of atoms."""
    monkeypatch.syspath_prepend(str(DRIVER.parent))
    rng = np.random.default_rng(4)
    rows = np.array([[9.0, 0.0, 0.0], [2.0, 8.0, 0.0], [-1.0, 3.0, 7.0]])
    cell = Cell(rows, (True, True, True), np.array([0.3, -2.0, 5.0]))
    x, argon = rng.uniform(-20.0, 20.0, (50, 3)), SpeciesTable(("Ar",), np.array([18]), np.array([39.948]))
    matrix = rows + rng.uniform(-0.3, 0.3, (3, 3))
    states = [AtomState.from_arrays(cell, argon, places) for places in (x, x[::-1].copy(), x)]
    strain(states[0], matrix)
    strain(states[1], matrix)
    monkeypatch.setitem(BACKENDS, "cpu", "plain_torch")
    strain(states[2], matrix)
    mapped = states[0].local("position").numpy()
    fraction, after = (x - cell.origin) @ cell.inverse, (mapped - cell.origin) @ states[0].cell.inverse
    np.testing.assert_allclose(after, fraction, rtol=0, atol=1e-13)
    assert np.array_equal(mapped, states[1].local("position").numpy()[::-1])
    assert np.array_equal(mapped, states[2].local("position").numpy())


def test_vectors_of_minimizers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Combinations and exact products of several vectors per atom; a factor of zero leaves a vector out."""
    monkeypatch.syspath_prepend(str(DRIVER.parent))
    numba, plain = backend_for("cpu"), import_module("plain_torch").BACKEND
    rng = np.random.default_rng(5)
    argon = SpeciesTable(("Ar",), np.array([18]), np.array([39.948]))
    state = AtomState.from_arrays(Cell(np.eye(3)), argon, np.zeros((40, 3)))
    start, factors = rng.uniform(-0.5, 0.5, (40, 5, 3)), np.array([0.3, 0.0, -1.7, 1e-3, 2.0])
    found = []
    for backend in (numba, plain):
        rows = start.copy()
        backend.steps.combine(rows, factors, 2)
        assert np.array_equal(rows[:, [0, 1, 3, 4]], start[:, [0, 1, 3, 4]])
        found.append((rows, backend.sums.products(rows, (2, 4), state).value()))
    assert np.array_equal(found[0][0], found[1][0]) and np.array_equal(found[0][1], found[1][1])
    np.testing.assert_allclose(found[0][0][:, 2], np.einsum("k,nkc->nc", factors, start), atol=1e-15)
    products = np.einsum("nkc,nlc->kl", found[0][0][:, [2, 4]], found[0][0])
    np.testing.assert_allclose(found[0][1].reshape(2, 5), products, atol=1e-13)


def test_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kicks, work, scaling, noise, applied forces and kinetic sums of some of the atoms, where others are held."""
    monkeypatch.syspath_prepend(str(DRIVER.parent))
    rng, found = np.random.default_rng(5), []
    argon = SpeciesTable(("Ar", "Kr"), np.array([18, 36]), np.array([39.948, 83.798]))
    x, v = rng.uniform(0.0, 9.0, (50, 3)), rng.normal(scale=1e-3, size=(50, 3))
    force, group = rng.integers(-(2**40), 2**40, (50, 3)), rng.integers(0, 8, 50)
    before = v.copy()
    for backend in (backend_for("cpu"), import_module("plain_torch").BACKEND):
        state = AtomState.from_arrays(Cell(9.0 * np.eye(3)), argon, x, species=np.arange(50) % 2, velocities=v)
        for field, values in ((GROUP, group), (WORK, np.zeros(50))):
            state.add_field(field)
            state.host_local(field.name)[:] = values
        state.host_local("force")[:] = force
        state.held = 2
        backend.steps.kick(state, np.array([1e-17, 2e-17]))
        backend.steps.work(state, 1e-13)
        backend.steps.scale_velocities(state, 1.1, 4)
        backend.steps.scale_velocities(state, 0.9)
        backend.steps.add_forces(state, np.array([[1, 2, 3], [4, 5, 6]]), 1)
        draw = Draw(7, Stream.LANGEVIN, 3)
        heat = backend.steps.thermalize(state, np.array([0.9, 0.8]), np.array([1e-4, 2e-4]), draw, 4)
        sums = [heat, *(backend.sums.kinetic_energy(state, k) for k in (0, 5)), backend.sums.kinetic_tensor(state)]
        found.append([state.local(name).numpy() for name in ("velocity", "force", "work")] + [s.value() for s in sums])
    assert all(np.array_equal(*pair) for pair in zip(*found, strict=True))
    held = (group & 2) != 0
    velocity, forces, work = found[0][:3]
    assert np.array_equal(velocity[held], before[held]) and (velocity[~held] != before[~held]).all()
    assert np.array_equal((forces != force).any(axis=1), ~held & (group & 1 != 0))
    np.testing.assert_allclose(work, np.where(held, (force * before).sum(axis=1) * 1e-13, 0.0), rtol=1e-12)


def test_a_device_without_a_backend() -> None:
    with pytest.raises(ValueError, match="no backend for meta, only for cpu"):
        backend_for("meta:0")
