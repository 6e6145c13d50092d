"""Minimization of the energy, or with the cell of the enthalpy.

See `relaxation` for the function that is minimized, `minimize_fire` and `minimize_lbfgs` for the methods.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal, Protocol

from pydantic import model_validator

from allegro_md.config.fields import Choice, Length, Quantity, problem, show
from allegro_md.config.pressure import CellConfig, OnePressure
from allegro_md.evaluation import Evaluation, Needs
from allegro_md.integrators.base import Clock, Collective, EvaluateForces, Setting
from allegro_md.integrators.cell_strain import Strains, strains_of
from allegro_md.integrators.minimize_fire import Fire
from allegro_md.integrators.minimize_lbfgs import Lbfgs
from allegro_md.integrators.relaxation import Criteria, Relaxation
from allegro_md.state import AtomState, Field


class MinimizeConfig(CellConfig):
    """Minimization of the energy by the positions, or of the enthalpy by positions and cell.

    Attributes:
        method: "l-bfgs" or "fire".
        max_force: a minimum is found when no force on an atom is larger, eV/Å.
        max_move: farthest move of an atom in a step, Å.
        cell: what of the cell changes: nothing, the volume, the three axes, or all six components.
        pressure: target of a cell that changes, GPa.
        max_stress: and when no component of the stress that the cell can relax is farther from the target, GPa.
    """

    ensemble: Literal["minimize"]
    method: Annotated[str, Choice(("l-bfgs", "fire"))] = "l-bfgs"
    max_force: Annotated[float, Quantity("force")] = 1e-3
    max_move: Length = 0.2
    cell: Annotated[str, Choice(("fixed", "isotropic", "anisotropic", "flexible"))] = "fixed"
    pressure: OnePressure = 0.0
    max_stress: Annotated[float, Quantity("pressure")] = 0.01

    @property
    def changes_cell(self) -> bool:
        """The cell changes in the course of the run."""
        return self.cell != "fixed"

    @model_validator(mode="after")
    def _keys_of_the_cell(self) -> MinimizeConfig:
        without = {"pressure": 0.0, "max_stress": 0.01, "couple": "none", "hold": ()}
        changed = [key for key, value in without.items() if getattr(self, key) != value]
        if self.cell == "fixed" and changed:  # a stage may have it from the table above: it can be set, not removed
            default = show(without[changed[0]]).replace("()", "[]")
            raise problem("has no meaning while the cell is fixed",
                          f'add cell = "isotropic", "anisotropic" or "flexible", or set it to {default}', changed[0])
        if self.cell != "fixed" and self.frozen:
            raise problem("the cell cannot be minimized while atoms are frozen: a strain would move them",
                          'use cell = "fixed", or freeze no atoms', "frozen")
        return self


class Method(Protocol):
    """A way to the minimum.

    Attributes:
        field: the per-atom array that it needs.
        force_row: row of `field` that holds the forces, in units of `Relaxation.scale`.
    """

    field: ClassVar[Field]
    force_row: ClassVar[int]

    def move(self, state: AtomState) -> None:
        """Moves atoms and cell, by the forces of the last evaluation (collective)."""

    def state_dict(self) -> dict[str, Any]:
        """The global numbers (JSON-like)."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up from a `state_dict`."""


METHODS: dict[str, Callable[[Relaxation, Collective], Method]] = {"l-bfgs": Lbfgs, "fire": Fire}
"""Methods by the word of the input."""


class Minimizer:
    """Moves atoms, and the cell, to a minimum. Atoms are at rest; a step is one move and one evaluation of forces.

    Attributes:
        relaxation: what is minimized, and how far it is.
        method: the way.
        fields: the array of the method.
        changes_cell: the cell is among the variables.
        force_calls: evaluations so far.
    """

    needs: ClassVar[Needs] = frozenset({"virial"})
    stochastic: ClassVar[bool] = False
    order: ClassVar[int] = 0
    heats_atoms_at_rest: ClassVar[bool] = True

    def __init__(self, method: str, relaxation: Relaxation, setting: Setting) -> None:
        """Prepares the minimizer; `method` is a key of `METHODS`."""
        self.relaxation = relaxation
        self.method = METHODS[method](relaxation, setting.collective)
        self.fields = (self.method.field,)
        self.changes_cell = relaxation.changes_cell
        self.timestep, self.max_temperature, self.finished = 0.0, 0.0, False
        self.degrees_of_freedom = setting.degrees_of_freedom()
        self.force_calls = 0

    def prepare(self, state: AtomState, evaluation: Evaluation) -> None:
        """Measures the start. The atoms are at rest from then on."""
        state.array_local("velocity")[...] = 0.0
        self.force_calls = max(1, self.force_calls)
        self._measure(state, evaluation)

    def step(self, state: AtomState, forces: EvaluateForces, clock: Clock) -> Evaluation:
        """Makes one step."""
        self.method.move(state)
        evaluation = forces(state, self.relaxation.needs)
        self.force_calls += 1
        self._measure(state, evaluation)
        return evaluation

    def extended_energy(self) -> float:
        """Zero: nothing is conserved."""
        return 0.0

    def result(self) -> dict[str, Any]:
        """The result so far, with units in the names; nothing before the first evaluation."""
        found = self.relaxation
        if not math.isfinite(found.enthalpy):
            return {}
        numbers = {
            "converged": found.converged,
            "force_calls": self.force_calls,
            "enthalpy_eV" if self.changes_cell else "energy_eV": found.enthalpy,
            "max_force_eV_per_A": found.max_force,
        }
        return numbers | ({"max_stress_GPa": found.max_stress} if self.changes_cell else {})

    def conclusion(self) -> str:
        """The line of the log about the end."""
        found, limits = self.relaxation, self.relaxation.criteria
        forces = f"largest force {found.max_force:.3g} eV/Å (max_force = {limits.max_force:g})"
        if self.changes_cell:
            forces += f", stress off its target by {found.max_stress:.3g} GPa (max_stress = {limits.max_stress:g})"
        start = "minimum found" if found.converged else "warning: no minimum found in all these steps"
        name = "enthalpy" if self.changes_cell else "energy"
        return f"{start}: {self.force_calls} evaluations of forces, {name} {found.enthalpy:.9g} eV, {forces}"

    def state_dict(self) -> dict[str, Any]:
        """The evaluations so far, and the numbers of the method."""
        return {"force_calls": self.force_calls, "method": self.method.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up from a `state_dict`."""
        self.force_calls = state["force_calls"]
        self.method.load_state_dict(state["method"])

    def _measure(self, state: AtomState, evaluation: Evaluation) -> None:
        row = state.array_local(self.method.field.name)[:, self.method.force_row]
        self.relaxation.measure(state, evaluation, row)
        self.finished = self.relaxation.converged


def build(table: MinimizeConfig, setting: Setting) -> Minimizer:
    """Builds the integrator of a ``[dynamics]`` table.

    Raises:
        InputError: this system or potential cannot be minimized.
    """
    strains = strains_of(table) if table.changes_cell else Strains(())
    criteria = Criteria(table.max_force, table.max_stress, table.pressure, strains, table.max_move)
    return Minimizer(table.method, Relaxation(criteria, setting), setting)
