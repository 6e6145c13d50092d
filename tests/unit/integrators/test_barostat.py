"""The cell as a moving part: its strains, its force, its motion, against closed forms and differential equations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from scipy.linalg import expm

from allegro_md.cell import Cell
from allegro_md.comm import Comm
from allegro_md.config.dynamics import INTEGRATORS
from allegro_md.errors import InputError, PhysicsError
from allegro_md.evaluation import Evaluation, Needs, PotentialInfo
from allegro_md.exact import FORCE_SCALE
from allegro_md.integrators.barostat import Barostat, CellForces
from allegro_md.integrators.base import Clock, Setting
from allegro_md.integrators.cell_strain import Strains, propagators
from allegro_md.integrators.npt_mtk import MartynaTobiasKlein
from allegro_md.integrators.steps import drift_with_cell, kick_with_cell
from allegro_md.observables import VOIGT
from allegro_md.state import GROUP, AtomState, SpeciesTable
from allegro_md.units import AMU_A2_PER_FS2, BOLTZMANN, EV_PER_A3_IN_GPA

Array = NDArray[np.float64]

TILTED = np.array([[8.0, 0.0, 0.0], [1.0, 7.5, 0.0], [-0.5, 0.8, 7.0]])
ATOMS, MASS, KELVIN = 5, 30.0, 400.0
STIFFNESS = 10.0  # eV
INFO = PotentialInfo("smooth", 1.0)

MODES: dict[str, dict[str, Any]] = {
    "isotropic": {},
    "anisotropic": {"cell": "anisotropic"},
    "flexible": {"cell": "flexible"},
    "coupled": {"cell": "anisotropic", "couple": "xy"},
    "held": {"cell": "flexible", "hold": ["zz", "yz"]},
    "tensor": {"cell": "flexible", "pressure": [3.0, -1.0, 2.0, 0.5, -0.4, 0.8]},
}


def symmetric(seed: int, size: float) -> Array:
    matrix = np.random.default_rng(seed).normal(scale=size, size=(3, 3))
    return np.asarray(matrix + matrix.T)


def table(kind: str = "npt-mtk", **keys: Any) -> Any:
    given = {"ensemble": kind, "timestep": 1.0, "steps": 100, "pressure": 1.0, "barostat_time": 80.0}
    if kind == "npt-mtk":
        given |= {"temperature": KELVIN, "thermostat_time": 40.0}
    return INTEGRATORS.table(kind).model_validate(given | keys)


def build(kind: str = "npt-mtk", box: Cell | None = None, **keys: Any) -> Any:
    setting = Setting(INFO, ATOMS, box or Cell(TILTED), Comm.serial())
    return INTEGRATORS.builder(kind)(table(kind, **keys), setting)


def phases(x: Array, h: Array) -> Array:
    """(n, n, 3) 2π times the fractional separation of atoms."""
    f = x @ np.linalg.inv(h)
    return np.asarray(2.0 * np.pi * (f[:, None] - f[None, :]))


def smooth_energy(x: Array, h: Array) -> float:
    """A periodic energy without a cutoff, eV: 10 Å³/V Σ_ij Σ_k cos(2π (f_i − f_j)_k) and a cell that resists change."""
    return float(10.0 / np.linalg.det(h) * np.cos(phases(x, h)).sum() + STIFFNESS * (stretch(h) ** 2).sum())


def stretch(h: Array) -> Array:
    """(3, 3) change of the products of lattice rows, about twice the strain."""
    return np.asarray((h @ h.T - TILTED @ TILTED.T) / 60.0)


def derivative(function: Callable[[Array], float], at: Array, step: float) -> Array:
    """Central differences of fourth order."""
    out = np.zeros_like(at)
    for index in np.ndindex(at.shape):
        e = np.zeros_like(at)
        e[index] = step
        near, far = function(at + e) - function(at - e), function(at + 2 * e) - function(at - 2 * e)
        out[index] = (8.0 * near - far) / (12.0 * step)
    return out


def forces_of(x: Array, h: Array) -> tuple[Array, Array]:
    """Forces (n, 3) eV/Å and virial −dE/dstrain (3, 3) eV of `smooth_energy`."""
    angle, depth = phases(x, h), 10.0 / np.linalg.det(h)
    force = 4.0 * np.pi * depth * np.sin(angle).sum(axis=1) @ np.linalg.inv(h).T
    return force, depth * np.cos(angle).sum() * np.eye(3) - STIFFNESS / 15.0 * h.T @ stretch(h) @ h


def smooth(state: AtomState, needs: Needs = frozenset()) -> Evaluation:
    """Evaluates `smooth_energy` for an integrator."""
    x, h = state.local("position").numpy(), state.cell.matrix
    force, virial = forces_of(x, h)
    state.local("force")[:] = torch.from_numpy(np.rint(force * FORCE_SCALE).astype(np.int64))
    rows = np.zeros((state.n_local, 6))
    rows[0] = [virial[a, b] for a, b in VOIGT]
    return Evaluation.of(state, needs, np.zeros(state.n_local), rows)


def start(seed: int = 1) -> AtomState:
    rng = np.random.default_rng(seed)
    x = rng.uniform(size=(ATOMS, 3)) @ TILTED
    v = rng.normal(size=(ATOMS, 3)) * np.sqrt(BOLTZMANN * KELVIN / (MASS * AMU_A2_PER_FS2))
    species = SpeciesTable(("Si",), np.array([14]), np.array([MASS]))
    return AtomState.from_arrays(Cell(TILTED), species, x, velocities=v - v.mean(axis=0))


def run(integrator: MartynaTobiasKlein, state: AtomState, steps: int) -> None:
    integrator.prepare(state, smooth(state, integrator.needs))
    for index in range(1, steps + 1):
        integrator.step(state, smooth, Clock(index, integrator.timestep))


@pytest.mark.parametrize("mode", MODES)
def test_strains_are_orthonormal_and_project(mode: str) -> None:
    keys = table(**MODES[mode])
    strains = Strains.of(keys.cell, keys.couple, keys.moving)
    count = {"isotropic": 1, "anisotropic": 3, "flexible": 6, "coupled": 2, "held": 4, "tensor": 6}[mode]
    axes = {"held": 2}.get(mode, 3)
    gram = [[float((a * b).sum()) for a in strains.basis] for b in strains.basis]
    assert strains.count == count and strains.axes == axes
    np.testing.assert_allclose(gram, np.eye(count), atol=1e-15)
    tensor = symmetric(3, 1.0)
    once = strains.project(tensor)
    np.testing.assert_allclose(strains.project(once), once, atol=1e-14)
    if mode == "flexible":
        np.testing.assert_allclose(once, tensor, atol=1e-14)
    if mode == "isotropic":
        np.testing.assert_allclose(once, np.trace(tensor) / 3.0 * np.eye(3), atol=1e-14)
    if mode == "held":
        assert once[2, 2] == once[1, 2] == 0.0 and once[0, 2] == pytest.approx(tensor[0, 2], rel=1e-14)


@pytest.mark.parametrize("cell", ["isotropic", "anisotropic"])
def test_traceless_strains(cell: str) -> None:
    strains = Strains.of(cell, "none", ("xx", "yy", "zz"))
    assert len(strains.traceless) == strains.count - 1
    gram = [[float((a * b).sum()) for a in strains.traceless] for b in strains.traceless]
    np.testing.assert_allclose(gram, np.eye(len(gram)).reshape(np.shape(gram)), atol=1e-15)
    np.testing.assert_allclose([np.trace(a) for a in strains.traceless], 0.0, atol=1e-15)


def test_motion_with_the_cell_is_that_of_the_matrix_exponential() -> None:
    """d(x, v)/dt = (x G + v, 0) and d(v, a)/dt = (−v A + a, 0), by scipy's exponential of a block matrix."""
    rate, time, drag = symmetric(1, 0.01), 3.0, 1.0 / 12.0
    found = propagators(rate, drag, time)
    damped = rate + drag * np.trace(rate) * np.eye(3)
    for g, t, diagonal, off in (
        (rate, time, found.deformation, found.flight),
        (-damped, 0.5 * time, found.damping, 0.5 * time * found.gain),
    ):
        block = np.block([[g, np.zeros((3, 3))], [np.eye(3), np.zeros((3, 3))]])  # rows (x, v) from the left
        whole = expm(block * t)
        np.testing.assert_allclose(diagonal, whole[:3, :3], rtol=0, atol=1e-15)
        np.testing.assert_allclose(off, whole[3:, :3], rtol=1e-14, atol=1e-15)


def test_a_cell_at_rest_moves_as_without_barostat() -> None:
    found = propagators(np.zeros((3, 3)), 0.1, 2.0)
    for matrix, factor in ((found.deformation, 1.0), (found.flight, 2.0), (found.damping, 1.0), (found.gain, 1.0)):
        np.testing.assert_array_equal(matrix, factor * np.eye(3))


def test_atoms_keep_their_fractional_coordinates_and_held_ones_their_velocity() -> None:
    state = start()
    fractions = state.local("position").numpy() @ state.cell.inverse
    before = state.local("velocity").numpy().copy()
    state.local("velocity")[2:] = 0.0
    drift_with_cell(state, expm(symmetric(2, 0.05)), np.eye(3))
    after = state.local("position").numpy() @ state.cell.inverse
    np.testing.assert_allclose(after[2:], fractions[2:], rtol=0, atol=1e-15)
    assert np.abs(after[:2] - fractions[:2]).max() > 1e-5

    state.add_field(GROUP)
    state.local("group")[:] = torch.tensor([1, 2, 3, 0, 0])
    state.held = 2
    state.local("velocity")[:] = torch.from_numpy(before)
    smooth(state)
    kick_with_cell(state, 1.0, 0.5 * np.eye(3), np.eye(3))
    changed = np.abs(state.local("velocity").numpy() - before).max(axis=1) > 0.0
    assert changed.tolist() == [True, False, False, True, True]


def test_forces_of_this_test_are_derivatives() -> None:
    x, h = start().local("position").numpy(), TILTED
    force, virial = forces_of(x, h)
    np.testing.assert_allclose(force, -derivative(lambda y: smooth_energy(y, h), x, 1e-3), rtol=0, atol=1e-9)
    strained = derivative(lambda e: smooth_energy(x @ (np.eye(3) + e), h @ (np.eye(3) + e)), np.zeros((3, 3)), 1e-4)
    np.testing.assert_allclose(virial, -strained, rtol=0, atol=1e-8)


@pytest.mark.parametrize("mode", MODES)
def test_force_on_the_cell_is_the_derivative_of_the_energy(mode: str) -> None:
    """−d(K + U + P V + V₀ S : E)/dstrain at fixed fractional coordinates and scaled momenta, plus 2K/f.

    The energy is written down anew, in a cell that was deformed before.
    """
    keys = table(**MODES[mode])
    freedom = 3 * ATOMS - 3
    barostat = Barostat(keys, freedom, 0.03)
    state = start()
    deformation = expm(symmetric(5, 0.1))
    h0, h = TILTED, TILTED @ deformation
    x, p = state.local("position").numpy() @ deformation, state.local("velocity").numpy()
    barostat.deformation.volume = float(np.linalg.det(h0))
    barostat.deformation.grow(deformation)
    pressure = np.array(keys.pressure_ramp[0]) / EV_PER_A3_IN_GPA
    hydrostatic = pressure[:3].mean()
    tension = np.zeros((3, 3))
    for value, (a, b) in zip(pressure, VOIGT, strict=True):
        tension[a, b] = tension[b, a] = value - hydrostatic * (a == b)

    def energy(strain: Array) -> float:
        f = np.eye(3) + 0.5 * (strain + strain.T)
        g = np.linalg.inv(h0) @ h @ f
        kinetic = 0.5 * MASS * AMU_A2_PER_FS2 * float(((p @ np.linalg.inv(f)) ** 2).sum())
        outer = hydrostatic * np.linalg.det(h @ f) + np.linalg.det(h0) * 0.5 * np.trace(tension @ (g @ g.T - np.eye(3)))
        return kinetic + smooth_energy(x @ f, h @ f) + float(outer)

    kinetic = MASS * AMU_A2_PER_FS2 * p.T @ p
    expected = -derivative(energy, np.zeros((3, 3)), 1e-4) + np.trace(kinetic) / freedom * np.eye(3)
    found = barostat.force(CellForces(kinetic, forces_of(x, h)[1], float(np.linalg.det(h))))
    np.testing.assert_allclose(found, barostat.strains.project(expected), rtol=0, atol=1e-8)
    assert np.abs(found).max() > 0.01


def equations(integrator: MartynaTobiasKlein, keys: Any, project: Callable[[Array], Array]) -> Any:
    """The equations of motion at a hydrostatic pressure, written down anew: y = x, v, h, G, ξ, v_ξ, η, v_η."""
    kT, f, d = BOLTZMANN * KELVIN, 3 * ATOMS - 3, integrator.barostat.strains.count
    pressure = keys.pressure_ramp[0][0] / EV_PER_A3_IN_GPA
    mass = (f + 3) * kT * keys.barostat_time**2 / 3.0
    n = 3 * ATOMS

    def chain(twice: float, freedom: int, time: float, v: Array) -> Array:
        q = kT * time**2 * np.array([freedom, 1.0, 1.0])
        drive = np.array([twice - freedom * kT, q[0] * v[0] ** 2 - kT, q[1] * v[1] ** 2 - kT]) / q
        return drive - v * np.array([v[1], v[2], 0.0])

    def rate(_: float, y: Array) -> Array:
        x, v = y[:n].reshape(-1, 3), y[n : 2 * n].reshape(-1, 3)
        h, g = y[2 * n : 2 * n + 9].reshape(3, 3), y[2 * n + 9 : 2 * n + 18].reshape(3, 3)
        v_xi, v_eta = y[2 * n + 21 : 2 * n + 24], y[2 * n + 27 :]
        force, virial = forces_of(x, h)
        inner = MASS * AMU_A2_PER_FS2 * v.T @ v
        volume = float(np.linalg.det(h))
        acceleration = force / (MASS * AMU_A2_PER_FS2) - v @ g - (np.trace(g) / f + v_xi[0]) * v
        push = project(inner + virial + (np.trace(inner) / f - pressure * volume) * np.eye(3)) / mass
        cell = chain(mass * float((g * g).sum()), d, keys.barostat_time, v_eta)
        atoms = chain(float(np.trace(inner)), f, keys.thermostat_time, v_xi)
        parts = (v + x @ g, acceleration, h @ g, push - v_eta[0] * g, v_xi, atoms, v_eta, cell)
        return np.concatenate([np.ravel(part) for part in parts])

    return rate


@pytest.mark.parametrize("mode", ["isotropic", "flexible", "held"])
def test_follows_the_equations_of_motion(mode: str) -> None:
    """Positions, velocities and cell after 60 fs against scipy's solution; the error falls with the step squared."""
    errors: list[float] = []
    for timestep in (0.5, 0.25):
        state = start()
        integrator = build(timestep=timestep, **MODES[mode])
        run(integrator, state, round(60 / timestep))
        if not errors:
            rest = np.concatenate([TILTED.ravel(), np.zeros(9 + 12)])
            y0 = np.concatenate([start().local(name).numpy().ravel() for name in ("position", "velocity")] + [rest])
            law = equations(integrator, table(**MODES[mode]), integrator.barostat.strains.project)
            solved = solve_ivp(law, (0.0, 60.0), y0, rtol=1e-9, atol=1e-11).y[:, -1]
        found = [state.local("position").numpy(), state.local("velocity").numpy(), state.cell.matrix]
        found += [integrator.barostat.rate, np.array(integrator.chain.positions), np.array(integrator.chain.velocities)]
        y = np.concatenate([np.ravel(part) for part in found])
        errors.append(float(np.abs(y - solved[: len(y)])[: 6 * ATOMS + 9].max()))
    assert np.abs(solved[6 * ATOMS : 6 * ATOMS + 9] - TILTED.ravel()).max() > 0.02
    assert errors[1] < 1e-3
    assert errors[0] / errors[1] == pytest.approx(4.0, rel=0.1)


@pytest.mark.parametrize("mode", MODES)
def test_time_runs_backwards(mode: str) -> None:
    """All velocities turned, those of cell and chains too: back to the start within rounding."""
    state = start()
    first = {name: state.local(name).clone() for name in ("position", "velocity")}
    integrator = build(**MODES[mode])
    run(integrator, state, 100)
    assert np.abs(state.cell.matrix - TILTED).max() > 0.02
    state.local("velocity").neg_()
    integrator.barostat.rate = -integrator.barostat.rate
    for chain in (integrator.chain, integrator.barostat.chain):
        chain.velocities = [-v for v in chain.velocities]
    run(integrator, state, 100)
    np.testing.assert_allclose(state.cell.matrix, TILTED, rtol=0, atol=1e-9)
    assert (state.local("position") - first["position"]).abs().max() < 1e-9
    assert (state.local("velocity") + first["velocity"]).abs().max() < 1e-11


def test_what_is_held_stays_to_the_last_bit() -> None:
    state = start()
    run(build(cell="flexible", hold=["zz", "yz", "xz"]), state, 30)
    np.testing.assert_array_equal(state.cell.matrix[:, 2], TILTED[:, 2])
    other = start()
    run(build(), other, 30)
    scale = other.cell.matrix[0, 0] / TILTED[0, 0]
    np.testing.assert_allclose(other.cell.matrix, scale * TILTED, rtol=1e-14, atol=0)


def test_enthalpy_is_conserved_without_thermostats() -> None:
    spread = []
    for timestep in (2.0, 1.0):
        state = start()
        integrator = build("nph-mtk", timestep=timestep, expected_temperature=KELVIN, cell="flexible")
        integrator.prepare(state, smooth(state, integrator.needs))
        enthalpy = []
        for index in range(1, round(120 / timestep) + 1):
            integrator.step(state, smooth, Clock(index, timestep))
            x, v = state.local("position").numpy(), state.local("velocity").numpy()
            kinetic = 0.5 * MASS * AMU_A2_PER_FS2 * float((v * v).sum())
            enthalpy.append(kinetic + smooth_energy(x, state.cell.matrix) + integrator.extended_energy())
        spread.append(np.ptp(enthalpy))
    assert spread[0] / spread[1] == pytest.approx(4.0, rel=0.15)
    assert spread[1] < 0.01


@pytest.mark.parametrize("kind", ["npt-mtk", "npt-crescale", "npt-berendsen"])
def test_a_cell_that_moves_too_fast_is_an_error_that_names_the_pressure(kind: str) -> None:
    state = start()
    keys: dict[str, Any] = {"pressure": 9e4, "barostat_time": 1.5, "temperature": 10.0}
    keys |= {"compressibility": 1.0} if kind != "npt-mtk" else {}
    integrator = build(kind, **keys)
    integrator.prepare(state, smooth(state, integrator.needs))
    with pytest.raises(PhysicsError, match=r"its pressure is [-\d.]+ GPa, 9e\+04 GPa are asked for"):
        for index in range(1, 50):
            integrator.step(state, smooth, Clock(index, 1.0))


def test_systems_without_a_pressure_are_refused() -> None:
    blind = PotentialInfo("blind", 1.0, provides=frozenset({"energy", "force"}))
    for kind in ("npt-mtk", "npt-crescale", "npt-berendsen"):
        keys = {} if kind == "npt-mtk" else {"compressibility": 1.0, "temperature": 1.0}
        with pytest.raises(InputError, match="gives no virial"):
            INTEGRATORS.builder(kind)(table(kind, **keys), Setting(blind, 5, Cell(TILTED), Comm.serial()))
        with pytest.raises(InputError, match="the cell has none"):
            build(kind, Cell(TILTED, (True, True, False), absent=(False, False, True)), **keys)
        with pytest.raises(InputError, match=r"cell vector c, .* with hold = \[\"zz\"\], or"):
            build(kind, Cell(np.diag([8.0, 8.0, 30.0]), (True, True, False)), **keys)
        tilted = Cell(np.array([[8.0, 0.0, 0.0], [0.0, 8.0, 0.0], [3.0, 2.0, 30.0]]), (True, True, False))
        with pytest.raises(InputError, match="and which is tilted") as error:  # holding all axes would be no remedy
            build(kind, tilted, cell="anisotropic", hold=["zz"], **keys)
        assert "perpendicular" in error.value.remedy
        slab = Cell(np.diag([8.0, 8.0, 30.0]), (True, True, False))
        build(kind, slab, cell="anisotropic", hold=["zz"], **keys)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"couple": "xy"}, "one strain, of all axes"),
        ({"hold": ["zz"]}, "one strain, of all axes"),
        ({"cell": "anisotropic", "hold": ["xy"]}, "does not shear"),
        ({"cell": "anisotropic", "couple": "xy", "hold": ["xx"]}, "one of them is held"),
        ({"cell": "anisotropic", "hold": ["xx", "yy", "zz"]}, "the cell cannot move"),
        ({"cell": "anisotropic", "couple": "xz", "pressure": [1.0, 2.0, 3.0, 0.0, 0.0, 0.0]}, "xx and zz share"),
        ({"pressure": [1.0, 1.0, 2.0, 0.0, 0.0, 0.0]}, "share one strain"),
        ({"cell": "anisotropic", "pressure": [1.0, 1.0, 1.0, 0.0, 0.0, 0.5]}, "xy of the cell does not move"),
        ({"cell": "flexible", "hold": ["zz"], "pressure": [1.0, 1.0, 1.0, 0.0, 0.0, 0.0]}, "zz of the cell does not"),
        ({"pressure": [1.0, 2.0, 3.0]}, "expected a pressure, six components"),
        ({"pressure": [1.0, [1.0, 1.0, 1.0, 0.0, 0.0, 0.0]]}, "expected a pressure, six components"),
        ({"pressure": "1 atmosphere"}, "unknown unit"),
        ({"pressure": 1e6}, "too large"),
        ({"hold": ["zz", "zz"], "cell": "flexible"}, "expected different ones"),
        ({"barostat_time": 0.5}, "longer than the timestep"),
        ({"cell": "cubic"}, "unknown value"),
    ],
)
def test_keys_that_contradict_each_other_are_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        table(**keys)


def test_pressures_and_ramps() -> None:
    assert table(pressure="1 bar").pressure_ramp[0] == (1e-4, 1e-4, 1e-4, 0.0, 0.0, 0.0)
    assert table(pressure=-2.0).pressure == -2.0 and not table(pressure=-2.0).is_ramped
    assert table(pressure=["1 bar", 2]).pressure_ramp[1][:3] == (2.0, 2.0, 2.0)
    assert table(pressure=["1 bar", 2]).is_ramped and table(temperature=[1.0, 2.0]).is_ramped
    six = [1.0, 2.0, 3.0, 0.1, 0.2, 0.3]
    tensor = table(pressure=six, cell="flexible")
    assert tensor.pressure_ramp == (tuple(six), tuple(six)) and not tensor.is_ramped
    assert table(pressure=[six, [0.0] * 6], cell="flexible").is_ramped
    with pytest.raises(ValueError, match="not a tensor"):
        table("npt-crescale", temperature=1.0, compressibility=1.0, pressure=[1, 2, 1, 0, 0, 0], cell="anisotropic")
    with pytest.raises(ValueError, match='"flexible"'):
        table("npt-crescale", temperature=1.0, compressibility=1.0, cell="flexible")
    cold = table("npt-crescale", temperature=1.0, compressibility="4.5e-5/bar")
    assert cold.compressibility == pytest.approx(0.45)
