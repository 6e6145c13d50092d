"""The external pressure of a barostat, hydrostatic or a tensor, and the energy it adds.

The energy is P V + V₀ Σ_ab S_ab E_ab. P is the mean of the pressures of the axes that move, S the rest of the target,
E = (F Fᵀ − 1)/2 the strain since the stage began, where the volume was V₀; F is the deformation, x = x₀ F. S is a
thermodynamic tension: Parrinello, Rahman, J. Appl. Phys. 52, 7182 (1981), doi:10.1063/1.328693. It has an energy, and
so a conserved quantity, for any deformation. Its pressure on the cell as it is now is (V₀/V) Fᵀ S F, which is S itself
as long as the cell is close to that of the start.

| symbol | code |
|---|---|
| P, S | `hydrostatic` (eV/Å³), `deviator` (3, 3) eV/Å³ |
| F, V₀ | `Deformation.matrix`, `Deformation.volume` (Å³) |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allegro_md.cell import product
from allegro_md.config.pressure import COMPONENTS, PressureConfig
from allegro_md.integrators.cell_strain import Matrix, tensor_of
from allegro_md.integrators.schedule import Ramp
from allegro_md.units import EV_PER_A3_IN_GPA


@dataclass
class Deformation:
    """The change of the cell since the stage began.

    Attributes:
        matrix: (3, 3) F; kept apart from the lattice, whose vectors may be replaced by others.
        volume: at the beginning, Å³; NaN before it is known.
    """

    matrix: Matrix
    volume: float

    def grow(self, deformation: Matrix) -> None:
        """Takes up one more deformation, (3, 3)."""
        self.matrix = product(self.matrix, deformation)

    @property
    def strain(self) -> Matrix:
        """(F Fᵀ − 1)/2."""
        return np.asarray(0.5 * (product(self.matrix, self.matrix.T) - np.eye(3)))


class PressureTarget:
    """The target of an input, at the present time.

    Attributes:
        hydrostatic: P, eV/Å³.
        deviator: (3, 3) S, eV/Å³; zero where all axes that move have one pressure.
    """

    def __init__(self, table: PressureConfig) -> None:
        """Begins at the first step."""
        ends = [_split(np.array(six) / EV_PER_A3_IN_GPA, table.moving) for six in table.pressure_ramp]
        (p, s), (p_last, s_last) = ends
        self._hydrostatic = Ramp(p, p_last, table.steps)
        self._deviator = [Ramp(float(a), float(b), table.steps) for a, b in zip(s, s_last, strict=True)]
        self.hydrostatic, self.deviator = p, tensor_of(s)

    @property
    def tensor(self) -> Matrix:
        """The target as a pressure tensor of the cell as it is now, P 1 + S, (3, 3) eV/Å³."""
        return np.asarray(self.hydrostatic * np.eye(3) + self.deviator)

    def move(self, end: float) -> None:
        """Goes on along a ramp, to the time `end` (`Clock.end`)."""
        self.hydrostatic = self._hydrostatic(end)
        self.deviator = tensor_of(np.array([ramp(end) for ramp in self._deviator]))

    def energy(self, volume: float, deformation: Deformation) -> float:
        """P V + V₀ S : E, eV, at a volume (Å³)."""
        elastic = float((self.deviator * deformation.strain).sum()) if self.deviator.any() else 0.0
        return self.hydrostatic * volume + (deformation.volume * elastic if elastic else 0.0)

    def times_volume(self, volume: float, deformation: Deformation) -> Matrix:
        """The derivative of `energy` by a strain, (3, 3) eV: P V + V₀ Fᵀ S F, at a volume (Å³)."""
        out = self.hydrostatic * volume * np.eye(3)
        if self.deviator.any():
            f = deformation.matrix
            out += deformation.volume * product(product(f.T, self.deviator), f)
        return np.asarray(out)

    def state_dict(self) -> dict[str, Any]:
        """The present target."""
        return {"hydrostatic": self.hydrostatic, "deviator": self.deviator.tolist()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up from a `state_dict`."""
        self.hydrostatic, self.deviator = state["hydrostatic"], np.array(state["deviator"])


def _split(pressure: NDArray[np.float64], moving: tuple[str, ...]) -> tuple[float, NDArray[np.float64]]:
    """The mean pressure of the axes that move, and what six components differ from it; zero where none moves."""
    axes = [k for k in range(3) if COMPONENTS[k] in moving]
    values = {float(pressure[k]) for k in axes}
    mean = float(np.mean([pressure[k] for k in axes])) if len(values) > 1 else next(iter(values), 0.0)
    rest = [float(pressure[k]) - (mean if k < 3 else 0.0) if COMPONENTS[k] in moving else 0.0 for k in range(6)]
    return mean, np.array(rest)
