"""Deformation: the work of the stress, elastic constants, the virial in deformed cells, and the viscosity."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import series
from numpy.typing import NDArray
from systems import lennard_jones

from allegro_md.comm import Comm
from allegro_md.config.dynamics import INTEGRATORS
from allegro_md.integrators import build_integrator
from allegro_md.integrators.base import Setting
from allegro_md.integrators.steps import strain
from allegro_md.observables import VOIGT, summed
from allegro_md.potentials.base import Potential
from allegro_md.potentials.eam import Eam
from allegro_md.potentials.eam_file import read_eam
from allegro_md.simulation.forces import ForceEvaluator
from allegro_md.state import AtomState
from allegro_md.timers import Timers
from allegro_md.units import AMU_A2_PER_FS2, BOLTZMANN, EV_PER_A3_IN_GPA

SIGMA, EPSILON = 3.405, 119.8 * BOLTZMANN
TIME = SIGMA * np.sqrt(39.948 * AMU_A2_PER_FS2 / EPSILON)
"""Unit of time of the Lennard-Jones liquid, fs."""

SILVER = Path(__file__).resolve().parents[2] / "inputs" / "potentials" / "ag-sutton-chen.eam.alloy"


def build(state: AtomState, potential: Potential, timestep: float, steps: int, deform: Any, **keys: Any) -> Any:
    content: dict[str, Any] = {"ensemble": "nve", "timestep": timestep, "steps": steps, "deform": deform} | keys
    table: Any = INTEGRATORS.table(content["ensemble"]).model_validate(content)
    return build_integrator(table, Setting(potential.info, state.n_total, state.cell, Comm.serial()))


def energy(state: AtomState, potential: Potential) -> float:
    evaluation = ForceEvaluator(potential, Comm.serial(), 0.5, None, Timers())(state)
    assert evaluation.energy is not None
    return float(Comm.serial().reduce(summed(evaluation.energy, "energy", state))[0])


@pytest.fixture(scope="module")
def silver(engine: Any) -> Any:
    """256 Ag atoms near 600 K."""
    state = engine.crystal("Ag", 4.09, 4, 600.0, rattle=0.12, seed=2)
    return state, Eam(read_eam(SILVER), state.species_table)


@pytest.mark.parametrize(
    ("keys", "strains"),
    [
        ({}, {"xy": 0.8, "xx": 0.05}),
        ({}, {"volume": -0.15}),
        ({"ensemble": "nvt-nose-hoover", "temperature": 600.0}, {"xy": 0.4, "yz": 0.3, "xz": -0.3, "zz": 0.1}),
    ],
    ids=["replaced-cell", "compression", "nose-hoover"],
)
def test_energy_less_work_is_conserved_to_second_order(
    engine: Any, silver: Any, keys: dict[str, Any], strains: dict[str, float]
) -> None:
    """While the total energy grows by tens of eV in 400 fs; through a replaced cell in the first case."""
    start, potential = silver
    timesteps, errors = np.array([1.0, 2.0, 4.0]), []
    for timestep in timesteps:
        state, steps = engine.copy(start), round(400.0 / timestep)
        moves = build(state, potential, float(timestep), steps, {"strain": strains}, **keys)
        record = engine.simulate(state, potential, moves, steps)
        errors.append(float(np.abs(record["conserved"] - record["conserved"][0]).max()))
    assert state.lattices == (1 if strains.get("xy", 0.0) > 0.6 else 0)
    assert abs(moves.extended_energy()) > 20.0 and errors[0] < 0.05
    assert series.order(timesteps, np.array(errors)) == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize("ensemble", ["nve", "nvt-nose-hoover", "nvt-bussi"])
def test_virial_is_the_strain_derivative_in_a_deformed_cell(engine: Any, silver: Any, ensemble: str) -> None:
    """−dE/dstrain by central differences, all six components, before and after the cell is replaced."""
    start, potential = silver
    state = engine.copy(start)
    keys = {} if ensemble == "nve" else {"ensemble": ensemble, "temperature": 600.0}
    moves = build(state, potential, 2.0, 200, {"strain": {"xy": 0.9, "xz": 0.2, "zz": 0.05}}, **keys)
    for replaced in (0, 1):
        record = engine.simulate(state, potential, moves, 100)
        assert state.lattices == replaced
        last = record.rows[-1]
        kinetic = _kinetic(engine, state)
        for k, (a, b) in enumerate(VOIGT):
            slope = _slope(engine, state, potential, a, b)
            assert last.stress[k] * last.volume / EV_PER_A3_IN_GPA == pytest.approx(slope - kinetic[k], abs=1e-5)


def _kinetic(engine: Any, state: AtomState) -> NDArray[np.float64]:
    """(6,) Σ m v v, eV, with numpy."""
    v, mass = engine.by_id(state, "velocity"), float(state.species_table.masses[0]) * AMU_A2_PER_FS2
    return np.array([mass * (v[:, a] * v[:, b]).sum() for a, b in VOIGT])


def _slope(engine: Any, state: AtomState, potential: Potential, a: int, b: int) -> float:
    """dE/dstrain of component ab, eV."""
    found = []
    for sign in (1.0, -1.0):
        twin, small = engine.copy(state), np.eye(3)
        small[a, b] += 0.5 * sign * 1e-5
        small[b, a] += 0.5 * sign * 1e-5
        strain(twin, np.array(state.cell.matrix @ small))
        found.append(energy(twin, potential))
    return (found[0] - found[1]) / 2e-5


def _elastic(engine: Any, symbol: str, a: float, potential_of: Any, component: str) -> tuple[float, float]:
    """Slope of the stress in a run at 1e9/s, and second derivative of the energy by strain at rest, GPa."""
    state = engine.crystal(symbol, a, 4, 2.0)
    potential = potential_of(state)
    row, column = {"xx": (0, 0), "xy": (1, 0)}[component]

    def at(size: float) -> float:
        twin, small = engine.crystal(symbol, a, 4, 0.0), np.eye(3)
        small[row, column] += size
        strain(twin, np.array(twin.cell.matrix @ small))
        return energy(twin, potential)

    second = (at(1e-3) - 2.0 * at(0.0) + at(-1e-3)) / 1e-6 / state.cell.volume * EV_PER_A3_IN_GPA
    record = engine.simulate(state, potential, build(state, potential, 2.0, 1000, {"rate": {component: "1e9/s"}}), 1000)
    stress = np.array([row.stress[0 if component == "xx" else 5] for row in record.rows])
    size = 2e-6 * np.arange(1001)
    assert state.cell.matrix[row, column] == pytest.approx((row == column) * 4 * a + 0.002 * 4 * a, rel=2e-3)
    return float(np.polyfit(size, stress, 1)[0]), second


@pytest.mark.parametrize("component", ["xx", "xy"])
def test_slope_of_the_stress_is_the_elastic_constant(engine: Any, component: str) -> None:
    """C11 and C44 of silver, 1e9/s up to a strain of 0.2 % at 2 K."""
    slope, second = _elastic(engine, "Ag", 4.09, lambda s: Eam(read_eam(SILVER), s.species_table), component)
    assert slope == pytest.approx(second, rel=0.03)


def test_elastic_constant_of_copper(engine: Any, shared: Path) -> None:
    """C11 of the EAM potential Cu_u3 (Foiles, Baskes, Daw 1986)."""
    file = shared / "data" / "lammps_eam" / "Cu_u3.eam"
    slope, second = _elastic(engine, "Cu", 3.615, lambda s: Eam(read_eam(file), s.species_table), "xx")
    assert slope == pytest.approx(second, rel=0.03)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_viscosity_of_sheared_argon(engine: Any) -> None:
    """256 Lennard-Jones atoms at ρ* = 0.8442, T* = 0.722, sheared at γ* = 0.1 through several cells.

    η* is 3.2 to 3.3 at rest, Meier, Laesecke and Kabelac, J. Chem. Phys. 121, 3671 (2004), which `test_transport` finds
    by Green and Kubo; shear thinning takes a few percent of it at this rate, and more at γ* = 0.2.
    """
    state = engine.crystal("Ar", SIGMA * (4 / 0.8442) ** (1 / 3), 4, 400.0, rattle=0.1)
    potential = lennard_jones(EPSILON, SIGMA, 2.5 * SIGMA)
    kelvin = 0.722 * 119.8
    for melt, temperature, steps in (("nvt-bussi", 400.0, 3000), ("nvt-bussi", kelvin, 2000)):
        keys = {"ensemble": melt, "temperature": temperature}
        engine.simulate(state, potential, build(state, potential, 5.0, steps, None, **keys), steps)
    found = []
    for rate in (0.2, 0.1):
        sheared, deform = engine.copy(state), {"rate": {"xy": rate / TIME}}
        keys = {"ensemble": "nvt-nose-hoover", "temperature": kelvin, "thermostat_time": 500.0}
        record = engine.simulate(sheared, potential, build(sheared, potential, 8.0, 30000, deform, **keys), 30000)
        assert sheared.lattices > 5
        assert record["temperature"][2000:].mean() == pytest.approx(kelvin, rel=0.02)
        blocks = np.array([row.stress[5] for row in record.rows])[1:].reshape(15, -1)[1:].mean(axis=1)
        eta = blocks / (rate / TIME) / (EPSILON * TIME / SIGMA**3 * EV_PER_A3_IN_GPA)
        found.append((float(eta.mean()), float(eta.std(ddof=1) / np.sqrt(len(eta)))))
    print(found)
    (fast, fast_error), (slow, slow_error) = found
    assert slow_error < 0.15 and fast_error < 0.08
    assert fast < slow + 2.0 * slow_error
    assert 3.25 - 0.3 - 2.0 * slow_error < slow < 3.25 + 2.0 * slow_error
