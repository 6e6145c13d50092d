"""Minimization of the energy, or with the cell of the enthalpy: the table of its keys, and the choice of the method.

See `minimize_fire` and `minimize_lbfgs` for the methods, `relaxation` for what they share.
"""

from __future__ import annotations

from typing import Annotated, Literal

from allegro_md.config.dynamics import DynamicsConfig
from allegro_md.config.fields import Choice, Length, Quantity
from allegro_md.integrators.base import Setting
from allegro_md.integrators.minimize_fire import Fire
from allegro_md.integrators.minimize_lbfgs import Lbfgs
from allegro_md.integrators.relaxation import CELLS, Criteria, Relaxation


class MinimizeConfig(DynamicsConfig):
    """Minimization of the energy by the positions, or of the enthalpy by positions and cell.

    Attributes:
        method: "l-bfgs" or "fire".
        max_force: a minimum is found when no force on an atom is larger, eV/Å.
        max_move: farthest move of an atom in a step, Å.
        cell: what of the cell changes: "fixed", "isotropic", "anisotropic" or "flexible".
        pressure: target of a cell that changes, GPa.
        max_stress: and when no component of the stress that the cell can relax is farther from the target, GPa.
    """

    ensemble: Literal["minimize"]
    method: Annotated[str, Choice(("l-bfgs", "fire"))] = "l-bfgs"
    max_force: Annotated[float, Quantity("force")] = 1e-3
    max_move: Length = 0.2
    cell: Annotated[str, Choice(("fixed", *CELLS))] = "fixed"
    pressure: Annotated[float, Quantity("pressure", zero=True)] = 0.0
    max_stress: Annotated[float, Quantity("pressure")] = 0.01

    @property
    def changes_cell(self) -> bool:
        """The cell changes in the course of the minimization."""
        return self.cell != "fixed"


def build(table: MinimizeConfig, setting: Setting) -> Fire | Lbfgs:
    """Builds the integrator of a ``[dynamics]`` table.

    Raises:
        InputError: this system or potential cannot be minimized.
    """
    criteria = Criteria(table.max_force, table.max_stress, table.pressure, table.cell, table.max_move)
    relaxation = Relaxation(criteria, setting)
    return Fire(relaxation, setting) if table.method == "fire" else Lbfgs(relaxation, setting)
