"""The cell as a moving part: the barostat of Martyna, Tobias and Klein, for any set of strains.

    W dG/dt = [Σ m v ⊗ v + virial − P_ext V + (2K/f) 1] on the strains that move − W v_η1 G

P_ext V is `PressureTarget.times_volume`. One mass serves all cells: its kinetic energy is ½ W Σ_ab G_ab², with
W = (f + 3) k_B T τ²/3. An isotropic cell has G = (dε/dt) 1 with V = V₀ e^{3ε}, so that this is ½ (3W) (dε/dt)², with
3W = (f + 3) k_B T τ², the mass of Martyna, Tuckerman, Tobias, Klein, Mol. Phys. 87, 1117 (1996),
doi:10.1080/00268979600100761. The term 2K/f stands for the average k_B T that the measure of the volume needs:
Martyna, Tobias, Klein, J. Chem. Phys. 101, 4177 (1994), doi:10.1063/1.467468. f is the number of degrees of freedom of
the atoms, 3N − 3 without net momentum.

| symbol | code |
|---|---|
| G, W, τ | `rate` (3, 3) 1/fs, `mass` (eV·fs²), `time` (fs) |
| Σ m v ⊗ v, K | `kinetic` (3, 3) eV, half its trace |
| v_η1 | first velocity of `chain` |
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from allegro_md.config.pressure import PressureConfig
from allegro_md.errors import PhysicsError
from allegro_md.integrators.cell_strain import Matrix, Propagators, propagators, strains_of
from allegro_md.integrators.chain import NoseHooverChain
from allegro_md.integrators.pressure_target import Deformation, PressureTarget
from allegro_md.units import EV_PER_A3_IN_GPA

LARGEST_STRAIN = 0.1
"""Largest strain in one step: a cell that moves faster has lost its physics."""


@dataclass(frozen=True)
class CellForces:
    """Sums over all atoms that drive the cell.

    Attributes:
        kinetic: (3, 3) Σ m v ⊗ v, eV.
        virial: (3, 3) eV.
        volume: Å³.
    """

    kinetic: Matrix
    virial: Matrix
    volume: float

    def scaled(self, factor: float) -> CellForces:
        """The same after all velocities are multiplied by a factor."""
        return CellForces(self.kinetic * (factor * factor), self.virial, self.volume)

    @property
    def twice_kinetic(self) -> float:
        """2K, eV."""
        return float(self.kinetic[0, 0] + self.kinetic[1, 1] + self.kinetic[2, 2])


class Barostat:
    """A cell that is driven by the difference of inner and outer pressure.

    Attributes:
        strains: that may change.
        target: outer pressure.
        mass: W, eV·fs².
        rate: (3, 3) G, 1/fs.
        deformation: of the cell since the stage began.
        chain: thermostats of the cell; None without any.
    """

    def __init__(self, table: PressureConfig, degrees_of_freedom: int, kT: float) -> None:
        """Makes a cell at rest, without thermostats.

        Args:
            table: keys of the input.
            degrees_of_freedom: f, of the atoms.
            kT: k_B T that sets the mass, eV.
        """
        self.strains = strains_of(table)
        self.target = PressureTarget(table)
        self.mass = (degrees_of_freedom + 3) * kT * table.barostat_time**2 / 3.0
        self.rate: Matrix = np.zeros((3, 3))
        self.deformation = Deformation(np.eye(3), math.nan)
        self.chain: NoseHooverChain | None = None
        self._degrees_of_freedom = degrees_of_freedom

    def kinetic_energy(self, rate: Matrix) -> float:
        """½ W Σ_ab G_ab² of a strain rate (3, 3), eV."""
        return 0.5 * self.mass * float((rate * rate).sum())

    def force(self, forces: CellForces) -> Matrix:
        """W dG/dt without thermostats, (3, 3) eV."""
        inner = forces.kinetic + forces.virial + forces.twice_kinetic / self._degrees_of_freedom * np.eye(3)
        return self.strains.project(inner - self.target.times_volume(forces.volume, self.deformation))

    def pushed(self, rate: Matrix, forces: CellForces, time: float) -> Matrix:
        """The strain rate (3, 3) after a time (fs), that was `rate` (3, 3)."""
        return np.asarray(rate + (time / self.mass) * self.force(forces))

    def propagators(self, rate: Matrix, forces: CellForces, time: float) -> Propagators:
        """The motion at a strain rate (3, 3) over a step of `time` (fs).

        Raises:
            PhysicsError: the cell moves too fast.
        """
        strain = float(np.abs(rate).max()) * time
        if not strain < LARGEST_STRAIN:
            raise too_fast(strain, forces, self.target.hydrostatic)
        return propagators(rate, 1.0 / self._degrees_of_freedom, time)

    def follow_ramp(self, end: float, volume: float) -> float:
        """Goes on along a ramp of the target.

        Args:
            end: steps made, `Clock.end`.
            volume: Å³.

        Returns:
            The work of the ramp, by which it changes the energy, eV.
        """
        before = self.target.energy(volume, self.deformation)
        self.target.move(end)
        return self.target.energy(volume, self.deformation) - before

    def energy(self, volume: float) -> float:
        """Energy of the cell in motion, of the outer pressure and of the thermostats, eV, at a volume (Å³)."""
        thermostats = self.chain.energy() if self.chain is not None else 0.0
        return self.kinetic_energy(self.rate) + self.target.energy(volume, self.deformation) + thermostats

    def state_dict(self) -> dict[str, Any]:
        """Strain rate, deformation since the stage began, target and thermostats."""
        return {
            "rate": self.rate.tolist(),
            "deformation": self.deformation.matrix.tolist(),
            "start_volume": self.deformation.volume,
            "target": self.target.state_dict(),
            "chain": None if self.chain is None else self.chain.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up from a `state_dict`."""
        self.rate = np.array(state["rate"])
        self.deformation = Deformation(np.array(state["deformation"]), state["start_volume"])
        self.target.load_state_dict(state["target"])
        if self.chain is not None:
            self.chain.load_state_dict(state["chain"])


def too_fast(strain: float, forces: CellForces, target: float) -> PhysicsError:
    """The error of a cell that moves too fast.

    Args:
        strain: of one step.
        forces: that drive the cell.
        target: outer pressure, eV/Å³.
    """
    inner = (forces.twice_kinetic + float(np.trace(forces.virial))) / (3.0 * forces.volume)
    return PhysicsError(
        f"the cell changes by {100.0 * strain:.3g} % in one step: its pressure is {inner * EV_PER_A3_IN_GPA:.4g} GPa, "
        f"{target * EV_PER_A3_IN_GPA:.4g} GPa are asked for, at a volume of {forces.volume:.6g} Å³ — is the pressure "
        "meant, is barostat_time too short, or are atoms too close at the start?"
    )
