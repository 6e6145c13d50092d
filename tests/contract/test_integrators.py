"""What every integrator owes the engine."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from systems import Breathing, Soft, grid_points, spread, thermal

from allegro_md.comm import Comm
from allegro_md.config.dynamics import INTEGRATORS
from allegro_md.evaluation import QUANTITIES
from allegro_md.integrators import build_integrator
from allegro_md.integrators.base import Clock, Prepared, Setting
from allegro_md.integrators.minimize import MinimizeConfig
from allegro_md.integrators.minimize import build as build_minimizer
from allegro_md.integrators.nve import VelocityVerlet
from allegro_md.integrators.nvt_berendsen import BerendsenThermostat, NvtBerendsenConfig
from allegro_md.integrators.nvt_bussi import NvtBussiConfig, StochasticRescaling
from allegro_md.integrators.nvt_langevin import Langevin, NvtLangevinConfig
from allegro_md.integrators.nvt_nose_hoover import NoseHoover
from allegro_md.integrators.schedule import Ramp
from allegro_md.simulation.forces import ForceEvaluator
from allegro_md.state import AtomState
from allegro_md.timers import Timers

KINDS = (
    "nve", "nvt-nose-hoover", "nvt-bussi", "nvt-langevin", "nvt-berendsen", "npt-mtk", "nph-mtk", "npt-crescale",
    "npt-berendsen", "minimize", "minimize by fire", "breathing", "nve deformed", "nvt-langevin deformed",
)  # fmt: skip


def system() -> AtomState:
    x = grid_points((3, 3, 3), 2.0, 0.1, 1)
    return spread(x, np.eye(3) * 6.0, (True,) * 3, Comm.serial(), thermal(27, 10.0, 800.0, 2), 10.0)


def build(kind: str, state: AtomState) -> Any:
    if kind == "nve":
        return VelocityVerlet(1.0, 78)
    setting = Setting(Soft.info, 27, state.cell, Comm.serial())
    common: dict[str, Any] = {"ensemble": kind, "timestep": 1.0, "steps": 40, "temperature": (500.0, 900.0)}
    if kind.endswith("deformed"):
        deform = {"rate": {"xx": -0.004, "xy": 0.01}}
        ensemble, temperature = kind.split()[0], common.pop("temperature")
        common |= {"ensemble": ensemble, "deform": deform}
        common |= {} if ensemble == "nve" else {"temperature": temperature}
        table: Any = INTEGRATORS.table(ensemble).model_validate(common)
        return build_integrator(table, setting)
    if kind == "nvt-bussi":
        return StochasticRescaling(NvtBussiConfig(**common), setting)
    if kind == "nvt-langevin":
        return Langevin(NvtLangevinConfig(**common, friction=0.02), setting)
    if kind == "nvt-berendsen":
        return BerendsenThermostat(NvtBerendsenConfig(**common), setting)
    if kind in INTEGRATORS and kind.startswith("np"):
        return barostat(kind, state)
    if kind.startswith("minimize"):
        keys: dict[str, Any] = {"cell": "flexible", "pressure": 20.0, "max_force": 1e-9}
        keys = {"method": "fire"} if kind.endswith("fire") else keys
        settings = MinimizeConfig(ensemble="minimize", steps=40, **keys)
        return build_minimizer(settings, Setting(Soft.info, 27, state.cell, Comm.serial()))
    if kind == "breathing":
        return Breathing(1.0, state.cell, Comm.serial())
    return NoseHoover(1.0, Ramp(500.0, 900.0, 40), 50.0, 3, 3, 78, Comm.serial())


def barostat(kind: str, state: AtomState) -> Any:
    """With ramps of pressure and temperature, on all components of the cell where the method has them."""
    keys: dict[str, Any] = {"ensemble": kind, "timestep": 1.0, "steps": 40, "barostat_time": 60.0}
    keys |= {"pressure": [[30.0, 20.0, 40.0, 3.0, -2.0, 5.0], [-20.0, 0.0, 10.0, 0.0, 0.0, 1.0]], "cell": "flexible"}
    keys |= {"expected_temperature": 700.0} if kind == "nph-mtk" else {"temperature": [500.0, 900.0]}
    if kind == "npt-crescale":
        keys |= {"pressure": [30.0, -10.0], "cell": "anisotropic"}
    if kind in ("npt-crescale", "npt-berendsen"):
        keys |= {"compressibility": 0.05}
    table = INTEGRATORS.table(kind).model_validate(keys)
    return INTEGRATORS.builder(kind)(table, Setting(Soft.info, 27, state.cell, Comm.serial()))


def run(integrator: Any, state: AtomState, first: int, last: int) -> None:
    forces = ForceEvaluator(Soft(), Comm.serial(), 0.5, None, Timers())
    for field in integrator.fields:
        state.add_field(field)
    evaluation = forces(state, frozenset({"virial"}))
    if isinstance(integrator, Prepared):
        integrator.prepare(state, evaluation)
    for index in range(first, last + 1):
        integrator.step(state, forces, Clock(index, integrator.timestep))


def by_id(state: AtomState) -> dict[str, bytes]:
    order = torch.argsort(state.local("id"))
    return {name: state.local(name)[order].numpy().tobytes() for name in ("position", "velocity", "force")}


def test_all_are_covered() -> None:
    missing = sorted(set(INTEGRATORS) - set(KINDS))
    assert not missing, f"add {missing} to KINDS, and to `build` above"


@pytest.mark.parametrize("kind", KINDS)
def test_continuation_has_the_same_bits(kind: str) -> None:
    """Stopped in the middle, written down as JSON, taken up by a new object in a state of what checkpoints hold."""
    whole, state = system(), system()
    start = state.cell
    one = build(kind, whole)
    run(one, whole, 1, 40)
    first = build(kind, state)
    run(first, state, 1, 17)
    kept = json.loads(json.dumps(first.state_dict()))
    order = torch.randperm(27, generator=torch.Generator().manual_seed(0))
    again = system()
    for field in first.fields:
        again.add_field(field)
    kept_rows = [name for name, field in state.fields.items() if field.checkpoint]
    again.set_local({name: state.local(name)[order].clone() for name in kept_rows})
    second = build(kind, again)
    again.cell = start.with_matrix(np.array(state.cell.matrix))
    second.load_state_dict(kept)
    run(second, again, 18, 40)
    assert by_id(again) == by_id(whole)
    assert second.extended_energy() == one.extended_energy()


@pytest.mark.parametrize("kind", KINDS)
def test_keeps_nothing_per_atom(kind: str) -> None:
    state = system()
    integrator = build(kind, state)
    run(integrator, state, 1, 3)
    arrays = [v for v in vars(integrator).values() if isinstance(v, (list, np.ndarray, torch.Tensor))]
    sizes = [np.size(v) for v in arrays]
    assert max(sizes, default=0) < 27
    assert integrator.timestep == (0.0 if kind.startswith("minimize") else 1.0)
    assert integrator.needs <= set(QUANTITIES) and not integrator.finished
