"""Minimizers on one rank: known minima, gradients by finite differences, and what is refused."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from relaxing import Minimization, atoms, minimized, prepared, table_of
from scipy.optimize import minimize_scalar
from systems import Soft, lennard_jones

from allegro_md.comm import Comm
from allegro_md.errors import InputError
from allegro_md.evaluation import Evaluation, Needs, PotentialInfo
from allegro_md.exact import FORCE_SCALE
from allegro_md.integrators.base import Setting
from allegro_md.integrators.minimize import build
from allegro_md.integrators.minimize_lbfgs import PAIRS
from allegro_md.integrators.steps import strain
from allegro_md.state import GROUP, AtomState
from allegro_md.units import EV_PER_A3_IN_GPA

Array = NDArray[np.float64]

METHODS = ("l-bfgs", "fire")
ARGON = lennard_jones(0.0103, 3.4, 8.5)
TILTED = np.array([[1.03, 0.03, 0.0], [0.0, 0.98, 0.02], [0.0, 0.0, 1.02]])


class Springs:
    """Each atom on three springs to its own place, E = ½ Σ k_ic (x_ic − c_ic)²; without virial."""

    info = PotentialInfo("springs", 1.0, provides=frozenset({"energy", "force"}), conserves_momentum=False)

    def __init__(self, stiffness: Array, places: Array) -> None:
        self.stiffness, self.places = stiffness, places

    def __call__(self, state: AtomState, needs: Needs = frozenset()) -> Evaluation:
        ids = state.local("id").numpy()
        away = state.local("position").numpy() - self.places[ids]
        force = -self.stiffness[ids] * away
        state.local("force")[:] = torch.from_numpy(np.rint(force * FORCE_SCALE).astype(np.int64))
        return Evaluation.of(state, needs, 0.5 * (self.stiffness[ids] * away**2).sum(axis=1), None)


def fcc(a: float, n: int, noise: float, deformation: Array | None = None, seed: int = 1) -> AtomState:
    basis = np.array([[0.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.5, 0.0, 0.5], [0.0, 0.5, 0.5]])
    x = a * (np.stack(np.meshgrid(*[np.arange(n)] * 3, indexing="ij"), -1).reshape(-1, 1, 3) + basis).reshape(-1, 3)
    x += np.random.default_rng(seed).uniform(-noise, noise, x.shape)
    f = np.eye(3) if deformation is None else deformation
    return atoms(x @ f, np.eye(3) * a * n @ f)


def icosahedron(noise: float, seed: int) -> AtomState:
    golden = (1 + math.sqrt(5)) / 2
    shell = [p for a in (-1, 1) for b in (-golden, golden) for p in ((0, a, b), (a, b, 0), (b, 0, a))]
    x = np.array([(0.0, 0.0, 0.0), *shell]) * 1.9
    return atoms(x + np.random.default_rng(seed).uniform(-noise, noise, x.shape))


def bottom(pressure: float) -> tuple[float, float]:
    """Lattice constant and enthalpy per atom of fcc argon at a pressure (GPa), by a scan of one variable."""

    def enthalpy(a: float) -> float:
        return float(prepared(ARGON, fcc(a, 3, 0.0), table_of(cell="isotropic", pressure=pressure)).enthalpy) / 108

    found = minimize_scalar(enthalpy, bounds=(4.6, 5.5), method="bounded", options={"xatol": 1e-9})
    return float(found.x), float(found.fun)


@pytest.mark.parametrize("kinds", [1, 2, 3, 5])
def test_quadratic_function(kinds: int) -> None:
    """With few different curvatures, L-BFGS is at the bottom after about as many steps."""
    rng = np.random.default_rng(kinds)
    stiffness = rng.choice(np.geomspace(5.0, 40.0, kinds), (20, 3))
    places = rng.uniform(0.0, 10.0, (20, 3))
    state = atoms(places + rng.uniform(-0.05, 0.05, (20, 3)))
    run = minimized(Springs(stiffness, places), state, table_of(max_force=1e-6))
    assert run.converged and run.steps <= 3 * kinds + 1
    away = state.local("position").numpy() - places[state.local("id").numpy()]
    assert np.abs(away).max() < 1e-6 / 5.0


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", [1, 2])
def test_thirteen_atoms(method: str, seed: int) -> None:
    """The Lennard-Jones icosahedron has −44.326801 ε: Wales, Doye, J. Phys. Chem. A 101, 5111 (1997)."""
    cluster = lennard_jones(0.0103, 3.4, 1000.0)  # the shift at this cutoff is 10⁻¹⁴ ε
    run = minimized(cluster, icosahedron(0.4, seed), table_of(method=method, max_force=1e-7))
    assert run.converged and run.steps < 200
    assert run.enthalpy / 0.0103 == pytest.approx(-44.326801, abs=1e-6)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("pressure", [0.0, 2.0])
def test_flexible_cell(method: str, pressure: float) -> None:
    """A strained, sheared and rattled crystal returns to the cube that a scan of one variable finds."""
    state = fcc(5.3, 3, 0.2, TILTED)
    run = minimized(ARGON, state, table_of(method=method, cell="flexible", pressure=pressure, max_force=1e-6,
                                           max_stress=1e-6))
    a, enthalpy = bottom(pressure)
    assert run.converged
    assert run.enthalpy / 108 == pytest.approx(enthalpy, abs=1e-9)
    metric = state.cell.matrix @ state.cell.matrix.T
    np.testing.assert_allclose(metric, np.eye(3) * (3 * a) ** 2, atol=2e-3)


@pytest.mark.parametrize("cell", ["isotropic", "anisotropic"])
def test_parts_of_the_cell(cell: str) -> None:
    """The angles, or all shapes, stay as they are; what may change is at its best."""
    stretch = np.diag([1.05, 0.96, 1.0])
    state = fcc(5.3, 3, 0.1, stretch)
    start = np.array(state.cell.matrix)
    run = minimized(ARGON, state, table_of(cell=cell, max_force=1e-6, max_stress=1e-6))
    assert run.converged
    h = state.cell.matrix
    if cell == "isotropic":
        np.testing.assert_allclose(h, start * h[0, 0] / start[0, 0], atol=1e-12)
    else:
        np.testing.assert_allclose(h, np.eye(3) * 3 * bottom(0.0)[0], atol=1e-4)
    stress = run.stress()
    mean = stress[:3].mean()
    assert abs(mean) < 2e-6
    assert (np.abs(stress[:3] - mean).max() > 1e-3) == (cell == "isotropic")


@pytest.mark.parametrize("pressure", [0.0, 1.5])
def test_forces_are_the_slope_of_the_enthalpy(pressure: float) -> None:
    """The force on the cell by finite differences of E + P V in each of the six strains."""
    start = fcc(2.2, 2, 0.1, TILTED)
    h, table = np.array(start.cell.matrix), table_of(cell="flexible", pressure=pressure)

    def at(component: tuple[int, int], size: float) -> Any:
        e = np.zeros((3, 3))
        e[component] += 0.5 * size
        e[component[::-1]] += 0.5 * size
        state = fcc(2.2, 2, 0.1, TILTED)
        strain(state, h @ (np.eye(3) + e))
        return prepared(Soft(), state, table)

    here = at((0, 0), 0.0)
    for component in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)):
        slope = (at(component, 1e-5).enthalpy - at(component, -1e-5).enthalpy) / 2e-5
        assert -here.cell_force[component] * here.weight == pytest.approx(slope, abs=1e-7)
    excess = (here.cell_force * here.weight) / start.cell.volume * EV_PER_A3_IN_GPA
    assert here.max_stress == pytest.approx(np.abs(excess).max(), rel=1e-12)


def test_moves_that_overshoot_are_taken_back() -> None:
    """Springs so stiff that the first steps go far beyond the bottom; the energy kept never rises."""
    places = np.arange(12.0).reshape(4, 3)
    stiffness = 4000.0 * np.arange(1.0, 13.0).reshape(4, 3)
    run = Minimization(Springs(stiffness, places), atoms(places + 0.02), table_of(max_force=1e-4))
    kept, backtracks = [run.relaxation.enthalpy], 0
    method: Any = run.integrator.method
    while not run.integrator.finished and run.steps < 100:
        run.step()
        backtracks += method.history.backtracks > 0
        if method.history.backtracks == 0:
            kept.append(method.history.enthalpy)
    assert run.integrator.finished and backtracks > 0
    assert all(b <= a for a, b in zip(kept, kept[1:], strict=False))


@pytest.mark.parametrize("method", METHODS)
def test_masses_do_not_matter(method: str) -> None:
    ends = []
    for mass in (1.0, 200.0):
        state = fcc(5.3, 2, 0.2)
        state.species_table = replace(state.species_table, masses=np.array([mass]))
        minimized(ARGON, state, table_of(method=method))
        ends.append(state.local("position").clone())
    assert torch.equal(*ends)


@pytest.mark.parametrize("method", METHODS)
def test_atoms_at_rest(method: str) -> None:
    """Velocities are zero from the start on, so that temperature and pressure are those of atoms at rest."""
    state = fcc(5.3, 2, 0.2)
    state.local("velocity").fill_(0.01)
    run = Minimization(ARGON, state, table_of(method=method))
    for _ in range(3):
        assert not state.local("velocity").any()
        run.step()


@pytest.mark.parametrize("method", METHODS)
def test_held_atoms(method: str) -> None:
    """They stay where they are, keep their forces, and do not count in the largest force."""
    state = fcc(5.3, 2, 0.3)
    state.add_field(GROUP)
    state.held = 2
    held = state.local("id") < 8
    state.local("group")[held] = 3
    start = {int(i): x.clone() for i, x in zip(state.local("id"), state.local("position"), strict=True)}
    run = minimized(ARGON, state, table_of(method=method, max_force=1e-5), n_held=8)
    force = torch.linalg.vector_norm(state.local("force").double() / FORCE_SCALE, dim=1)
    still = torch.stack([start[int(i)] for i in state.local("id")]) == state.local("position")
    held = (state.local("group") & 2) != 0
    assert run.converged and held.sum() == 8
    assert still[held].all() and not still[~held].all(dim=1).any()
    assert force[~held].max() <= 1e-5 < 1e-2 < force[held].max()
    assert run.relaxation.max_force == pytest.approx(float(force[~held].max()), rel=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_a_minimum_needs_no_step(method: str) -> None:
    run = minimized(ARGON, fcc(5.3, 2, 0.0), table_of(method=method))
    assert run.converged and run.steps == 0 and run.integrator.force_calls == 1


def test_memory_is_bounded() -> None:
    """More steps than are remembered, and no row grows: all are scaled to at most 1."""
    run = minimized(ARGON, icosahedron(0.9, 5), table_of(max_force=1e-6, max_move=0.05))
    assert run.converged and run.steps > 3 * PAIRS
    assert float(run.state.local("lbfgs").norm(dim=2).max()) <= 1.0


@pytest.mark.parametrize(
    ("keys", "change", "complaint"),
    [
        ({}, {"provides": frozenset({"force"})}, "not the gradient of an energy"),
        ({}, {"conservative": False}, "not the gradient of an energy"),
        ({"cell": "flexible"}, {"provides": frozenset({"energy", "force"})}, "gives no virial"),
    ],
)
def test_potentials_that_have_no_minimum(keys: dict[str, Any], change: dict[str, Any], complaint: str) -> None:
    state = fcc(5.3, 2, 0.0)
    with pytest.raises(InputError, match=complaint):
        build(table_of(**keys), Setting(replace(ARGON.info, **change), 32, state.cell, Comm.serial()))


def test_cells_that_cannot_change() -> None:
    slab = fcc(5.3, 2, 0.0)
    slab.cell = replace(slab.cell, periodic=(True, True, False))
    with pytest.raises(InputError, match="not periodic"):
        build(table_of(cell="isotropic"), Setting(ARGON.info, 32, slab.cell, Comm.serial()))
    whole = fcc(5.3, 2, 0.0)
    with pytest.raises(InputError, match="8 atoms are held"):
        build(table_of(cell="isotropic"), Setting(ARGON.info, 32, whole.cell, Comm.serial(), n_held=8))


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        ({"pressure": 1.0}, "no meaning while the cell is fixed"),
        ({"hold": ["zz"]}, "no meaning while the cell is fixed"),
        ({"cell": "isotropic", "hold": ["zz"]}, "one strain, of all axes"),
        ({"method": "cg"}, "unknown value"),
        ({"max_force": 0.0}, "must be positive"),
        ({"timestep": 1.0}, "unknown key"),
    ],
)
def test_inputs_that_are_refused(keys: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        table_of(**keys)


@pytest.mark.parametrize("method", METHODS)
def test_a_film_shrinks_in_its_plane(method: str) -> None:
    """Free along z: the axes in the plane change, the third one is held, and its stress does not count."""
    film = fcc(5.4, 3, 0.0)
    film.cell = replace(film.cell, periodic=(True, True, False))
    run = minimized(ARGON, film, table_of(method=method, cell="anisotropic", hold=["zz"], max_stress=1e-5))
    h = film.cell.matrix
    assert run.converged and h[2, 2] == pytest.approx(16.2, rel=1e-14) and h[0, 0] < 16.0
    assert h[0, 0] == pytest.approx(h[1, 1], abs=1e-9)
    assert np.abs(run.stress()[:2]).max() <= 1e-5


def test_axes_that_are_coupled() -> None:
    """Two axes that begin apart keep their ratio."""
    state = fcc(5.3, 3, 0.05, np.diag([1.04, 0.98, 1.0]))
    run = minimized(ARGON, state, table_of(cell="anisotropic", couple="xy", max_stress=1e-5))
    h, stress = state.cell.matrix, run.stress()
    assert run.converged and h[0, 0] / h[1, 1] == pytest.approx(1.04 / 0.98, rel=1e-12)
    assert abs(stress[0] + stress[1]) < 3e-5 < abs(stress[0] - stress[1])
    assert abs(stress[2]) <= 1e-5
