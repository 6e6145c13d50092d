"""Flows of cell and atoms: what a table means, maps, ideal gases, cells that are replaced, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.linalg import expm
from systems import Ideal, Soft, grid_points, spread, thermal

from allegro_md.cell import Cell
from allegro_md.comm import Comm
from allegro_md.config.deform import DeformConfig
from allegro_md.config.dynamics import INTEGRATORS, Dynamics
from allegro_md.config.fields import Table
from allegro_md.config.load import load_table
from allegro_md.errors import InputError
from allegro_md.integrators import build_integrator
from allegro_md.integrators import deformation as deformation_module
from allegro_md.integrators.base import Clock, Setting
from allegro_md.integrators.cell_strain import tensor_of
from allegro_md.integrators.deformation import maps, velocity_gradient
from allegro_md.io.wrapping import unwrap, wrap
from allegro_md.observables import kinetic_tensor
from allegro_md.simulation.forces import ForceEvaluator
from allegro_md.state import AtomState
from allegro_md.timers import Timers

Array = NDArray[np.float64]


def table(deform: dict[str, Any], steps: int = 100, **keys: Any) -> Any:
    content: dict[str, Any] = {"ensemble": "nve", "timestep": 1.0, "steps": steps, "deform": deform} | keys
    return load_table(INTEGRATORS.table(content["ensemble"]), content, "dynamics")


def integrator(deform: dict[str, Any], state: AtomState, potential: Any, steps: int = 100, **keys: Any) -> Any:
    setting = Setting(potential.info, state.n_total, state.cell, Comm.serial())
    return build_integrator(table(deform, steps, **keys), setting)


def run(moves: Any, state: AtomState, potential: Any, steps: int, each: Any = None) -> None:
    forces = ForceEvaluator(potential, Comm.serial(), 0.5, None, Timers())
    moves.prepare(state, forces(state, moves.needs))
    for step in range(1, steps + 1):
        moves.step(state, forces, Clock(step, moves.timestep))
        if each is not None:
            each(state)


def gas(rows: Array | None = None, seed: int = 1) -> AtomState:
    x = grid_points((3, 3, 3), 3.0, 0.3, seed)
    rows = np.diag([9.0, 10.0, 11.0]) if rows is None else rows
    return spread(x, rows, (True,) * 3, Comm.serial(), thermal(27, 10.0, 300.0, seed), 10.0)


def by_id(state: AtomState, name: str) -> Array:
    return np.array(state.local(name).numpy()[np.argsort(state.local("id").numpy())])


def test_strain_is_that_of_the_last_step() -> None:
    """x → 1.1 x + 0.3 y − 0.2 z, y → 0.95 y + 0.4 z for a point of the start, in any mixture of components."""
    strains = {"xx": 0.1, "yy": -0.05, "xy": 0.3, "xz": -0.2, "yz": 0.4}
    gradient = velocity_gradient(DeformConfig.model_validate({"strain": strains}), 250.0)
    wanted = np.array([[1.1, 0.0, 0.0], [0.3, 0.95, 0.0], [-0.2, 0.4, 1.0]])
    np.testing.assert_allclose(expm(250.0 * gradient), wanted, rtol=0, atol=1e-14)
    volume = velocity_gradient(DeformConfig.model_validate({"strain": {"volume": -0.271}}), 250.0)
    np.testing.assert_allclose(expm(250.0 * volume), 0.9 * np.eye(3), rtol=0, atol=1e-14)


def test_rate_is_the_velocity_gradient() -> None:
    rates = {"xx": "1e9/s", "xy": "0.01/ps", "yz": 2e-6, "zz": "-3/ns"}
    gradient = velocity_gradient(DeformConfig.model_validate({"rate": rates}), 1.0)
    np.testing.assert_allclose(gradient, [[1e-6, 0, 0], [1e-5, 0, 0], [0, 2e-6, -3e-6]], rtol=1e-12)
    volume = velocity_gradient(DeformConfig.model_validate({"rate": {"volume": 3e-3}}), 1.0)
    np.testing.assert_allclose(volume, 1e-3 * np.eye(3), rtol=1e-12)


def test_work_of_the_kinetic_part_is_the_change_of_the_kinetic_energy() -> None:
    state, found = gas(), maps(np.array([[0.01, 0.0, 0.0], [0.02, -0.03, 0.0], [0.05, 0.04, 0.02]]), 1.5)
    v = by_id(state, "velocity")
    tensor = Comm.serial().reduce(kinetic_tensor(state))
    state.local("velocity").numpy()[:] = state.local("velocity").numpy() @ found.damping
    after = Comm.serial().reduce(kinetic_tensor(state))
    gain = 0.5 * (after[:3].sum() - tensor[:3].sum())
    assert np.abs(v).max() > 0.0 and abs(gain) > 1e-4
    assert float((found.gain * tensor_of(tensor)).sum()) == pytest.approx(gain, rel=1e-12)


@pytest.mark.parametrize("ensemble", ["nve", "nvt-nose-hoover", "nvt-bussi", "nvt-langevin", "nvt-berendsen"])
def test_ideal_gas_conserves(ensemble: str) -> None:
    """No virial: the work is exact, whatever thermostats do in between."""
    state = gas()
    keys: dict[str, Any] = {} if ensemble == "nve" else {"temperature": 300.0}
    moves = integrator({"rate": {"xx": -2e-3, "xy": 4e-3}}, state, Ideal, ensemble=ensemble, **keys)
    energy: list[float] = []

    def each(now: AtomState) -> None:
        kinetic = Comm.serial().reduce(kinetic_tensor(now))[:3].sum() / 2
        energy.append(kinetic + moves.extended_energy())

    run(moves, state, Ideal(), 100, each)
    assert moves.changes_cell and abs(moves.extended_energy()) > 0.05
    spread_allowed = 1e-12 if ensemble != "nvt-nose-hoover" else 2e-4
    assert np.ptp(energy) < spread_allowed


def test_adiabatic_compression_of_an_ideal_gas() -> None:
    """T V^(2/3) is constant, and a stretch along one axis cools the motion along it alone: v_x L_x is constant."""
    state = gas()
    start, volume = Comm.serial().reduce(kinetic_tensor(state)), state.cell.volume
    run(integrator({"strain": {"volume": -0.5}}, state, Ideal), state, Ideal(), 100)
    end = Comm.serial().reduce(kinetic_tensor(state))
    assert state.cell.volume == pytest.approx(0.5 * volume, rel=1e-12)
    assert end[:3].sum() / start[:3].sum() == pytest.approx(2.0 ** (2.0 / 3.0), rel=1e-12)
    stretched = gas()
    run(integrator({"strain": {"yy": 0.25}}, stretched, Ideal), stretched, Ideal(), 100)
    cooled = Comm.serial().reduce(kinetic_tensor(stretched))
    np.testing.assert_allclose(cooled[:3], start[:3] / [1.0, 1.25**2, 1.0], rtol=1e-12)


def test_streaming_velocity_of_atoms_at_rest() -> None:
    """Without forces and peculiar velocities an atom goes where the flow goes: fractions stay."""
    state = gas(np.array([[9.0, 0.0, 0.0], [1.0, 10.0, 0.0], [0.0, 2.0, 11.0]]))
    state.local("velocity").zero_()
    start, x = np.array(state.cell.matrix), by_id(state, "position")
    run(integrator({"strain": {"xy": 2.2, "zz": 0.3}}, state, Ideal, 500), state, Ideal(), 500)
    final = np.array([[1.0, 0.0, 0.0], [2.2, 1.0, 0.0], [0.0, 0.0, 1.3]])
    np.testing.assert_allclose(by_id(state, "position"), x @ final, rtol=0, atol=1e-10)
    assert state.lattices >= 2  # and yet the cell is one of the same lattice:
    multiples = state.cell.matrix @ np.linalg.inv(start @ final)
    np.testing.assert_allclose(multiples, np.rint(multiples), rtol=0, atol=1e-11)
    assert abs(np.linalg.det(multiples)) == pytest.approx(1.0)


def test_time_can_be_reversed() -> None:
    """The opposite flow with opposite velocities leads back, through a replaced cell."""
    state = gas()
    x, v = by_id(state, "position"), by_id(state, "velocity")
    run(integrator({"rate": {"xy": 7e-3, "yy": -1e-3}}, state, Soft), state, Soft(), 100)
    assert state.lattices == 1
    state.local("velocity").neg_()
    run(integrator({"rate": {"xy": -7e-3, "yy": 1e-3}}, state, Soft), state, Soft(), 100)
    np.testing.assert_allclose(by_id(state, "position"), x, rtol=0, atol=1e-9)
    np.testing.assert_allclose(by_id(state, "velocity"), -v, rtol=0, atol=1e-9)


def test_a_replaced_cell_cannot_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same motion as in a cell that is sheared on and on; unwrapped positions of frames are smooth."""
    flipping, tilting = gas(), gas()
    deform = {"rate": {"xy": 9e-3, "xz": 4e-3, "yz": -7e-3}}
    largest: list[float] = []
    last = by_id(flipping, "position")

    def each(state: AtomState) -> None:
        nonlocal last
        x = by_id(state, "position")
        inside, image = wrap(x, state.cell, np.float64)
        seen = unwrap(inside, image, state.cell.matrix)
        np.testing.assert_allclose(seen, x, rtol=0, atol=1e-12)
        largest.append(float(np.abs(seen - last).max()))
        last = x

    run(integrator(deform, flipping, Soft), flipping, Soft(), 150, each)
    assert flipping.lattices >= 2 and max(largest) < 0.5
    monkeypatch.setattr(deformation_module, "reduce_cell", lambda state: False)
    run(integrator(deform, tilting, Soft), tilting, Soft(), 150)
    assert tilting.lattices == 0
    for name in ("position", "velocity"):
        np.testing.assert_allclose(by_id(flipping, name), by_id(tilting, name), rtol=0, atol=1e-9)


def test_without_a_flow_nothing_is_asked_for() -> None:
    state = gas()
    plain = build_integrator(table({"rate": {"xx": 0.0}}).model_copy(update={"deform": None}),
                             Setting(Ideal.info, 27, state.cell, Comm.serial()))  # fmt: skip
    assert plain.needs == frozenset() and not plain.changes_cell and plain.state_dict() == {}


@pytest.mark.parametrize(
    ("deform", "said"),
    [
        ({}, "neither rate nor strain"),
        ({"rate": {"xx": 1e-6}, "strain": {"xx": 0.1}}, "both rate and strain"),
        ({"rate": {}}, "no component"),
        ({"rate": {"xx": 1e9}}, "deforms by 1e+09 in each step"),
        ({"rate": {"xx": "1e9 m/s"}}, "unknown unit 'm/s' for a rate"),
        ({"rate": {"xx": True}}, "expected a rate"),
        ({"rate": {"yx": 1e-6}}, "unknown key"),
        ({"strain": {"xx": "0.1"}}, "expected a number"),
        ({"strain": {"xx": -1.0}}, "must be above -1"),
        ({"strain": {"volume": 0.1, "zz": 0.1}}, "follows from zz already"),
        ({"strain": {"xx": 2.0}}, "in each step"),
    ],
)
def test_refused_tables(deform: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said.replace("+", r"\+")):
        table(deform)


@pytest.mark.parametrize("ensemble", ["npt-mtk", "npt-crescale", "minimize"])
def test_no_other_ensemble_has_it(ensemble: str) -> None:
    content = {"ensemble": ensemble, "steps": 10, "deform": {"rate": {"xx": "1e9/s"}}}
    with pytest.raises(InputError, match=f'does not apply to ensemble = "{ensemble}"'):
        load_table(_Holder, {"dynamics": content}, "input.toml")


class _Holder(Table):
    dynamics: Dynamics


def test_a_ramp_is_as_long_as_the_run() -> None:
    assert table({"strain": {"xx": 0.1}}).is_ramped and table({"strain": {"xx": 0.1}}).changes_cell
    assert not table({"rate": {"xx": 1e-6}}).is_ramped
    both = table({"rate": {"xx": 1e-6}}, ensemble="nvt-nose-hoover", temperature=[300.0, 400.0])
    assert both.is_ramped and both.changes_cell


@pytest.mark.parametrize(
    ("periodic", "component", "refused"),
    [
        ((True, True, False), "xx", False),
        ((True, True, False), "xy", False),
        ((True, True, False), "zz", True),
        ((True, True, False), "xz", True),
        ((True, True, False), "volume", True),
        ((False, True, True), "xy", False),
        ((True, False, True), "xy", True),
    ],
)
def test_free_axes(periodic: tuple[bool, bool, bool], component: str, refused: bool) -> None:
    cell = Cell.from_rows(np.diag([9.0, 9.0, 9.0]), periodic)
    setting = Setting(Ideal.info, 27, cell, Comm.serial())
    if refused:
        with pytest.raises(InputError, match="the cell is not periodic"):
            build_integrator(table({"rate": {component: 1e-4}}), setting)
    else:
        assert build_integrator(table({"rate": {component: 1e-4}}), setting).changes_cell
