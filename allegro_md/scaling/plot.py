"""Plots of a study: speed over ranks with the ideal line, and efficiency."""

from __future__ import annotations

from allegro_md.figures import COLORS, figure, label_log_axis, png
from allegro_md.scaling.results import Results


def scaling_png(results: Results) -> bytes:
    """The content of ``scaling.png`` of a study with at least two results."""
    rows, base = results.rows, results.rows[0]
    ranks = [row.ranks for row in rows]
    speed = [1e-6 * row.atoms / row.seconds_per_step for row in rows]
    drawing, (left, right) = figure(1, 2, 9.0, 3.8)
    half = [0.5 * row.spread * value for row, value in zip(rows, speed, strict=True)]
    ideal = [speed[0] * n / base.ranks for n in ranks]
    left.plot(ranks, ideal, "--", color=COLORS[6], linewidth=1.0, label="ideal")
    left.errorbar(ranks, speed, yerr=half, fmt="o-", color=COLORS[0], capsize=3, label="measured")
    left.set(xscale="log", yscale="log", xlabel="ranks", ylabel="million atom steps per second")
    right.axhline(1.0, linestyle="--", color=COLORS[6], linewidth=1.0)
    efficiency = [row.efficiency for row in rows]
    ends = [[max(0.0, e - row.efficiency_range[0]) for e, row in zip(efficiency, rows, strict=True)],
            [max(0.0, row.efficiency_range[1] - e) for e, row in zip(efficiency, rows, strict=True)]]  # fmt: skip
    right.errorbar(ranks, efficiency, yerr=ends, fmt="o-", color=COLORS[1], capsize=3)
    right.set(xscale="log", xlabel="ranks", ylabel="efficiency", ylim=(0.0, max(1.15, 1.05 * max(efficiency))))
    for axes in (left, right):
        axes.set_xticks(ranks, [str(n) for n in ranks])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    label_log_axis(left.yaxis)
    left.legend()
    atoms = f"{base.atoms:,} atoms" + (" per rank" if results.kind == "weak" and base.ranks == 1 else "")
    drawing.suptitle(f"{results.kind} scaling: {results.about['system']}, {atoms}", fontsize=10)
    return png(drawing)
