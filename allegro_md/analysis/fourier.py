"""Structure factors as Fourier transforms of radial distribution functions.

S_AB(q) = N_AB/√(N_A N_B) + 4π √(ρ_A ρ_B) ∫ r² (g_AB(r) − 1) sin(qr)/(qr) W(r) dr (Ashcroft and Langreth), where N_AB
atoms are in both groups: the first term is 1 where A is B, 0 where they have no atom in common. R is the range of g,
and the window is W = sin(πr/R)/(πr/R): Lorch, J. Phys. C 2, 229 (1969). The window removes the ripples that the end of
the range causes, and broadens peaks to a width of about 5.4/R.
"""

from __future__ import annotations

import numpy as np

from allegro_md.analysis.result import Array

STEP = 0.05
"""Of wave numbers, 1/Å."""

LARGEST = 20.0
"""Of wave numbers, 1/Å."""


def wave_numbers(edges: Array) -> Array:
    """(n,) Å⁻¹, from π/R to where a bin is no longer small against 1/q; `edges` (bins + 1,) Å, of the bins of g."""
    largest = min(LARGEST, 1.0 / float(edges[1] - edges[0]))
    return STEP * np.arange(np.ceil(np.pi / edges[-1] / STEP), np.floor(largest / STEP) + 1.0)


def structure_factors(edges: Array, g: Array, density: Array, common: Array, q: Array) -> Array:
    """Transforms radial distribution functions.

    Args:
        edges: (bins + 1,) Å.
        g: (…, pairs, bins).
        density: (…, pairs) Å⁻³, √(ρ_A ρ_B).
        common: (…, pairs) N_AB/√(N_A N_B).
        q: (n,) Å⁻¹.

    Returns:
        (…, pairs, n).
    """
    r = 0.5 * (edges[1:] + edges[:-1])
    shells = 4.0 * np.pi / 3.0 * np.diff(edges**3)
    window = np.sinc(r / edges[-1])
    waves = np.sinc(q * r[:, None] / np.pi)
    return np.asarray(common[..., None] + density[..., None] * ((g - 1.0) * (shells * window)) @ waves)
