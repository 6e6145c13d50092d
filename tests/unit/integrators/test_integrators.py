"""Integrators on one rank: reversal, order of convergence, weights, what Nosé–Hoover conserves."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from allegro_md.cell import Cell
from allegro_md.comm import Comm
from allegro_md.evaluation import Evaluation, Needs
from allegro_md.exact import FORCE_SCALE
from allegro_md.integrators.base import Clock
from allegro_md.integrators.chain import SUZUKI_YOSHIDA
from allegro_md.integrators.nve import VelocityVerlet
from allegro_md.integrators.nvt_nose_hoover import NoseHoover
from allegro_md.integrators.schedule import Ramp
from allegro_md.integrators.thermalize import maxwell_boltzmann
from allegro_md.state import AtomState, SpeciesTable
from allegro_md.units import AMU_A2_PER_FS2, BOLTZMANN

Array = NDArray[np.float64]

EPSILON, SIGMA = 0.0103, 3.405


def cluster(mass: float = 39.948) -> AtomState:
    """Thirteen atoms of argon, an icosahedron at rest, in nothing."""
    golden = (1 + math.sqrt(5)) / 2
    shell = [p for a in (-1, 1) for b in (-golden, golden) for p in ((0, a, b), (a, b, 0), (b, 0, a))]
    x = np.array([(0.0, 0.0, 0.0), *shell]) * 1.95
    return atoms(x, mass)


def atoms(x: Array, mass: float) -> AtomState:
    table = SpeciesTable(("Ar",), np.array([18]), np.array([mass]))
    state = AtomState(Cell(np.eye(3), (False,) * 3, absent=(True,) * 3), table, len(x))
    n = len(x)
    state.set_local(
        {
            "id": torch.arange(n), "species": torch.zeros(n, dtype=torch.int16), "position": torch.from_numpy(x),
            "velocity": torch.zeros(n, 3, dtype=torch.float64),
        }
    )  # fmt: skip
    return state


def lennard_jones(x: Array) -> tuple[float, Array]:
    d = x[None, :] - x[:, None]
    r2 = (d**2).sum(axis=-1)
    np.fill_diagonal(r2, np.inf)
    six = (SIGMA**2 / r2) ** 3
    slope = 4 * EPSILON * (-12 * six * six + 6 * six) / r2
    return float(2 * EPSILON * (six * six - six).sum()), (slope[:, :, None] * d).sum(axis=1)


class Forces:
    """Lennard-Jones without a cutoff; fixed-point units are 10⁻¹³ eV/Å, far below the errors looked for here."""

    def __init__(self, field: Any = lennard_jones) -> None:
        self._field = field
        self.energy = math.nan

    def __call__(self, state: AtomState, needs: Needs = frozenset()) -> Evaluation:
        self.energy, force = self._field(state.local("position").numpy())
        state.local("force")[:] = torch.from_numpy(np.rint(force * FORCE_SCALE).astype(np.int64))
        return Evaluation()


def kinetic(state: AtomState) -> float:
    v, masses = state.local("velocity").numpy(), state.species_table.masses[state.local("species").numpy()]
    return float(0.5 * AMU_A2_PER_FS2 * (masses[:, None] * v * v).sum())


def run(state: AtomState, integrator: Any, steps: int, field: Any = lennard_jones) -> list[float]:
    """Conserved quantity at every step."""
    forces = Forces(field)
    forces(state)
    out = [forces.energy + kinetic(state) + integrator.extended_energy()]
    for index in range(1, steps + 1):
        integrator.step(state, forces, Clock(index, integrator.timestep))
        out.append(forces.energy + kinetic(state) + integrator.extended_energy())
    return out


def chain(timestep: float, temperatures: tuple[float, float], steps: int, dof: int, **options: Any) -> NoseHoover:
    options = {"thermostat_time": 100.0, "chain": 3, "suzuki_yoshida": 3, **options}
    target = Ramp(*temperatures, steps)
    return NoseHoover(timestep, target, degrees_of_freedom=dof, collective=Comm.serial(), **options)


def test_velocity_verlet_by_hand() -> None:
    state = cluster()
    state.local("velocity")[3] = torch.tensor([0.01, -0.02, 0.03], dtype=torch.float64)
    x, v = state.local("position").numpy().copy(), state.local("velocity").numpy().copy()
    run(state, VelocityVerlet(2.0, 36), 1)
    acceleration = lennard_jones(x)[1] / (39.948 * AMU_A2_PER_FS2)
    moved = x + 2.0 * v + 2.0 * acceleration
    np.testing.assert_allclose(state.local("position").numpy(), moved, rtol=0, atol=1e-14)
    later = v + acceleration + lennard_jones(moved)[1] / (39.948 * AMU_A2_PER_FS2)
    np.testing.assert_allclose(state.local("velocity").numpy(), later, rtol=0, atol=1e-14)


def test_time_reversal() -> None:
    """Forward, velocities turned, back: only rounding is left, and without turning nothing comes back."""
    state = cluster()
    maxwell_boltzmann(state, 15.0, 1, Comm.serial())
    x, v = state.local("position").clone(), state.local("velocity").clone()
    run(state, VelocityVerlet(5.0, 36), 300)
    assert (state.local("position") - x).abs().max() > 0.3
    state.local("velocity").neg_()
    run(state, VelocityVerlet(5.0, 36), 300)
    assert (state.local("position") - x).abs().max() < 1e-9
    assert (state.local("velocity") + v).abs().max() < 1e-11


def test_second_order() -> None:
    """The error of positions after 400 fs falls by 4 when the step is halved."""
    ends = []
    for timestep in (10.0, 5.0, 2.5, 1.25):
        state = cluster()
        maxwell_boltzmann(state, 15.0, 1, Comm.serial())
        run(state, VelocityVerlet(timestep, 36), round(400 / timestep))
        ends.append(state.local("position").numpy().copy())
    errors = [np.abs(a - b).max() for a, b in zip(ends, ends[1:], strict=False)]
    assert errors[0] / errors[1] == pytest.approx(4.0, rel=0.1)
    assert errors[1] / errors[2] == pytest.approx(4.0, rel=0.05)


def test_momentum_is_conserved() -> None:
    state = cluster()
    maxwell_boltzmann(state, 15.0, 1, Comm.serial())
    assert state.local("velocity").sum(dim=0).abs().max() < 1e-15
    run(state, VelocityVerlet(5.0, 36), 200)
    assert state.local("velocity").sum(dim=0).abs().max() < 1e-13


def test_maxwell_boltzmann() -> None:
    """Temperature within 4 standard errors, independent of how atoms are ordered, no net momentum."""
    n = 20_000
    state = atoms(np.zeros((n, 3)), 12.0)
    maxwell_boltzmann(state, 500.0, 7, Comm.serial())
    temperature = 2 * kinetic(state) / (3 * (n - 1) * BOLTZMANN)
    assert abs(temperature / 500.0 - 1) < 4 * math.sqrt(2 / (3 * n))
    assert state.local("velocity").mean(dim=0).abs().max() < 1e-15
    other = atoms(np.zeros((n, 3)), 12.0)
    order = torch.from_numpy(np.random.default_rng(0).permutation(n))
    other.local("id")[:] = order
    maxwell_boltzmann(other, 500.0, 7, Comm.serial())
    assert torch.equal(other.local("velocity"), state.local("velocity")[order])


@pytest.mark.parametrize("count", SUZUKI_YOSHIDA)
def test_suzuki_yoshida_weights(count: int) -> None:
    """They sum to one, read the same backwards, and fulfill the conditions of order 4 and, for seven, 6."""
    w = np.array(SUZUKI_YOSHIDA[count])
    assert len(w) == count and np.array_equal(w, w[::-1]) and w.sum() == pytest.approx(1.0, abs=1e-15)
    if count > 1:
        assert (w**3).sum() == pytest.approx(0.0, abs=1e-12)
    if count == 7:
        assert (w**5).sum() == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("count", [1, 3, 5])
@pytest.mark.parametrize("length", [1, 2, 4])
def test_conserved_quantity_is_second_order(count: int, length: int) -> None:
    spread = []
    for timestep in (4.0, 2.0):
        state = cluster()
        maxwell_boltzmann(state, 20.0, 3, Comm.serial())
        options = {"thermostat_time": 150.0, "chain": length, "suzuki_yoshida": count}
        conserved = run(state, chain(timestep, (20.0, 20.0), 1, 36, **options), round(1200 / timestep))
        spread.append(np.ptp(conserved))
    assert spread[0] / abs(lennard_jones(cluster().local("position").numpy())[0]) < 1e-3
    assert spread[0] / spread[1] == pytest.approx(4.0, rel=0.25)


def test_ramp_conserves_too() -> None:
    """The work of the changing target is taken off: halving the step cuts the wobble by about four."""
    spread = []
    for timestep in (4.0, 2.0):
        steps = round(1200 / timestep)
        state = cluster()
        maxwell_boltzmann(state, 20.0, 3, Comm.serial())
        integrator = chain(timestep, (10.0, 30.0), steps, 36)
        conserved = run(state, integrator, steps)
        assert [integrator.target(k) for k in (0, steps // 2, steps, 2 * steps)] == [10.0, 20.0, 30.0, 30.0]
        spread.append(np.ptp(conserved))
    assert spread[1] < 0.6 * spread[0] and spread[0] < 2e-4


def test_free_particles_follow_the_equations_of_a_chain() -> None:
    """Without forces the thermostat is a small system of differential equations; compared with scipy's solution."""
    from scipy.integrate import solve_ivp

    n, kT, tau = 5, BOLTZMANN * 300.0, 50.0
    f = 3 * n - 3
    state = atoms(np.zeros((n, 3)), 20.0)
    maxwell_boltzmann(state, 900.0, 5, Comm.serial())
    q1, q2 = f * kT * tau**2, kT * tau**2

    def rates(t: float, y: Array) -> list[float]:
        twice, v1, v2, x1, x2 = y
        return [-2 * v1 * twice, (twice - f * kT) / q1 - v1 * v2, (q1 * v1 * v1 - kT) / q2, v1, v2]

    end = solve_ivp(rates, (0, 200.0), [2 * kinetic(state), 0, 0, 0, 0], rtol=1e-11, atol=1e-13).y[:, -1]
    integrator = chain(0.5, (300.0, 300.0), 1, f, thermostat_time=tau, chain=2)
    run(state, integrator, 400, lambda x: (0.0, np.zeros_like(x)))
    got = [2 * kinetic(state), *integrator.chain.velocities, *integrator.chain.positions]
    np.testing.assert_allclose(got, end, rtol=2e-4)


def test_state_dict_carries_everything() -> None:
    """A chain taken up in the middle goes on with the same bits."""
    state = cluster()
    maxwell_boltzmann(state, 20.0, 3, Comm.serial())
    whole = chain(4.0, (10.0, 30.0), 100, 36)
    run(state, whole, 50)
    other, taken_up = cluster(), chain(4.0, (10.0, 30.0), 100, 36)
    for name in ("position", "velocity"):
        other.local(name)[:] = state.local(name)
    taken_up.load_state_dict(whole.state_dict())
    for integrator, atoms_of in ((whole, state), (taken_up, other)):
        forces = Forces()
        forces(atoms_of)
        for index in range(51, 101):
            integrator.step(atoms_of, forces, Clock(index, integrator.timestep))
    assert torch.equal(state.local("position"), other.local("position"))
    assert whole.state_dict() == taken_up.state_dict()
