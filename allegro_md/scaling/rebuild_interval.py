"""Steps between two rebuilds of the neighbor list, from temperature, masses and skin."""

from __future__ import annotations

import math

from scipy.optimize import brentq
from scipy.special import erfc

from allegro_md.units import AMU_A2_PER_FS2, BOLTZMANN


def rebuild_interval(skin: float, timestep: float, temperature: float, mass: float, n_atoms: float) -> float:
    """Estimates the steps between rebuilds: until the fastest of N atoms has moved half the skin.

    Atoms are taken to fly freely for so short a time, so that displacements have the Maxwell–Boltzmann distribution of
    velocities; the largest of N speeds is the one that one atom in N exceeds (`largest_speed`). In a solid or a dense
    liquid atoms turn back, and a skin wider than their vibrations lasts longer than this.

    Args:
        skin: Å.
        timestep: fs.
        temperature: K.
        mass: of the lightest species, amu.
        n_atoms: of that species.

    Returns:
        Steps, at least 1; infinite at 0 K. The list is looked at after whole steps, half a step too late in the mean.
    """
    speed = math.sqrt(BOLTZMANN * temperature / (mass * AMU_A2_PER_FS2)) * largest_speed(n_atoms)
    return max(1.0, 0.5 * skin / (speed * timestep) + 0.5) if speed > 0.0 else math.inf


def largest_speed(n_atoms: float) -> float:
    """Speed that one of N atoms exceeds, in units of sqrt(k T / m).

    Solves N [erfc(z/√2) + √(2/π) z exp(−z²/2)] = ln 2, the median of the largest of N Maxwell–Boltzmann speeds.
    """
    wanted = math.log(2.0) / max(1.0, n_atoms)

    def excess(z: float) -> float:
        tail = float(erfc(z / math.sqrt(2.0))) + math.sqrt(2.0 / math.pi) * z * math.exp(-0.5 * z * z)
        return math.log(tail) - math.log(wanted)

    return float(brentq(excess, 1e-6, 20.0))
