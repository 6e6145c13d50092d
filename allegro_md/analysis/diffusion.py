"""Self-diffusion coefficients from mean square displacements, or the reason why there is none.

D = slope / (2 d) of MSD(τ) over the range of τ in which d ln MSD / d ln τ is 1 within its error, and the MSD straight.
The line has an offset, which ballistic motion and vibrations leave behind. It is fitted by generalized least squares
with the covariance of Brownian motion (`brownian`) to lags that double: values at closer lags hold nearly the same
displacements, and an optimal fit of them would rest on the difference of the first two. The fit is a fixed linear
combination of the MSD, so that blocks of time, of which each gives a D, tell its error whether or not the motion is
Brownian.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from allegro_md.analysis.brownian import covariance, variances
from allegro_md.cell import Cell
from allegro_md.units import A2_PER_FS_IN_CM2_PER_S, BOLTZMANN, EV_PER_A3_IN_GPA, GPA_FS_IN_MPA_S

Array = NDArray[np.float64]

FEWEST_BLOCKS = 5
"""Blocks of time that an error needs; an interval is at most half a block long, so errors reach to 1/10 of the run."""

LARGEST_ERROR = 0.2
"""Error of d ln MSD / d ln τ beyond which it tells nothing."""

TOLERANCE = 0.1
"""Distance of d ln MSD / d ln τ from 1 that is none, however small its error: the offset of a straight line."""

FARTHEST = 0.25
"""Distance of d ln MSD / d ln τ from 1 that is too large, however large its error."""

SHORTEST_RANGE = 4
"""Least ratio of the ends of a range that is called diffusive."""

CAGE = 0.3
"""Atoms that have moved less than this part of the distance between neighbors only vibrate."""

YEH_HUMMER = 2.837297
"""Of a periodic cube: the ξ of Yeh and Hummer, J. Phys. Chem. B 108, 15873 (2004)."""


@dataclass(frozen=True)
class Displacements:
    """Mean square displacements of a group, of the whole run and of blocks of time.

    Attributes:
        lags: (n,) int64, ascending, in samples.
        strides: (n,) int64, samples between the origins of each lag.
        interval: fs between samples.
        n_samples: of the run.
        dimensions: components of the displacement.
        msd: (n,) Å².
        blocks: (blocks, n) Å², of intervals that end in each block.
        block_length: samples of a block.
    """

    lags: NDArray[np.int64]
    strides: NDArray[np.int64]
    interval: float
    n_samples: int
    dimensions: int
    msd: Array
    blocks: Array
    block_length: int

    @cached_property
    def reach(self) -> int:
        """Number of lags whose errors blocks tell: up to half a block; none of fewer than `FEWEST_BLOCKS`."""
        if len(self.blocks) < FEWEST_BLOCKS:
            return 0
        return int(np.searchsorted(self.lags, self.block_length // 2, side="right"))

    def error_of(self, chosen: NDArray[np.int64], weights: Array) -> float:
        """Standard error of a linear combination of the MSD at some lags.

        Successive blocks share displacements. The variance of the mean is therefore that between blocks times the ratio
        of the two in Brownian motion; it would be their number if blocks were independent.

        Args:
            chosen: (k,) int64, indices of lags.
            weights: (k,) of each.
        """
        n = len(self.blocks)
        lags, strides = self.lags[chosen], self.strides[chosen]
        block = weights @ covariance(lags, strides, self.block_length, window=True) @ weights
        whole = weights @ covariance(lags, strides, self.n_samples) @ weights
        between = np.var(self.blocks[:, chosen] @ weights, ddof=1)
        return float(np.sqrt(between * (n - 1) / n * whole / (block - whole)))

    @cached_property
    def known_errors(self) -> Array:
        """(reach,) Å², standard errors of the MSD that blocks tell; that of lag 0 at least."""
        return np.array([0.0, *(self.error_of(np.array([k]), np.ones(1)) for k in range(1, self.reach))])

    @cached_property
    def ratio(self) -> float:
        """Relative errors of the MSD over those of one walker in one dimension: the root mean square of the last lags.

        These are the last factor of 4 within `reach`; NaN without any. N independent atoms give 1/√(N d).
        """
        last = np.arange(1, self.reach)
        last = last[4 * self.lags[last] >= self.lags[self.reach - 1]] if len(last) else last
        model = np.sqrt(variances(self.lags[last], self.strides[last], self.n_samples)) / self.lags[last]
        with np.errstate(divide="ignore", invalid="ignore"):  # nothing may have moved
            found = self.known_errors[last] / self.msd[last] / model
        return float(np.sqrt(np.mean(found**2))) if len(found) else np.nan

    @cached_property
    def errors(self) -> Array:
        """(n,) Å², standard errors of the MSD: of blocks, and beyond them those of Brownian motion times `ratio`."""
        beyond = slice(len(self.known_errors), None)
        model = np.sqrt(variances(self.lags[beyond], self.strides[beyond], self.n_samples)) / self.lags[beyond]
        return np.append(self.known_errors, self.ratio * self.msd[beyond] * model)

    @cached_property
    def octaves(self) -> NDArray[np.int64]:
        """(k, 2) int64: indices of lags within `reach`, and of the first one that is twice as long or more."""
        first = np.arange(1, max(self.reach, 1))
        second = np.searchsorted(self.lags, 2 * self.lags[first])
        inside = second < self.reach
        return np.stack([first[inside], second[inside]], axis=1)

    @cached_property
    def slopes(self) -> tuple[Array, Array]:
        """d ln MSD / d ln τ over each of `octaves` (k,), and its standard error (k,).

        An error is that of blocks, or that of Brownian motion times `ratio` if this is larger: few blocks may agree by
        chance.
        """
        slopes, errors = np.empty((2, len(self.octaves)))
        for k, pair in enumerate(self.octaves):
            weights = np.array([-1.0, 1.0]) / np.log(self.lags[pair[1]] / self.lags[pair[0]])
            if not self.msd[pair].all():
                slopes[k], errors[k] = np.nan, np.nan
                continue
            slopes[k] = weights @ np.log(self.msd[pair])
            relative = weights / self.lags[pair]
            model = relative @ covariance(self.lags[pair], self.strides[pair], self.n_samples) @ relative
            errors[k] = max(self.error_of(pair, weights / self.msd[pair]), self.ratio * np.sqrt(model))
        return slopes, errors


@dataclass(frozen=True)
class Diffusion:
    """A self-diffusion coefficient, or why there is none.

    Attributes:
        value: cm²/s, by generalized least squares; NaN: there is none.
        error: standard error, cm²/s.
        interval: lower and upper end of the 95 % interval, cm²/s.
        plain: cm²/s, by ordinary least squares of the same lags.
        plain_error: its standard error, cm²/s.
        first: fs, beginning of the range.
        last: fs, its end.
        offset: Å², of the line.
        limit: cm²/s, above D where no diffusion was seen; else NaN.
        note: a sentence.
    """

    value: float = np.nan
    error: float = np.nan
    interval: tuple[float, float] = (np.nan, np.nan)
    plain: float = np.nan
    plain_error: float = np.nan
    first: float = np.nan
    last: float = np.nan
    offset: float = np.nan
    limit: float = np.nan
    note: str = ""


def diffusion(name: str, moved: Displacements, spacing: float, unit: str = "cm2/s") -> Diffusion:
    """Determines a self-diffusion coefficient.

    Args:
        name: of the group, for the note.
        moved: its displacements.
        spacing: Å, distance between neighbors, about; NaN: not known.
        unit: of D, for the note, where `moved` are displacements of something else than atoms.
    """
    if not moved.msd[1:].any():
        return Diffusion(limit=0.0, note=f"{name}: nothing has moved.")
    if len(moved.octaves) == 0:
        wanted = 4 * 2 * FEWEST_BLOCKS
        what = f"{moved.n_samples} samples are too few for a diffusion coefficient and its error"
        return Diffusion(note=f"{name}: {what}: at least {wanted} are needed, with more than one origin.")
    found = _range(moved)
    if found is None:
        return _none(name, moved, spacing)
    first, last = found
    if moved.msd[last] < (CAGE * spacing) ** 2:
        return _none(name, moved, spacing)
    chosen = _doubling(moved.lags, first, last)
    model = covariance(moved.lags[chosen], moved.strides[chosen], moved.n_samples)
    scale = A2_PER_FS_IN_CM2_PER_S / (2.0 * moved.dimensions * moved.interval)
    slope, offset = _line(moved.lags[chosen], model)
    plain, _ = _line(moved.lags[chosen], np.eye(len(chosen)))
    value, error = scale * float(slope @ moved.msd[chosen]), scale * moved.error_of(chosen, slope)
    half = float(student.ppf(0.975, len(moved.blocks) - 1)) * error
    times = moved.lags[[first, last]] * moved.interval
    note = (
        f"{name}: D = {value:.4g} ± {error:.2g} {unit} (standard error), 95 % interval {value - half:.4g} to "
        f"{value + half:.4g} {unit}, from {len(moved.blocks)} blocks of time and Student's t, "
        f"whose scatter is that of about {1.0 / (moved.ratio**2 * moved.dimensions):.2g} independent walkers. MSD is "
        f"linear from {_ps(times[0])} to {_ps(times[1])}."
    )
    return Diffusion(
        value, error, (value - half, value + half),
        scale * float(plain @ moved.msd[chosen]), scale * moved.error_of(chosen, plain),
        float(times[0]), float(times[1]), float(offset @ moved.msd[chosen]), note=note,
    )  # fmt: skip


def finite_size_correction(temperature: float, viscosity: float, cell: Cell) -> float:
    """ξ kB T / (6π η L), cm²/s, by which D of a periodic cube of edge L is too small; L = V^(1/3) of other cells.

    Args:
        temperature: K.
        viscosity: mPa·s.
        cell: periodic along all axes.
    """
    viscosity = viscosity / GPA_FS_IN_MPA_S / EV_PER_A3_IN_GPA  # mPa·s → GPa·fs → eV·fs/Å³
    edge = cell.volume ** (1.0 / 3.0)
    return A2_PER_FS_IN_CM2_PER_S * YEH_HUMMER * BOLTZMANN * temperature / (6.0 * np.pi * viscosity * edge)


def is_cube(cell: Cell) -> bool:
    """All edges are equal and at right angles, within 1 %."""
    metric = cell.matrix @ cell.matrix.T
    return bool(np.allclose(metric, np.eye(3) * np.trace(metric) / 3.0, atol=0.01 * metric.max()))


def _range(moved: Displacements) -> tuple[int, int] | None:
    """Indices of the first and last lag of the diffusive range; None: there is none."""
    slopes, errors = moved.slopes
    known = _known(errors)
    allowed = np.clip(student.ppf(0.995, len(moved.blocks) - 1) * errors, TOLERANCE, FARTHEST)
    wrong = np.flatnonzero(np.abs(slopes - 1.0)[:known] > allowed[:known])
    for start in range(int(wrong[-1]) + 1 if len(wrong) else 0, known):
        first, last = int(moved.octaves[start, 0]), int(moved.octaves[known - 1, 1])
        if moved.lags[last] < SHORTEST_RANGE * moved.lags[first]:
            return None
        if _is_straight(moved, first, last):
            return first, last
    return None


def _known(errors: Array) -> int:
    """Number of slopes before the first whose error is too large: `errors` (k,)."""
    return int(np.argmax(np.append(~(errors <= LARGEST_ERROR), True)))


def _is_straight(moved: Displacements, first: int, last: int) -> bool:
    """MSD(τ) rises over the first octave of a range as steeply as over the rest, within the error."""
    chosen = np.array([first, int(np.searchsorted(moved.lags, 2 * moved.lags[first])), last])
    before, after = np.diff(moved.lags[chosen])
    weights = np.array([-1.0 / before, 1.0 / before + 1.0 / after, -1.0 / after])
    error = moved.error_of(chosen, weights)
    return bool(abs(weights @ moved.msd[chosen]) <= student.ppf(0.995, len(moved.blocks) - 1) * error)


def _doubling(lags: NDArray[np.int64], first: int, last: int) -> NDArray[np.int64]:
    """(k,) indices of lags (n,) from first to last, each twice the one before or a little more."""
    chosen = [first]
    while (after := int(np.searchsorted(lags, 2 * lags[chosen[-1]]))) <= last:
        chosen.append(after)
    return np.array(chosen, dtype=np.int64)


def _line(lags: NDArray[np.int64], model: Array) -> tuple[Array, Array]:
    """Weights (k,), (k,) with which values at `lags` (k,) give slope and offset; `model` (k, k) is their covariance."""
    size = np.sqrt(np.diag(model))
    design = np.stack([lags.astype(np.float64), np.ones(len(lags))], axis=1) / size[:, None]
    inverse = np.linalg.inv(model / size[:, None] / size)
    slope, offset = np.linalg.solve(design.T @ inverse @ design, design.T @ inverse) / size
    return slope, offset


def _none(name: str, moved: Displacements, spacing: float) -> Diffusion:
    """The answer for a group that has no diffusive range.

    Whether it leaves its place is seen at the longest lag: errors are known for a small part of the run only, and in it
    a slow liquid has not moved by the distance between neighbors either.
    """
    slopes, errors = moved.slopes
    known = max(_known(errors), 1) - 1
    if slopes[known] < 1.0 + TOLERANCE and moved.msd[-1] < spacing**2:
        return _caged(name, moved, spacing)
    run = (moved.n_samples - 1) * moved.interval
    time = moved.lags[moved.octaves[known, 1]] * moved.interval
    wanted = max(2.0 * run, SHORTEST_RANGE * 2 * FEWEST_BLOCKS * time)
    return Diffusion(
        note=f"{name}: too short for a diffusion coefficient: the MSD is not a straight line over a factor of "
        f"{SHORTEST_RANGE} in time. In the run of {_ps(run)} errors are known up to {_ps(time)}. There "
        f"d ln MSD / d ln τ is {slopes[known]:.2f} ± {errors[known]:.2f}: {_motion(slopes[known])}. Make the run "
        f"{_ps(wanted)} long at least."
    )


def _motion(slope: float) -> str:
    """A clause on the motion, by its slope d ln MSD / d ln τ."""
    if slope > 1.0 + TOLERANCE:
        return "motion is still ballistic"
    return "motion is subdiffusive so far" if slope < 1.0 - TOLERANCE else "the line has only begun, or is uncertain"


def _caged(name: str, moved: Displacements, spacing: float) -> Diffusion:
    """The answer for a group that does not leave its place, by its displacement at the longest lag."""
    time = moved.lags[-1] * moved.interval
    limit = A2_PER_FS_IN_CM2_PER_S * (moved.msd[-1] + 2.0 * moved.errors[-1]) / (2.0 * moved.dimensions * time)
    return Diffusion(
        limit=float(limit),
        note=f"{name}: no diffusion seen: D < {limit:.2g} cm2/s. The root mean square displacement in {_ps(time)} is "
        f"{np.sqrt(moved.msd[-1]):.2g} Å, less than the distance between neighbors, about {spacing:.2g} Å.",
    )


def _ps(time: float) -> str:
    """A time in fs, for readers."""
    return f"{time / 1000.0:.4g} ps" if time >= 100.0 else f"{time:.4g} fs"
