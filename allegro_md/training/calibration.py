"""Calibration of a committee: the disagreement of its members against their errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import trapezoid
from scipy.special import erfinv
from scipy.stats import spearmanr

from allegro_md.training.evaluation import Evaluation
from allegro_md.training.metrics import MILLI

Array = NDArray[np.float64]

BINS = 10
CONFIDENCES = np.linspace(0.01, 0.99, 99)
"""Levels at which the fraction of errors within the interval is looked at."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """Force standard deviation σ against force error ε = |F − F_label|, atom by atom, meV/Å.

    Bins hold equal numbers of atoms, in the order of σ. Confidence intervals take the errors of components for
    normal, of variance σ²/3 (Kuleshov, Fenner, Ermon, ICML 2018; Tran et al., Mach. Learn.: Sci. Technol. 1, 025006).

    Attributes:
        spearman: rank correlation of σ and ε: 1 where the order of σ is that of ε.
        ratio: √(Σ ε² / Σ σ²): what σ is to be multiplied with to be as large as the errors.
        edges: (bins + 1,) σ at the bins' borders.
        std: (bins,) root mean square of σ.
        error: (bins,) root mean square of ε.
        atoms: (bins,) how many.
        within: (levels,) fraction of components whose error lies in the interval of each of `CONFIDENCES`.
        area: ∫ |within − confidence|: 0 when calibrated, 0.5 at worst.
    """

    spearman: float
    ratio: float
    edges: Array
    std: Array
    error: Array
    atoms: NDArray[np.int64]
    within: Array
    area: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values, the names of ``allegro-md eval --json``."""
        columns = {
            "lower_meV_per_A": self.edges[:-1], "upper_meV_per_A": self.edges[1:], "force_std_meV_per_A": self.std,
            "force_error_meV_per_A": self.error, "atoms": self.atoms,
        }
        rows = zip(*(column.tolist() for column in columns.values()), strict=True)
        return {
            "spearman": self.spearman,
            "error_over_std": self.ratio,
            "miscalibration_area": self.area,
            "bins": [dict(zip(columns, row, strict=True)) for row in rows],
        }


def calibrate(evaluation: Evaluation) -> Calibration | None:
    """The calibration of a committee's forces; None without labels, or when all members agree everywhere."""
    labeled = ~np.isnan(evaluation.labeled_forces).any(axis=1)
    std = MILLI * evaluation.force_std[labeled]
    components = MILLI * np.abs(evaluation.force_error[labeled])
    error = np.sqrt(np.square(components).sum(axis=1))
    if len(std) < 2 or not std.any() or not np.ptp(error):
        return None
    order = np.argsort(std, kind="stable")
    bins = [b for b in np.array_split(order, BINS) if len(b)]
    # An interval of confidence p reaches to √2 erf⁻¹(p) standard deviations.
    reach = np.sqrt(2.0) * erfinv(CONFIDENCES)
    scaled = np.sort((components / np.maximum(std, np.finfo(float).tiny)[:, None] * np.sqrt(3.0)).ravel())
    within = np.searchsorted(scaled, reach, side="right") / len(scaled)
    return Calibration(
        spearman=float(spearmanr(std, error).statistic),
        ratio=float(np.sqrt(np.square(error).sum() / np.square(std).sum())),
        edges=np.array([std[bins[0][0]], *(std[b[-1]] for b in bins)]),
        std=np.array([_rms(std[b]) for b in bins]),
        error=np.array([_rms(error[b]) for b in bins]),
        atoms=np.array([len(b) for b in bins]),
        within=within,
        area=float(trapezoid(np.abs(within - CONFIDENCES), CONFIDENCES)),
    )


def _rms(values: Array) -> float:
    """Root mean square of `values` (n,), in their unit."""
    return float(np.sqrt(np.square(values).mean()))
