"""The part that barostats of first order share: a cell without inertia, and velocity rescaling beside it."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from allegro_md.config.fields import Quantity
from allegro_md.config.pressure import PressureConfig
from allegro_md.evaluation import Evaluation, Needs
from allegro_md.integrators.base import Setting
from allegro_md.integrators.cell_strain import strains_of
from allegro_md.integrators.nvt_bussi import RescalingConfig, StochasticRescaling
from allegro_md.integrators.pressure_target import PressureTarget
from allegro_md.state import AtomState
from allegro_md.state import Field as AtomField
from allegro_md.units import EV_PER_A3_IN_GPA


class RelaxedCellConfig(RescalingConfig, PressureConfig):
    """Keys of every barostat of first order.

    Attributes:
        compressibility: estimate of β, 1/GPa; the volume relaxes in `barostat_time` where it is right.
    """

    compressibility: Annotated[float, Quantity("compressibility")] = Field(examples=['"4.5e-5/bar"'])


class RelaxedCell:
    """Everything of a barostat of first order but its step, which derived classes add.

    The conserved energy is K + U less what the strain of the cell (`_given`, eV) and the thermostat have given.
    """

    needs: ClassVar[Needs] = frozenset({"virial"})
    stochastic: ClassVar[bool] = True
    order: ClassVar[int] = 2
    heats_atoms_at_rest: ClassVar[bool] = False
    changes_cell: ClassVar[bool] = True
    fields: ClassVar[tuple[AtomField, ...]] = ()

    def __init__(self, table: RelaxedCellConfig, setting: Setting) -> None:
        """Prepares the integrator of a ``[dynamics]`` table.

        Raises:
            InputError: the system has no degree of freedom, or no pressure along the strains of the cell.
        """
        self._thermostat = StochasticRescaling(table, setting)
        self.timestep = table.timestep
        self.degrees_of_freedom = self._thermostat.degrees_of_freedom
        self.max_temperature = self._thermostat.max_temperature
        self.finished = False
        self._strains = strains_of(table)
        self._strains.require_fit(setting, table.ensemble)
        self._target = PressureTarget(table)
        self._mobility = table.compressibility * EV_PER_A3_IN_GPA / (3.0 * table.barostat_time)
        self._collective = setting.collective
        self._virial: NDArray[np.float64] = np.full(6, np.nan)
        self._given = 0.0

    def prepare(self, state: AtomState, evaluation: Evaluation) -> None:
        """Takes the virial of the first evaluation."""
        assert evaluation.virial is not None
        self._virial = self._collective.reduce(evaluation.virial)

    def extended_energy(self) -> float:
        """Less what velocity rescaling and the strain of the cell have given to the atoms, eV."""
        return self._thermostat.extended_energy() - self._given

    def state_dict(self) -> dict[str, Any]:
        """The energy given so far; random numbers follow from seed and step, the virial from the positions."""
        return {"given": self._given, "thermostat": self._thermostat.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up from a `state_dict`."""
        self._given = state["given"]
        self._thermostat.load_state_dict(state["thermostat"])
