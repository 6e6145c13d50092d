"""Statistics of time series: fluctuation about a line, drift and mean, each with an honest standard error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

BLOCK_COUNTS = (8, 12, 16, 24, 32)
"""Numbers of blocks a series is cut into: few, so that the shortest block outlasts the correlations."""

WANDERING_BLOCKS = 8


@dataclass(frozen=True)
class Drift:
    """Slope of the least-squares line through a series, and what it could be by chance.

    Attributes:
        slope: units of the values per unit of time.
        error: standard error if the series fluctuates about its line with correlations much shorter than itself.
        wandering: standard error if the series walks at random; too large, about threefold, if it does not.
    """

    slope: float
    error: float
    wandering: float

    def per(self, n: int) -> Drift:
        """Of one of n atoms."""
        return Drift(self.slope / n, self.error / n, self.wandering / n)


def drift(time: Array, values: Array) -> Drift:
    """Drift of a conserved quantity sampled at equal intervals.

    Successive energies are correlated, so the textbook error of a fit to all points is far too small. The series is cut
    into b blocks. The scatter of the block means about a line through them gives `error` with b − 2 degrees of freedom,
    right once a block is longer than the correlations; the largest over `BLOCK_COUNTS` is taken, because blocks that
    are too short underestimate it (Flyvbjerg and Petersen, J. Chem. Phys. 91, 461 (1989)).

    A potential with a kink gives the energy a small random push whenever a pair crosses it. Such pushes add up to a
    random walk, whose blocks are never independent however long. For a walk of diffusivity D, successive means of
    blocks of length Δ differ with variance ⅔DΔ, and the slope over a time T has variance 6D/(5T): `wandering`.
    """
    slope = float(np.polyfit(time - time.mean(), values, 1)[0])
    errors = []
    for count in BLOCK_COUNTS:
        t, y = _block_means(time, count), _block_means(values, count)
        t = t - t.mean()
        residual = y - np.polyval(np.polyfit(t, y, 1), t)
        errors.append(float(np.sqrt(residual @ residual / (count - 2) / (t @ t))))
    length = float(time[-1] - time[0])
    pushes = np.diff(_block_means(values, WANDERING_BLOCKS))
    diffusivity = 1.5 * float(np.var(pushes, ddof=1)) * WANDERING_BLOCKS / length
    return Drift(slope, max(errors), float(np.sqrt(1.2 * diffusivity / length)))


def detrended_rms(time: Array, values: Array) -> float:
    """Root mean square deviation from the least-squares line."""
    centered = time - time.mean()
    return float(np.std(values - np.polyval(np.polyfit(centered, values, 1), centered)))


def mean(values: Array) -> tuple[float, float]:
    """Mean and its standard error: the largest over `BLOCK_COUNTS` of the error from block means."""
    errors = [float(np.std(_block_means(values, count), ddof=1) / np.sqrt(count)) for count in BLOCK_COUNTS]
    return float(values.mean()), max(errors)


def order(timesteps: Array, errors: Array) -> float:
    """Exponent p of errors ∝ timestep^p, by least squares in logarithms."""
    return float(np.polyfit(np.log(timesteps), np.log(errors), 1)[0])


def _block_means(values: Array, count: int) -> Array:
    """Means of `count` blocks of equal length; the first few values are left out where it does not divide."""
    length = len(values) // count
    if length == 0:
        raise ValueError(f"{len(values)} values cannot be cut into {count} blocks")
    return values[len(values) - count * length :].reshape(count, length).mean(axis=1)
