"""Minimization of the energy, or with the cell of the enthalpy: the table of its keys, and the choice of the method.

See `minimize_fire` and `minimize_lbfgs` for the methods, `relaxation` for what they share.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import model_validator

from allegro_md.config.fields import Choice, Length, Quantity, problem
from allegro_md.config.pressure import CellConfig, OnePressure
from allegro_md.integrators.base import Setting
from allegro_md.integrators.cell_strain import Strains, strains_of
from allegro_md.integrators.minimize_fire import Fire
from allegro_md.integrators.minimize_lbfgs import Lbfgs
from allegro_md.integrators.relaxation import Criteria, Relaxation


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
        given = [key for key in ("pressure", "max_stress", "couple", "hold") if key in self.model_fields_set]
        changed = [key for key in given if getattr(self, key) != MinimizeConfig.model_fields[key].default]
        if self.cell == "fixed" and changed:
            raise problem("has no meaning while the cell is fixed",
                          'add cell = "isotropic", "anisotropic" or "flexible", or remove it', changed[0])
        return self


def build(table: MinimizeConfig, setting: Setting) -> Fire | Lbfgs:
    """Builds the integrator of a ``[dynamics]`` table.

    Raises:
        InputError: this system or potential cannot be minimized.
    """
    strains = strains_of(table) if table.changes_cell else Strains(())
    criteria = Criteria(table.max_force, table.max_stress, table.pressure, strains, table.max_move)
    relaxation = Relaxation(criteria, setting)
    return Fire(relaxation, setting) if table.method == "fire" else Lbfgs(relaxation, setting)
