"""Integrators at a given temperature by name, and their runs in the words of `physical_validation`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from series import mean

from allegro_md.cell import Cell
from allegro_md.comm import Comm
from allegro_md.config.dynamics import INTEGRATORS
from allegro_md.evaluation import PotentialInfo
from allegro_md.integrators import build_integrator
from allegro_md.integrators.base import Setting
from allegro_md.units import AMU_A2_PER_FS2, BOLTZMANN

Array = NDArray[np.float64]

CANONICAL = ("nvt-nose-hoover", "nvt-bussi", "nvt-langevin")
"""Ensembles whose kinetic and potential energies have the canonical distribution."""


def thermostat(ensemble: str, n_atoms: int, timestep: float, kelvin: float, relaxation: float, seed: int = 1) -> Any:
    """Integrator at constant temperature (K) whose kinetic energy relaxes in about `relaxation` (fs)."""
    keys: dict[str, Any] = {"ensemble": ensemble, "timestep": timestep, "steps": 1, "temperature": kelvin}
    if ensemble == "nvt-langevin":
        keys |= {"friction": 0.5 / relaxation}  # of velocities: half of that of their squares
    else:
        keys |= {"thermostat_time": relaxation}
    if ensemble in ("nvt-bussi", "nvt-langevin"):
        keys |= {"seed": seed}
    setting = Setting(PotentialInfo("any", 1.0), n_atoms, Cell(np.eye(3)), Comm.serial())
    table: Any = INTEGRATORS.table(ensemble)(**keys)
    return build_integrator(table, setting)


def observed(
    validation: Any, integrator: Any, kelvin: float, kinetic: Array, potential: Array, masses: Array, volume: float,
    velocities: Array | None = None,
) -> Any:
    """A run as the program takes it.

    Args:
        validation: the module `physical_validation`.
        integrator: of the run.
        kelvin: temperature aimed at, K.
        kinetic: (n_frames,) eV.
        potential: (n_frames,) eV.
        masses: (n_atoms,) amu.
        volume: Å³.
        velocities: (n_frames, n_atoms, 3) Å/fs, for equipartition.
    """
    n_atoms = len(masses)
    units = validation.data.UnitData(
        kb=BOLTZMANN, energy_str="eV", energy_conversion=96.48533212, length_str="A", length_conversion=0.1,
        volume_str="A^3", volume_conversion=1e-3, temperature_str="K", temperature_conversion=1.0,
        pressure_str="GPa", pressure_conversion=1e4, time_str="fs", time_conversion=1e-3,
    )  # fmt: skip
    system = validation.data.SystemData(
        natoms=n_atoms, nconstraints=0, ndof_reduction_tra=3 * n_atoms - integrator.degrees_of_freedom,
        ndof_reduction_rot=0, mass=masses * AMU_A2_PER_FS2, molecule_idx=np.arange(n_atoms),
        nconstraints_per_molecule=np.zeros(n_atoms),
    )  # fmt: skip
    trajectory = None
    if velocities is not None:
        trajectory = validation.data.TrajectoryData(np.zeros_like(velocities), velocities)
    return validation.data.SimulationData(
        units=units, dt=integrator.timestep, system=system,
        ensemble=validation.data.EnsembleData("NVT", natoms=n_atoms, volume=volume, temperature=kelvin),
        observables=validation.data.ObservableData(
            kinetic_energy=kinetic, potential_energy=potential, total_energy=kinetic + potential
        ),
        trajectory=trajectory,
    )  # fmt: skip


def uncorrelated(validation: Any, run: Any) -> Any:
    """Every so many frames of a run that their potential energies are independent.

    The error of the mean from blocks says how many. The program itself looks at the correlation up to where it first
    crosses zero, which is too early where a thermostat makes energies oscillate.
    """
    energy = run.observables.potential_energy
    stride = max(1, math.ceil(len(energy) * mean(energy)[1] ** 2 / np.var(energy)))
    kept = {name: getattr(run.observables, name)[::stride] for name in ("kinetic_energy", "potential_energy")}
    kept["total_energy"] = kept["kinetic_energy"] + kept["potential_energy"]
    place, velocity = run.trajectory.position[::stride], run.trajectory.velocity[::stride]
    return validation.data.SimulationData(
        units=run.units, dt=run.dt, system=run.system, ensemble=run.ensemble,
        observables=validation.data.ObservableData(**kept),
        trajectory=validation.data.TrajectoryData(place, velocity),
    )  # fmt: skip


def slope_quantile(validation: Any, cold: Any, hot: Any) -> float:
    """Standard errors between two slopes of ln(P_hot/P_cold) over the potential energy: the maximum-likelihood one of
    independent frames, and the difference of 1/kT (M. R. Shirts, J. Chem. Theory Comput. 9, 909 (2013)).

    `physical_validation.ensemble.check` makes the same estimate but first fits a line through 40 bins, which fails
    where frames are so few that neighboring bins stay empty.
    """
    energies = [run.observables.potential_energy for run in (cold, hot)]
    expected = 1.0 / (BOLTZMANN * cold.ensemble.temperature) - 1.0 / (BOLTZMANN * hot.ensemble.temperature)
    middle = 0.5 * (energies[0].mean() + energies[1].mean())
    fit = validation.util.ensemble.do_max_likelihood_fit
    (_, slope), (_, error) = fit(*energies, 1.0, 1.0, np.array([-expected * middle, expected]), verbose=False)
    return abs(float(slope) - expected) / float(error)
