"""Screened nuclear repulsion as nequip's models add it; Ziegler, Biersack, Littmark (1985)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from allegro_md.kernels.zbl import EXPONENT, LENGTH, SCREENING

HALF_E2 = 0.5 * 14.399645
"""Half of e²/(4πε₀), eV·Å, as trained models contain it (not the CODATA value: part of the model's definition)."""


def screening_length(z_i: NDArray[np.float64], z_j: NDArray[np.float64]) -> NDArray[np.float64]:
    """Screening length, Å, of atomic numbers z_i and z_j, both (n,) float64 or of another common shape."""
    length: NDArray[np.float64] = LENGTH / (z_i**EXPONENT + z_j**EXPONENT)
    return length


def zbl_energy(r: torch.Tensor, charges: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
    """Energy of ordered pairs, eV, before any envelope; half of what the pair has.

    Args:
        r: (E,) Å.
        charges: (E,) Z_i · Z_j.
        length: (E,) screening length, Å.
    """
    x = r / length
    screening = torch.zeros_like(r)
    for amplitude, decay in SCREENING:
        screening = screening + amplitude * torch.exp(-decay * x)
    return HALF_E2 * charges / r * screening
