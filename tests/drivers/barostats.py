"""Barostats by name, and their runs in the words of `physical_validation`."""

from __future__ import annotations

from typing import Any

import ensembles
import numpy as np
from numpy.typing import NDArray

from allegro_md.comm import Comm
from allegro_md.config.dynamics import INTEGRATORS
from allegro_md.evaluation import PotentialInfo
from allegro_md.integrators import build_integrator
from allegro_md.integrators.base import Setting
from allegro_md.state import AtomState

Array = NDArray[np.float64]

ISOBARIC: dict[str, dict[str, Any]] = {
    "mtk-isotropic": {"ensemble": "npt-mtk"},
    "mtk-anisotropic": {"ensemble": "npt-mtk", "cell": "anisotropic"},
    "mtk-flexible": {"ensemble": "npt-mtk", "cell": "flexible"},
    "crescale-isotropic": {"ensemble": "npt-crescale"},
    "crescale-anisotropic": {"ensemble": "npt-crescale", "cell": "anisotropic"},
}
"""Keys of every barostat whose volume and energies have the isothermal–isobaric distribution."""


def barostat(info: PotentialInfo, state: AtomState, **keys: Any) -> Any:
    """The integrator of a ``[dynamics]`` table for the atoms and the cell of a state."""
    setting = Setting(info, state.n_total, state.cell, Comm.serial())
    table: Any = INTEGRATORS.table(keys["ensemble"])
    return build_integrator(table(**keys, steps=1), setting)


def observed(
    validation: Any, integrator: Any, kelvin: float, pressure: float, record: Any, masses: Array, velocities: Array
) -> Any:
    """A run at constant temperature and pressure as the program takes it.

    Args:
        validation: the module `physical_validation`.
        integrator: of the run.
        kelvin: temperature aimed at, K.
        pressure: aimed at, GPa.
        record: observables by name, (n_frames,) each.
        masses: (n_atoms,) amu.
        velocities: (n_frames, n_atoms, 3) Å/fs.
    """
    kinetic, potential, volume = record["kinetic"], record["potential"], record["volume"]
    run = ensembles.observed(
        validation, integrator, kelvin, kinetic, potential, masses, float(volume.mean()), velocities
    )
    run.ensemble = validation.data.EnsembleData("NPT", natoms=len(masses), pressure=pressure, temperature=kelvin)
    run.observables = validation.data.ObservableData(
        kinetic_energy=kinetic, potential_energy=potential, total_energy=kinetic + potential, volume=volume
    )
    return run
