"""Constant enthalpy and pressure: Martyna–Tobias–Klein without thermostats.

The equations are those of `npt_mtk` without its chains. Conserved: K + U + P V + ½ W tr G², the enthalpy with the
kinetic energy of the cell. Martyna, Tobias, Klein, J. Chem. Phys. 101, 4177 (1994), doi:10.1063/1.467468.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from allegro_md.config.fields import Temperature
from allegro_md.config.pressure import PressureConfig
from allegro_md.integrators.base import Setting
from allegro_md.integrators.npt_mtk import MartynaTobiasKlein
from allegro_md.units import BOLTZMANN


class NphMtkConfig(PressureConfig):
    """Constant enthalpy and pressure (Martyna, Tobias, Klein).

    Attributes:
        expected_temperature: K; it sets the mass of the cell, and nothing else.
    """

    ensemble: Literal["nph-mtk"]
    expected_temperature: Temperature = Field(examples=["300.0"])


def build(table: NphMtkConfig, setting: Setting) -> MartynaTobiasKlein:
    """Builds the integrator of a ``[dynamics]`` table."""
    return MartynaTobiasKlein(table, setting, BOLTZMANN * table.expected_temperature)
