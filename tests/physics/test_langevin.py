"""Langevin dynamics where everything is known: free particles and harmonic oscillators, and its anharmonic error."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import series
import torch
from numpy.typing import NDArray
from scipy import integrate, stats

from allegro_md.cell import Cell
from allegro_md.comm import Comm
from allegro_md.evaluation import Evaluation, Needs, PotentialInfo
from allegro_md.exact import FORCE_SCALE
from allegro_md.integrators.base import Clock, EvaluateForces, Setting
from allegro_md.integrators.nvt_langevin import Langevin, NvtLangevinConfig
from allegro_md.observables import kinetic_energy
from allegro_md.state import GROUP, AtomState, SpeciesTable
from allegro_md.units import AMU_A2_PER_FS2, BOLTZMANN

Array = NDArray[np.float64]

KELVIN, MASS = 300.0, 40.0
THERMAL = BOLTZMANN * KELVIN / (MASS * AMU_A2_PER_FS2)  # ⟨v²⟩ of a component, Å²/fs²
STIFFNESS = 1.0  # eV/Å²
OMEGA = math.sqrt(STIFFNESS / (MASS * AMU_A2_PER_FS2))  # 1/fs


def langevin(n: int, timestep: float, friction: float, steps: int = 1, **options: Any) -> Langevin:
    keys = {"temperature": KELVIN, "seed": 5, **options}
    table = NvtLangevinConfig(ensemble="nvt-langevin", timestep=timestep, steps=steps, friction=friction, **keys)
    return Langevin(table, Setting(PotentialInfo("field", 1.0), n, Cell(np.eye(3)), Comm.serial()))


def atoms(n: int, spread: float, seed: int = 1) -> AtomState:
    """Atoms about the origin, and a Maxwell distribution; masses by species are MASS and 4 MASS in turn."""
    rng = np.random.default_rng(seed)
    table = SpeciesTable(("Ar", "Xe"), np.array([18, 54]), np.array([MASS, 4.0 * MASS]))
    kind = np.arange(n) % 2
    v = rng.normal(size=(n, 3)) * np.sqrt(THERMAL / (1.0 + 3.0 * kind))[:, None]
    x = rng.normal(size=(n, 3)) * spread
    return AtomState.from_arrays(Cell(np.eye(3), (False,) * 3), table, x, species=kind, velocities=v)


def field(force: Callable[[Array], Array]) -> EvaluateForces:
    """Evaluates the force (eV/Å) of an outer field on every atom."""

    def forces(state: AtomState, needs: Needs) -> Evaluation:
        units = np.rint(force(state.local("position").numpy()) * FORCE_SCALE).astype(np.int64)
        state.local("force").copy_(torch.from_numpy(units))
        return Evaluation()

    return forces


def moments(state: AtomState, integrator: Langevin, force: Any, steps: int, left_out: int) -> tuple[Array, Array]:
    """Mean squares over all components at each step, of positions (Å²) and of velocities times mass/MASS (Å²/fs²)."""
    forces = field(force)
    forces(state, frozenset())
    kind, rows = state.local("species").numpy(), []
    for step in range(1, steps + 1):
        integrator.step(state, forces, Clock(step, integrator.timestep))
        x, v = state.local("position").numpy(), state.local("velocity").numpy()
        rows.append([np.mean(x * x), np.mean(v * v * (1.0 + 3.0 * kind)[:, None])])
    squares = np.array(rows[left_out:])
    return squares[:, 0], squares[:, 1]


def test_free_particles_at_rest_are_heated_and_diffuse() -> None:
    """⟨v²⟩ = (kT/m)(1 − exp(−2γt)) from rest; then D = kT/(mγ), exactly that of the discrete steps.

    Free flight between kicks of friction and noise, v → c v + …, and half a step on either side: the sum of a geometric
    series gives D Δt = kT/m (Δt²/2)(1 + c)/(1 − c), which is kT/(mγ) for short steps.
    """
    n, dt, friction = 3000, 5.0, 0.02
    integrator, state = langevin(n, dt, friction), atoms(n, 0.0)
    state.local("velocity").zero_()
    kind, forces = state.local("species").numpy(), field(np.zeros_like)
    forces(state, frozenset())
    for step in range(1, 321):
        integrator.step(state, forces, Clock(step, dt))
        if step in (2, 10, 40, 320):
            v = state.local("velocity").numpy()
            expected = THERMAL / (1.0 + 3.0 * kind) * -math.expm1(-2.0 * friction * dt * step)
            apart = stats.kstest((v / np.sqrt(expected)[:, None]).ravel(), "norm")
            assert apart.pvalue > 1e-3
    start = state.local("position").numpy().copy()
    before = state.local("velocity").numpy().copy()
    steps = 400
    for step in range(321, 321 + steps):
        integrator.step(state, forces, Clock(step, dt))
    c = math.exp(-friction * dt)
    moved = state.local("position").numpy() - start
    # The motion less what is left of the flight at its two ends: x + v Δt (1 + c)/(2 (1 − c)) is a walk of
    # independent steps.
    walk = moved + (state.local("velocity").numpy() - before) * dt * (1.0 + c) / (2.0 * (1.0 - c))
    exact = THERMAL / (1.0 + 3.0 * kind) * dt * (1.0 + c) / (1.0 - c) / 2.0
    assert exact == pytest.approx(THERMAL / (1.0 + 3.0 * kind) / friction, rel=1e-3)
    scaled = walk / np.sqrt(2.0 * exact * steps * dt)[:, None]
    assert stats.kstest(scaled.ravel(), "norm").pvalue > 1e-3
    assert abs(np.mean(scaled**2) - 1.0) < 3.5 * math.sqrt(2.0 / scaled.size)


@pytest.mark.parametrize("reach", [0.3, 1.0, 1.6, 1.9])
def test_harmonic_oscillators_have_their_exact_extent(reach: float) -> None:
    """⟨x²⟩ = kT/k at any ωΔt below 2; m⟨v²⟩ = kT (1 − (ωΔt)²/4) at the end of a step."""
    n, dt = 4000, reach / OMEGA
    state = atoms(n, math.sqrt(BOLTZMANN * KELVIN / STIFFNESS))
    state.local("species").zero_()
    x2, v2 = moments(state, langevin(n, dt, 0.4 / dt), lambda x: -STIFFNESS * x, 260, 20)
    for found, exact in ((x2, BOLTZMANN * KELVIN / STIFFNESS), (v2, THERMAL * (1.0 - reach**2 / 4.0))):
        value, error = series.mean(found)
        assert error < 4e-3 * exact
        assert abs(value - exact) < 4.0 * error


def test_anharmonic_extent_beyond_second_order() -> None:
    """U = k x²/2 + b cos(qx): with high friction the error of ⟨x²⟩ falls faster than with the square of the time step.

    In the limit of high friction the term of second order vanishes (Leimkuhler, Matthews, 2013). The error of the
    kinetic energy, which is of second order, is far larger.
    """
    b, q, kT, n = 0.03, 8.0, BOLTZMANN * KELVIN, 20_000

    def weight(x: float) -> float:
        return math.exp(-(0.5 * STIFFNESS * x * x + b * math.cos(q * x)) / kT)

    norm, square = (integrate.quad(lambda x, p=p: x**p * weight(x), -3.0, 3.0)[0] for p in (0, 2))
    fastest = math.sqrt((STIFFNESS + b * q * q) / (MASS * AMU_A2_PER_FS2))
    errors = []
    for reach in (0.7, 1.4):
        state = atoms(n, math.sqrt(square / norm))
        state.local("species").zero_()
        dt = reach / fastest
        force = lambda x: b * q * np.sin(q * x) - STIFFNESS * x  # noqa: E731
        x2, v2 = moments(state, langevin(n, dt, 0.9 / dt), force, 400, 100)
        value, error = series.mean(x2)
        errors.append((abs(value * norm / square - 1.0), error * norm / square, abs(np.mean(v2) / THERMAL - 1.0)))
    (short, short_error, _), (long, long_error, kinetic) = errors
    assert long > 10.0 * long_error
    assert long < kinetic / 15.0
    assert short + 2.5 * short_error < long / 4.0


def test_conserved_quantity() -> None:
    """Energy less heat: its fluctuation falls with the square of the time step, while heat itself walks far."""
    spans = []
    for reach in (0.2, 0.1):
        n, dt = 200, reach / OMEGA
        state, integrator = atoms(n, 0.2), langevin(n, dt, 0.01)
        forces = field(lambda x: -STIFFNESS * x)
        forces(state, frozenset())
        kept, total = [], []
        for step in range(1, round(200 / reach) + 1):
            integrator.step(state, forces, Clock(step, dt))
            x = state.local("position").numpy()
            total.append(float(kinetic_energy(state).value()[0]) + 0.5 * STIFFNESS * float(np.sum(x * x)))
            kept.append(total[-1] + integrator.extended_energy())
        spans.append(np.std(kept))
        assert np.std(kept) < 0.02 * np.std(total)
    assert spans[0] / spans[1] == pytest.approx(4.0, rel=0.3)


def test_ramp() -> None:
    n, dt = 3000, 5.0
    state = atoms(n, 0.0)
    integrator, forces = langevin(n, dt, 0.1, steps=200, temperature=(300.0, 900.0)), field(np.zeros_like)
    forces(state, frozenset())
    for step in range(1, 201):
        integrator.step(state, forces, Clock(step, dt))
    kelvin = 2.0 * float(kinetic_energy(state).value()[0]) / (3 * n * BOLTZMANN)
    lag = 600.0 / (200 * dt) / (2.0 * 0.1)
    assert kelvin == pytest.approx(900.0 - lag, abs=4.0 * 900.0 * math.sqrt(2.0 / (3 * n)))


def test_noise_is_that_of_the_atom_and_of_the_part_of_the_step() -> None:
    """Other order of atoms, same bits; another seed, step or substep, other numbers."""
    n, forces = 50, field(np.zeros_like)

    def velocities(state: AtomState, clock: Clock, seed: int = 5) -> Array:
        langevin(n, 5.0, 0.1, seed=seed).step(state, forces, clock)
        return state.local("velocity")[torch.argsort(state.local("id"))].numpy().copy()

    first = velocities(atoms(n, 0.1), Clock(7, 5.0))
    shuffled = atoms(n, 0.1)
    forces(shuffled, frozenset())
    shuffled.permute(torch.randperm(n, generator=torch.Generator().manual_seed(1)))
    assert np.array_equal(velocities(shuffled, Clock(7, 5.0)), first)
    for clock, seed in ((Clock(8, 5.0), 5), (Clock(7, 5.0, 1, 2), 5), (Clock(7, 5.0), 6)):
        assert not np.any(velocities(atoms(n, 0.1), clock, seed) == first)


def test_held_atoms_keep_their_velocity() -> None:
    state = atoms(20, 0.1)
    state.add_field(GROUP)
    state.local("group").copy_(torch.arange(20) % 4)
    state.held = 2
    before, forces = state.local("velocity").clone(), field(np.zeros_like)
    forces(state, frozenset())
    langevin(20, 5.0, 0.1).step(state, forces, Clock(1, 5.0))
    same = (state.local("velocity") == before).all(dim=1)
    assert torch.equal(same, (torch.arange(20) % 4) >= 2)
