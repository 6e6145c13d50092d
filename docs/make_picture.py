"""Draw docs/decomposition.svg, the picture of the README:  python docs/make_picture.py  (needs matplotlib)."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Circle, FancyArrowPatch, Rectangle
from numpy.typing import NDArray

Points = NDArray[np.float64]

RANKS = ("#3b6fb6", "#d98a29", "#4f9a5b", "#a8517a")  # one color per rank
INK = "#333333"
BOX, CUTOFF = 12.0, 1.75


def atoms() -> Points:
    """A jittered triangular lattice that fills the box."""
    rng = np.random.default_rng(4)
    rows = [
        (0.5 + column + 0.5 * (row % 2), 0.43 + row * BOX / 14)
        for row in range(14)
        for column in range(12)
        if 0.5 + column + 0.5 * (row % 2) < BOX
    ]
    points = np.array(rows)
    return points + rng.normal(scale=0.09, size=points.shape)


def owner(points: Points) -> NDArray[np.int64]:
    """Which of the 2 x 2 bricks holds each atom."""
    return (points[:, 0] >= BOX / 2).astype(np.int64) + 2 * (points[:, 1] >= BOX / 2).astype(np.int64)


def scatter(axes: Axes, points: Points, ranks: NDArray[np.int64], ghost: bool = False) -> None:
    """Dots in the color of their owner; ghosts are hollow."""
    colors = [RANKS[rank] for rank in ranks]
    axes.scatter(*points.T, s=26, facecolors="white" if ghost else colors, edgecolors=colors, linewidths=1.1, zorder=3)


def whole(axes: Axes, points: Points) -> None:
    """The box, its bricks, and one center with its cutoff."""
    for rank in range(4):
        corner = (BOX / 2 * (rank % 2), BOX / 2 * (rank // 2))
        axes.add_patch(Rectangle(corner, BOX / 2, BOX / 2, facecolor=RANKS[rank], alpha=0.13, edgecolor="none"))
        x, y = (0.25, BOX - 0.25)[rank % 2], (0.2, BOX - 0.2)[rank // 2]
        axes.text(x, y, f"rank {rank}", ha=("left", "right")[rank % 2], va=("bottom", "top")[rank // 2],
                  color=RANKS[rank], fontsize=9, fontweight="bold", zorder=5,
                  bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.2, "alpha": 0.85})
    scatter(axes, points, owner(points))
    center = points[np.argmin(np.linalg.norm(points - [5.2, 7.6], axis=1))]
    near = points[np.linalg.norm(points - center, axis=1) < CUTOFF]
    for other in near:
        axes.plot(*zip(center, other, strict=True), color=INK, linewidth=0.9, zorder=2)
    axes.add_patch(Circle(tuple(center), CUTOFF, fill=False, edgecolor=INK, linewidth=1.3, zorder=4))
    axes.add_patch(Rectangle((0, 0), BOX, BOX, fill=False, edgecolor=INK, linewidth=1.2))
    axes.set_title("The energy of an atom depends on one cutoff only,\nso the box is divided into bricks", fontsize=10)


def brick(axes: Axes, points: Points) -> None:
    """Rank 0 with its halo, periodic images included."""
    images = np.concatenate([points + np.array([i, j]) * BOX for i in (-1, 0, 1) for j in (-1, 0, 1)])
    ranks = np.tile(owner(points), 9)
    low, high = -CUTOFF, BOX / 2 + CUTOFF
    held = np.all((images >= low) & (images < high), axis=1)
    own = np.all((images >= 0) & (images < BOX / 2), axis=1)
    axes.add_patch(Rectangle((low, low), high - low, high - low, facecolor="#f3f3f3", edgecolor=INK, linestyle=":"))
    axes.add_patch(Rectangle((0, 0), BOX / 2, BOX / 2, facecolor="#dfe8f4", edgecolor=INK, linewidth=1.2))
    scatter(axes, images[own], ranks[own])
    scatter(axes, images[held & ~own], ranks[held & ~own], ghost=True)
    for y, ends, label in ((4.6, (9.6, 6.6), "positions\nreceived"), (1.4, (6.6, 9.6), "forces\nsent back")):
        axes.add_patch(
            FancyArrowPatch(
                (ends[0], y), (ends[1], y), arrowstyle="-|>", mutation_scale=16, color=INK, linewidth=2, zorder=6
            )
        )
        axes.text(9.8, y, label, ha="left", va="center", fontsize=9, color=INK)
    axes.set_title("Each rank: local atoms (full) and a halo of\nghosts (hollow) one cutoff wide", fontsize=10)


def main() -> None:
    """Both panels, side by side."""
    plt.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "allegro-md", "font.family": "sans-serif"})
    figure, axes = plt.subplots(1, 2, figsize=(9.6, 4.6), gridspec_kw={"width_ratios": [1.0, 1.12]})
    points = atoms()
    whole(axes[0], points)
    brick(axes[1], points)
    axes[0].set(xlim=(-0.2, BOX + 0.2), ylim=(-0.2, BOX + 0.2))
    axes[1].set(xlim=(-CUTOFF - 0.2, 12.2), ylim=(-CUTOFF - 0.6, BOX / 2 + CUTOFF + 0.6))
    for panel in axes:
        panel.set_aspect("equal")
        panel.set_axis_off()
    figure.tight_layout()
    figure.savefig(
        Path(__file__).parent / "decomposition.svg", bbox_inches="tight", facecolor="white", metadata={"Date": None}
    )


if __name__ == "__main__":
    main()
