"""Barostats: what is conserved, to which order in the time step, and the volumes of an ideal gas."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import series
from scipy import integrate, stats

from allegro_md.cell import Cell
from allegro_md.comm import Comm
from allegro_md.config.dynamics import INTEGRATORS
from allegro_md.evaluation import Evaluation, Needs, PotentialInfo
from allegro_md.integrators.base import Clock, Setting
from allegro_md.integrators.steps import strain
from allegro_md.observables import kinetic_energy
from allegro_md.potentials.eam import Eam
from allegro_md.potentials.eam_file import read_eam
from allegro_md.reporting import Snapshot
from allegro_md.state import AtomState
from allegro_md.triggers import Every, Trigger
from allegro_md.units import AMU_A2_PER_FS2, BOLTZMANN, EV_PER_A3_IN_GPA

INPUTS = Path(__file__).resolve().parents[2] / "inputs"
KELVIN = 600.0
TENSOR, RELAXED = [2.0, 0.0, 1.0, 0.3, -0.2, 0.5], [0.0, 1.0, -1.0, 0.1, 0.2, 0.3]

CONSERVING: dict[str, dict[str, Any]] = {
    "isotropic": {},
    "anisotropic": {"cell": "anisotropic"},
    "flexible": {"cell": "flexible"},
    "coupled": {"cell": "anisotropic", "couple": "xy"},
    "held": {"cell": "flexible", "hold": ["zz", "yz", "xz"]},
    "tensor": {"cell": "flexible", "pressure": TENSOR},
    "ramps": {"cell": "flexible", "pressure": [TENSOR, RELAXED], "temperature": [400.0, 800.0]},
    "enthalpy": {"ensemble": "nph-mtk", "cell": "flexible"},
    "cell rescaling": {"ensemble": "npt-crescale"},
    "axes rescaling": {"ensemble": "npt-crescale", "cell": "anisotropic", "pressure": [1.0, 2.0]},
    "weak coupling": {"ensemble": "npt-berendsen", "cell": "flexible", "pressure": TENSOR},
}
SHORT = ("isotropic", "ramps", "axes rescaling")


def build(setting: Setting, **keys: Any) -> Any:
    """The integrator of a ``[dynamics]`` table."""
    kind = keys.setdefault("ensemble", "npt-mtk")
    keys = {"barostat_time": 200.0, "pressure": 1.0} | keys
    if kind == "nph-mtk":
        keys |= {"expected_temperature": KELVIN}
    else:
        keys = {"temperature": KELVIN, "thermostat_time": 60.0} | keys
    if kind in ("npt-crescale", "npt-berendsen"):
        keys = {"compressibility": 0.01} | keys
    return INTEGRATORS.builder(kind)(INTEGRATORS.table(kind).model_validate(keys), setting)


@pytest.fixture(scope="module")
def silver(engine: Any) -> Any:
    """108 Ag atoms near 600 K, and a smooth potential for them."""
    state = engine.crystal("Ag", 4.09, 3, KELVIN, rattle=0.12, seed=2)
    return state, Eam(read_eam(INPUTS / "potentials" / "ag-sutton-chen.eam.alloy"), state.species_table)


def conserved(engine: Any, silver: Any, timestep: float, length: float, **keys: Any) -> tuple[Any, Any]:
    """Time (fs) and conserved quantity (eV) of a run of `length` fs."""
    start, potential = silver
    steps, state = round(length / timestep), engine.copy(start)
    setting = Setting(potential.info, state.n_total, state.cell, Comm.serial())
    record = engine.simulate(state, potential, build(setting, timestep=timestep, steps=steps, **keys), steps)
    return timestep * np.arange(steps + 1), record["conserved"]


@pytest.mark.parametrize("mode", [pytest.param(m, marks=() if m in SHORT else pytest.mark.long) for m in CONSERVING])
def test_second_order(engine: Any, silver: Any, mode: str) -> None:
    """The fluctuation of the conserved quantity falls with the square of the time step."""
    timesteps = np.array([1.0, 2.0])
    errors = []
    for timestep in timesteps:
        errors.append(series.detrended_rms(*conserved(engine, silver, timestep, 400.0, **CONSERVING[mode])))
    assert series.order(timesteps, np.array(errors)) == pytest.approx(2.0, abs=0.1)
    assert errors[0] < 1e-4 * silver[0].n_total


@pytest.mark.long
@pytest.mark.parametrize("mode", CONSERVING)
def test_no_drift(engine: Any, silver: Any, mode: str) -> None:
    """20 ps at 2 fs, the first 2 ps left out: the crystal heats up from half its temperature."""
    keys = dict(CONSERVING[mode])
    if mode == "ramps":
        keys |= {"pressure": [TENSOR, TENSOR], "temperature": [600.0, 601.0]}
    time, energy = conserved(engine, silver, 2.0, 20_000.0, **keys)
    drift = series.drift(1e-3 * time[1000:], energy[1000:]).per(silver[0].n_total)
    assert abs(drift.slope) < 3.0 * max(drift.error, drift.wandering) or abs(drift.slope) < 2e-7
    assert abs(drift.slope) < 2e-6  # eV/(atom·ps)


@pytest.mark.long
def test_a_sheared_start_relaxes_to_the_equilibrium_of_an_unsheared_one(engine: Any, silver: Any) -> None:
    """12 ps at 600 K and no pressure, the first 4 ps left out: lengths, angles and volume agree within their errors."""
    start, potential = silver
    shear = np.array([[1.02, 0.0, 0.0], [0.06, 0.97, 0.0], [-0.04, 0.03, 1.0]])
    steps, found = 4000, []
    for deformation in (np.eye(3), shear):
        state = engine.copy(start)
        strain(state, start.cell.matrix @ deformation)
        shape = Shape()
        setting = Setting(potential.info, state.n_total, state.cell, Comm.serial())
        integrator = build(setting, timestep=3.0, steps=steps, cell="flexible", pressure=0.0)
        engine.simulate(state, potential, integrator, steps, recorder=shape)
        rows = np.array(shape.rows)[1300:]
        found.append([series.mean(column) for column in rows.T])
        if deformation is shear:
            first = np.array(shape.rows[0])
            assert np.abs(first[3:6] - 90.0).max() > 3.0
    for (a, a_error), (b, b_error) in zip(*found, strict=True):
        assert abs(a - b) < 3.0 * np.hypot(a_error, b_error)
    for angle, error in found[1][3:6]:
        assert abs(angle - 90.0) < 3.0 * error and error < 0.2
    for length, error in found[1][:3]:
        assert abs(length - found[0][0][0]) < 3.0 * np.hypot(error, found[0][0][1]) and error < 0.02


@dataclass
class Shape:
    """Keeps lengths (Å), angles (degrees) and volume (Å³) of the cell at every step."""

    rows: list[tuple[float, ...]] = field(default_factory=list)
    name: str = "shape"
    priority: int = 10
    trigger: Trigger = Every(1)
    needs: frozenset[str] = frozenset()

    def __call__(self, snapshot: Snapshot) -> None:
        cell = snapshot.state.cell
        self.rows.append((*cell.lengths, *cell.angles, cell.volume))


N, MASS, ROOM, BOX = 8, 40.0, 300.0, 1000.0
IDEAL = PotentialInfo("ideal", 1.0)
OUTER = N * BOLTZMANN * ROOM / BOX  # eV/Å³, at which the mean volume is that of the box


def no_forces(state: AtomState, needs: Needs = frozenset()) -> Evaluation:
    state.local("force").zero_()
    return Evaluation.of(state, needs, np.zeros(state.n_local), np.zeros((state.n_local, 6)))


def ideal_gas(engine: Any, steps: int, seed: int, **keys: Any) -> tuple[Any, Any, AtomState]:
    """Volumes (Å³) and kinetic energies (eV) of N free atoms after each step, and their start."""
    rng = np.random.default_rng(seed)
    v = rng.normal(size=(N, 3))
    v -= v.mean(axis=0)
    v *= np.sqrt((3 * N - 3) * BOLTZMANN * ROOM / (MASS * AMU_A2_PER_FS2 * (v**2).sum()))
    state = engine.atoms(rng.uniform(size=(N, 3)) * BOX ** (1 / 3), v, Cell(np.eye(3) * BOX ** (1 / 3)), [MASS])
    keys = {"timestep": 1.0, "temperature": ROOM, "thermostat_time": 20.0, "barostat_time": 40.0} | keys
    if keys.get("ensemble") == "npt-crescale":
        time = 800.0 if keys.get("cell") == "anisotropic" else 200.0  # the noise strains a small cell by percents
        keys |= {"compressibility": 1.0 / (OUTER * EV_PER_A3_IN_GPA), "seed": seed, "barostat_time": time}
    setting = Setting(IDEAL, N, state.cell, Comm.serial())
    integrator = build(setting, steps=steps, pressure=OUTER * EV_PER_A3_IN_GPA, **keys)
    start = engine.copy(state)
    integrator.prepare(state, no_forces(state, integrator.needs))
    volumes, energies = np.empty(steps), np.empty(steps)
    for index in range(1, steps + 1):
        integrator.step(state, no_forces, Clock(index, 1.0))
        volumes[index - 1], energies[index - 1] = state.cell.volume, float(kinetic_energy(state).value()[0])
    return volumes, energies, start


SHAPES: dict[str, dict[str, Any]] = {
    "isotropic": {},
    "anisotropic": {"cell": "anisotropic"},
    "flexible": {"cell": "flexible"},
    "coupled": {"cell": "anisotropic", "couple": "xy"},
    "cell rescaling": {"ensemble": "npt-crescale"},
    "axes rescaling": {"ensemble": "npt-crescale", "cell": "anisotropic"},
}


def check_volumes(volumes: Any, distribution: Any, apart: int) -> float:
    """Compares mean and variance within 3 standard errors; returns p of Kolmogorov and Smirnov, thinned."""
    mean, error = series.mean(volumes)
    assert abs(mean - distribution.mean()) < 3.0 * error
    variance, variance_error = series.mean((volumes - distribution.mean()) ** 2)
    assert abs(variance - distribution.var()) < 3.0 * variance_error
    return float(stats.kstest(volumes[::apart], distribution.cdf).pvalue)


def gamma(power: int) -> Any:
    """p(V) ∝ V^(power − 1) exp(−P V/k_B T)."""
    return stats.gamma(power, scale=BOLTZMANN * ROOM / OUTER)


@pytest.mark.parametrize("shape", [pytest.param(s, marks=() if s == "isotropic" else pytest.mark.long) for s in SHAPES])
def test_volumes_of_an_ideal_gas(engine: Any, shape: str) -> None:
    """p(V) ∝ V^(N−1) exp(−P V/k_B T): N atoms without net momentum, in every kind of cell.

    The center of mass is not a coordinate of the ensemble, so that the power is N − 1 and not N. The measure of the
    shape of the cell is independent of V; where it moves, the momenta that no collision mixes resist its changes.
    """
    long = shape != "isotropic"
    volumes, kinetic, _ = ideal_gas(engine, 100_000 if long else 6_000, 1, **SHAPES[shape])
    if shape == "axes rescaling":  # a slow cell: too few independent volumes for more than the mean
        mean, error = series.mean(volumes)
        assert abs(mean - gamma(N).mean()) < 3.0 * error
    else:
        assert check_volumes(volumes, gamma(N), 400) > 0.01
    temperature, error = series.mean(2.0 * kinetic / ((3 * N - 3) * BOLTZMANN))
    assert abs(temperature - ROOM) < 3.0 * error
    if long and shape != "axes rescaling":  # other powers, and half the kinetic pressure, are told from it
        assert error < 0.02 * ROOM
        assert all(stats.kstest(volumes[::400], gamma(power).cdf).pvalue < 1e-3 for power in (N - 2, N + 2))


@pytest.mark.long
def test_volumes_of_an_ideal_gas_between_fixed_faces(engine: Any) -> None:
    """The axis z is held, so that free atoms keep the ratio c of K_xy A to K_z, A the area of the cell in units of its

    start: p(A) ∝ A^(N−1) exp(−P V/k_B T) · A^(−2ν) (1 + c/A)^(−3ν), ν = (N − 1)/2, by integration over K_z.
    """
    volumes, _, start = ideal_gas(engine, 100_000, 1, cell="anisotropic", couple="xy", hold=["zz"])
    squares = (engine.by_id(start, "velocity") ** 2).sum(axis=0)
    c, nu = (squares[0] + squares[1]) / squares[2], 0.5 * (N - 1)

    def density(area: float) -> float:
        return float(area ** (N - 1 - 2 * nu) * np.exp(-N * area) * (1.0 + c / area) ** (-3.0 * nu))

    moments = [integrate.quad(lambda a, k=k: density(a) * a**k, 0.0, 10.0)[0] for k in range(3)]
    mean, error = series.mean(volumes / BOX)
    assert abs(mean - moments[1] / moments[0]) < 3.0 * error
    square, square_error = series.mean((volumes / BOX) ** 2)
    assert abs(square - moments[2] / moments[0]) < 3.0 * square_error


@pytest.mark.long
def test_berendsen_gives_the_mean_volume_and_too_small_fluctuations(engine: Any) -> None:
    """The mean pressure is that asked for, (N − 1) k_B T/V: without fluctuations the mean volume is one atom's less."""
    keys = {"ensemble": "npt-berendsen", "compressibility": 1.0 / (OUTER * EV_PER_A3_IN_GPA), "barostat_time": 200.0}
    volumes, _, _ = ideal_gas(engine, 20_000, 1, **keys)
    mean, error = series.mean(volumes[2000:])
    assert abs(mean / gamma(N - 1).mean() - 1.0) < 0.01 + 3.0 * error / BOX
    assert np.var(volumes[2000:]) < 0.5 * gamma(N).var()
