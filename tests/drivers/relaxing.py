"""Minimizations on one rank, and the same potential for ASE's optimizers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from numpy.typing import NDArray

from allegro_md.cell import Cell
from allegro_md.comm import Comm
from allegro_md.exact import FORCE_SCALE
from allegro_md.integrators.base import Clock, Setting
from allegro_md.integrators.minimize import MinimizeConfig, Minimizer, build
from allegro_md.integrators.relaxation import Relaxation
from allegro_md.observables import summed
from allegro_md.simulation.forces import ForceEvaluator
from allegro_md.state import AtomState, SpeciesTable
from allegro_md.timers import Timers
from allegro_md.units import EV_PER_A3_IN_GPA

Array = NDArray[np.float64]

VIRIAL = frozenset({"virial"})


def table_of(**keys: Any) -> MinimizeConfig:
    return MinimizeConfig(**{"ensemble": "minimize", "steps": 1000, **keys})


def atoms(x: Array, rows: Array | None = None, symbol: str = "Ar", number: int = 18) -> AtomState:
    """Atoms of one species, in a periodic cell or in nothing."""
    free = rows is None
    cell = Cell(np.eye(3), (False,) * 3, absent=(True,) * 3) if free else Cell.from_rows(np.array(rows), (True,) * 3)
    return AtomState.from_arrays(cell, SpeciesTable((symbol,), np.array([number]), np.array([39.948])), x)


def evaluator(potential: Any) -> Any:
    """Forces of a potential; one that takes a state alone needs no lists."""
    return potential if not hasattr(potential, "members") else ForceEvaluator(
        potential, Comm.serial(), 0.5, None, Timers())  # fmt: skip


class Minimization:
    """A minimization on one rank.

    Attributes:
        steps: made so far.
    """

    def __init__(self, potential: Any, state: AtomState, table: MinimizeConfig, n_held: int = 0) -> None:
        self.state, self.steps, self._forces = state, 0, evaluator(potential)
        setting = Setting(potential.info, state.n_total, state.cell, Comm.serial(), n_held)
        self.integrator: Minimizer = build(table, setting)
        for field in self.integrator.fields:
            state.add_field(field)
        self.integrator.prepare(state, self._forces(state, VIRIAL))

    @property
    def relaxation(self) -> Relaxation:
        return self.integrator.relaxation

    @property
    def converged(self) -> bool:
        return self.relaxation.converged

    @property
    def enthalpy(self) -> float:
        return self.relaxation.enthalpy

    def step(self) -> None:
        self.steps += 1
        self.integrator.step(self.state, self._forces, Clock(self.steps, 0.0))

    def stress(self) -> Array:
        """(6,) of the potential, GPa, by an evaluation of its own."""
        evaluation = self._forces(self.state, VIRIAL)
        return np.asarray(-evaluation.virial.value() / self.state.cell.volume * EV_PER_A3_IN_GPA)


def minimized(potential: Any, state: AtomState, table: MinimizeConfig, n_held: int = 0) -> Minimization:
    """Runs to the minimum, or to the last step."""
    run = Minimization(potential, state, table, n_held)
    while not run.integrator.finished and run.steps < table.steps:
        run.step()
    return run


def prepared(potential: Any, state: AtomState, table: MinimizeConfig) -> Relaxation:
    """What is measured at the start."""
    return Minimization(potential, state, table).relaxation


class Counting(Calculator):
    """One of our potentials for ASE; counts evaluations."""

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012  ASE's own form

    def __init__(self, potential: Any) -> None:
        super().__init__()
        self.potential, self.calls = potential, 0

    def calculate(
        self, atoms: Atoms | None = None, properties: Sequence[str] = (), system_changes: Sequence[str] = all_changes
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None
        self.calls += 1
        table = SpeciesTable((self.atoms[0].symbol,), self.atoms.numbers[:1], self.atoms.get_masses()[:1])
        state = AtomState.from_arrays(
            Cell.from_rows(self.atoms.cell.array, tuple(self.atoms.pbc)), table, self.atoms.positions
        )
        evaluation = evaluator(self.potential)(state, VIRIAL)
        order = np.argsort(state.local("id").numpy())
        energy = float(summed(evaluation.energy, "energy", state).value()[0])
        self.results = {"energy": energy, "free_energy": energy}
        self.results["forces"] = state.local("force").numpy()[order] / FORCE_SCALE
        if self.atoms.pbc.all():
            self.results["stress"] = -evaluation.virial.value() / state.cell.volume


def calls_of_ase(
    optimizer: Any, potential: Any, start: Atoms, table: MinimizeConfig, cell_filter: Any = None, most: int = 400
) -> int:
    """Evaluations that an optimizer of ASE needs until the criteria of a table hold; `most` if it does not get there.

    Args:
        optimizer: its class.
        potential: ours.
        start: is copied.
        table: the criteria, and the pressure.
        cell_filter: class for a cell that changes; None: it is fixed.
        most: evaluations that it may make.
    """
    system, calculator = start.copy(), Counting(potential)
    system.calc = calculator
    pressure = table.pressure / EV_PER_A3_IN_GPA
    target = system if cell_filter is None else cell_filter(system, scalar_pressure=pressure)

    def found() -> bool:
        stress = np.zeros((3, 3)) if cell_filter is None else system.get_stress(voigt=False) + pressure * np.eye(3)
        force = float(np.linalg.norm(system.get_forces(), axis=1).max())
        return force <= table.max_force and float(np.abs(stress).max()) * EV_PER_A3_IN_GPA <= table.max_stress

    for _ in optimizer(target, logfile=None).irun(fmax=1e-12, steps=most):
        if found() or calculator.calls >= most:
            break
    return calculator.calls
