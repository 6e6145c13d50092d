"""Pictures of a training and of errors, as PNG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allegro_md.config.fields import SYMBOLS
from allegro_md.figures import COLORS, png
from allegro_md.figures import figure as new_figure
from allegro_md.training.calibration import CONFIDENCES, Calibration
from allegro_md.training.evaluation import Evaluation
from allegro_md.training.metrics import MILLI, Error

Array = NDArray[np.float64]

MOST_POINTS = 60_000
"""Of a parity plot; more are drawn by lot."""

HISTOGRAM_BINS = 60


def learning_curve(rows: Sequence[Mapping[str, float]]) -> bytes:
    """Loss, errors of energies and forces, and learning rate against the epoch; `rows` of ``history.csv``."""
    figure, axes = new_figure(2, 2, width=11.0, height=7.0)
    epochs = np.array([row["epoch"] for row in rows])
    panels = (("loss", "loss"), ("energy_rmse", "energy RMSE (meV/atom)"), ("force_rmse", "force RMSE (meV/Å)"))
    for axis, (name, label) in zip(axes, panels, strict=False):
        for prefix, color, word in (("train_", COLORS[0], "training"), ("val_", COLORS[1], "validation")):
            axis.plot(epochs, [row[prefix + name] for row in rows], color=color, lw=1.2, label=word)
        axis.set(xlabel="epoch", ylabel=label)
        axis.legend(frameon=False)
    axes[3].plot(epochs, [row["learning_rate"] for row in rows], color=COLORS[2], lw=1.2)
    axes[3].set(xlabel="epoch", ylabel="learning rate")
    for axis in axes:
        if any(np.nan_to_num(line.get_ydata()).max(initial=0.0) > 0.0 for line in axis.lines):
            axis.set_yscale("log")
        axis.grid(alpha=0.25, which="both")
    return png(figure)


def parity(evaluation: Evaluation, title: str) -> bytes:
    """Predictions against labels: energies per atom, force components by element."""
    figure, (left, right) = new_figure(1, 2, width=11.0, height=5.2)
    e, metrics = evaluation, evaluation.metrics
    labeled: NDArray[np.bool_] = ~np.isnan(e.labeled_energy)
    reference, predicted = (MILLI * energy[labeled] / e.counts[labeled] for energy in (e.labeled_energy, e.energy))
    zero = reference.mean() if len(reference) else 0.0
    left.scatter(reference - zero, predicted - zero, s=9, alpha=0.5, lw=0, color=COLORS[0])
    less = f" less {zero / MILLI:.4g} eV/atom" if len(reference) else ""
    _diagonal(left, f"energy per atom{less} (meV/atom)", metrics.energy_per_atom, "meV/atom")

    with_forces: NDArray[np.bool_] = ~np.isnan(e.labeled_forces[:, 0])
    share = min(1.0, MOST_POINTS / max(1, 3 * int(with_forces.sum())))
    drawn = with_forces & (np.random.default_rng(1).random(len(with_forces)) < share)
    for color, number in _color_by_element(e.numbers[with_forces]):
        rows = drawn & (e.numbers == number)
        right.scatter(
            e.labeled_forces[rows].ravel(), e.forces[rows].ravel(), s=4, alpha=0.4, lw=0, color=color,
            label=SYMBOLS[number - 1],
        )
    if with_forces.any():
        right.legend(frameon=False, markerscale=3, loc="lower right")
    some = f", {share:.0%} of the atoms drawn" if share < 1.0 else ""
    _diagonal(right, f"force component (eV/Å){some}", metrics.forces, "meV/Å")
    figure.suptitle(title)
    return png(figure)


@dataclass(frozen=True)
class Histogram:
    """Plots the histogram of absolute errors.

    Attributes:
        name: of the quantity, with its unit.
        edges: (bins + 1,) logarithmically spaced; the first bin holds smaller errors, too.
        counts: (bins,) how many.
    """

    name: str
    edges: Array
    counts: NDArray[np.int64]


def histograms(evaluation: Evaluation) -> list[Histogram]:
    """Of the energy errors, and of the force components of each element; of what has labels."""
    energy = MILLI * np.abs(evaluation.energy_error)
    found = [("energy meV/atom", energy[~np.isnan(energy)])]
    error = MILLI * np.abs(evaluation.force_error)
    labeled = ~np.isnan(error).any(axis=1)
    for number in np.unique(evaluation.numbers[labeled]).tolist():
        found.append((f"force {SYMBOLS[number - 1]} meV/A", error[labeled & (evaluation.numbers == number)].ravel()))
    return [_histogram(name, errors) for name, errors in found if len(errors)]


def _histogram(name: str, errors: Array) -> Histogram:
    """Counts `errors` (n,), absolute, in bins of equal width on a logarithmic scale."""
    largest = max(float(errors.max()), 1e-9)
    edges = np.geomspace(1e-4 * largest, 1.000001 * largest, HISTOGRAM_BINS + 1)
    counts, _ = np.histogram(np.maximum(errors, edges[0]), bins=edges)
    return Histogram(name, edges, counts)


def histogram(evaluation: Evaluation, title: str) -> bytes:
    """Absolute errors, both axes logarithmic: the tail of large errors is what matters."""
    found = histograms(evaluation)
    figure, axes = new_figure(1, 2, width=11.0, height=4.6)
    for axis, quantity, unit in zip(axes, ("energy", "force"), ("meV/atom", "meV/Å"), strict=True):
        shown = [item for item in found if item.name.startswith(quantity)]
        for item, color in zip(shown, COLORS * len(shown), strict=False):
            label = item.name.split()[1] if quantity == "force" else None
            axis.stairs(item.counts, item.edges, color=color, lw=1.3, label=label)
        what = "component" if quantity == "force" else "per atom"
        axis.set(xlabel=f"absolute {quantity} error, {what} ({unit})", ylabel="count (first bin: smaller ones, too)")
        if shown:
            axis.set(xscale="log", yscale="log")
            axis.set_ylim(bottom=0.5)
            axis.grid(alpha=0.25)
        if quantity == "force" and shown:
            axis.legend(frameon=False)
    figure.suptitle(title)
    return png(figure)


def calibration(found: Calibration, title: str) -> bytes:
    """Force errors against the standard deviation of a committee, and the coverage of its confidence intervals."""
    figure, (left, right) = new_figure(1, 2, width=11.0, height=5.0)
    left.plot(found.std, found.error, "o-", color=COLORS[0], label="bins of equally many atoms")
    drawn = np.append(found.std, found.error)
    ends = np.array([drawn[drawn > 0.0].min(initial=math.inf), drawn.max()])
    left.plot(ends, ends, color="0.5", lw=1, label="calibrated")
    left.plot(ends, found.ratio * ends, color="0.5", lw=1, ls="--", label=f"{found.ratio:.2g} σ")
    left.set(xscale="log", yscale="log", xlabel="force standard deviation σ, RMS (meV/Å)",
             ylabel="force error |ΔF|, RMS (meV/Å)", title=f"Spearman correlation {found.spearman:.2f}")
    right.plot(CONFIDENCES, found.within, color=COLORS[0])
    right.plot([0, 1], [0, 1], color="0.5", lw=1)
    right.fill_between(CONFIDENCES, CONFIDENCES, found.within, color=COLORS[0], alpha=0.15)
    right.set(xlabel="confidence (normal errors of variance σ²/3)", ylabel="components within",
              title=f"miscalibration area {found.area:.3f}", xlim=(0, 1), ylim=(0, 1))
    left.legend(frameon=False)
    for axis in (left, right):
        axis.grid(alpha=0.25)
    figure.suptitle(title)
    return png(figure)


def _diagonal(axis: Any, what: str, error: Error | None, unit: str) -> None:
    """The line on which all points should lie, equal axes, labels; or a word where there is nothing."""
    axis.set(xlabel=f"label: {what}", ylabel="model")
    if error is None:
        axis.text(0.5, 0.5, "no labels", ha="center", transform=axis.transAxes)
        return
    low, high = min(axis.get_xlim()[0], axis.get_ylim()[0]), max(axis.get_xlim()[1], axis.get_ylim()[1])
    axis.plot([low, high], [low, high], color="0.5", lw=1, zorder=0)
    axis.set(xlim=(low, high), ylim=(low, high), aspect="equal")
    axis.set_title(f"MAE {error.mae:.3g}, RMSE {error.rmse:.3g} {unit}", fontsize=10)
    axis.grid(alpha=0.25)


def _color_by_element(numbers: NDArray[np.int64]) -> list[tuple[str, int]]:
    """Colors of the elements among `numbers` (n,), in the order of the atomic numbers."""
    return [(COLORS[k % len(COLORS)], number) for k, number in enumerate(np.unique(numbers).tolist())]
