"""Draw docs/scaling-simulation.svg and fill the tables of docs/scaling.md from benchmarks/results.

    python docs/make_scaling.py

A table stands between `<!-- table: NAME -->` and `<!-- end -->`; what is measured anew replaces it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from allegro_md.figures import COLORS, figure, svg
from allegro_md.scaling.bricks import Bricks
from allegro_md.scaling.devices import DEVICES, LINKS
from allegro_md.scaling.forecast import Costs, Intervals, LinearCost, step_time, work_of
from allegro_md.scaling.network import Link, Network, simulate

DOCS = Path(__file__).resolve().parent
RESULTS = DOCS.parent / "benchmarks" / "results"
BLOCK = re.compile(r"(<!-- table: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)

COSTS = Costs(LinearCost(1e-4, 3e-7), LinearCost(1e-4, 3e-8), LinearCost(1e-5, 0.0, 2e-8))
"""Of the picture: 0.3 µs per atom, 0.2 ms per step; as in tests/unit/scaling/test_network.py."""

RANKS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)


def newest(kind: str) -> dict[str, Any] | None:
    """The latest result of a benchmark; None: there is none."""
    found = [dict(json.loads(path.read_text())) for path in RESULTS.glob(f"{kind}-*.json")]
    return max(found, key=lambda document: str(document["date"]), default=None)


def table(heading: list[str], rows: list[list[str]], before: str = "") -> str:
    """A table in Markdown with a sentence before it; nothing where there are no rows."""
    if not rows:
        return ""
    lines = [heading, ["---"] * len(heading), *rows]
    sentence = f"\n{before}\n" if before else ""
    return sentence + "\n" + "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n\n"


def studies() -> str:
    """All studies of `allegro-md scale` among the results, in the form of the paper's table."""
    rows = []
    for path in sorted(RESULTS.glob("scaling-*.json")):
        document = json.loads(path.read_text())
        name = document.get("system") or path.stem
        rows += [
            [f"{name}, {document['kind']}", f"{row['atoms']:,}", str(row["ranks"]), f"{row['ns_per_day']:.4g}",
             f"{row['us_per_atom_step']:.4g}", f"{row['efficiency']:.3f}"]
            for row in document["rows"]
        ]  # fmt: skip
    heading = ["system", "atoms", "ranks", "ns/day", "µs/(atom·step)", "efficiency"]
    return table(heading, rows, "On two cores:")


def paper() -> str:
    """The paper's table and its forecast from the rows on one GPU."""
    document = newest("plan-paper")
    rows = [] if document is None else [
        [row["system"], f"{row['atoms']:,}", str(row["gpus"]), f"{row['ns_per_day']:g}", f"{row['printed_us']:g}",
         f"{row['us_per_atom']:.4g}", f"{row['forecast_ns_per_day']:g}", f"{row['forecast_us_per_atom']:.4g}",
         "given" if row["gpus"] == 1 else f"{100.0 * row['error']:+.1f} %"]
        for row in document["published"]
    ]  # fmt: skip
    heading = ["system", "atoms", "GPUs", "ns/day, paper", "µs, printed", "µs, from ns/day", "ns/day, forecast",
               "µs, forecast", "time, error"]  # fmt: skip
    return table(heading, rows)


def large() -> str:
    """Forecasts of this engine on machines one does not have."""
    document = newest("plan-paper")
    rows = [] if document is None else [
        [row["run"], f"{row['atoms']:.4g}", f"{row['ranks']:,}", row["device"], f"{row['seconds_per_step']:.3g}",
         f"{row['us_per_atom']:.3g}", f"{row['GB_per_rank']:.2f}", f"{row['weak_efficiency']:.2f}", row["largest_loss"]]
        for row in document["large"]
    ]  # fmt: skip
    heading = ["run", "atoms", "ranks", "device", "s/step", "µs/(atom·step)", "GB per rank", "weak efficiency",
               "largest loss"]  # fmt: skip
    return table(heading, rows)


def check() -> str:
    """Plans beside the runs they are about."""
    document = newest("plan-check")
    rows = [] if document is None else [
        [name, str(case["ranks"]), f"{case['planned_ms']:.4g}", f"{case['measured_ms']:.4g}",
         f"{100.0 * case['time_error']:+.0f} %", f"{case['planned_MB']:.0f}", f"{case['measured_MB']:.0f}",
         f"{100.0 * case['memory_error']:+.0f} %",
         f"{case['planned_steps_per_rebuild']:.1f} / {case['measured_steps_per_rebuild']:.1f}"]
        for name, case in document["cases"].items()
    ]  # fmt: skip
    heading = ["case", "ranks", "ms/step, plan", "ms/step, run", "error", "MB, plan", "MB, run", "error",
               "steps per rebuild, plan / run"]  # fmt: skip
    return table(heading, rows, "The result:")


def devices() -> str:
    """Processors of the table."""
    rows = [
        [f"`{name}`", f"{d.peak / 1e12:.3g}", f"{d.bandwidth / 1e9:,.4g}", f"{d.memory / 1e9:g}", str(d.per_node),
         d.source]
        for name, d in DEVICES.items()
    ]  # fmt: skip
    return table(["device", "float32, TFLOP/s", "memory, GB/s", "memory, GB", "ranks per node", "source"], rows)


def links() -> str:
    """Interconnects of the table."""
    rows = [
        [f"`{name}`", f"{1e6 * e.link.latency:g}", f"{1e6 * e.link.overhead:g}", f"{e.link.bandwidth / 1e9:g}",
         e.source]
        for name, e in LINKS.items()
    ]  # fmt: skip
    return table(["network", "latency, µs", "overhead, µs", "bandwidth, GB/s", "source"], rows)


TABLES: dict[str, Callable[[], str]] = {
    "studies": studies, "paper": paper, "large": large, "check": check, "devices": devices, "links": links,
}  # fmt: skip


def draw() -> bytes:
    """Time of a step over that of its computing: the closed form as lines, the simulation as points."""
    made, panels = figure(1, 2, 9.5, 3.8)
    hdr = LINKS["infiniband-hdr"].link
    cases = (("nodes of 8 ranks", 8, LINKS["shared-memory"].link), ("nodes of 128 ranks", 128, Link(5e-7, 1.5e-6, 5e9)))
    for axes, (title, per_node, inside) in zip(panels, cases, strict=True):
        network, colors = Network(per_node, inside, hdr), iter(COLORS)
        for atoms in (1_000, 20_000):
            for exchange in ("direct", "staged"):
                closed, simulated = [], []
                for ranks in RANKS:
                    bricks = Bricks.cubes(atoms * ranks, ranks, 0.058, 4.6)
                    intervals = Intervals(math.inf, reduce=4.0)
                    work = work_of(bricks, COSTS, network, intervals)
                    computing = work.before + work.interior + work.boundary
                    closed.append(step_time(bricks, COSTS, network, intervals, exchange).total / computing)  # type: ignore[arg-type]
                    simulated.append(simulate(bricks, network, work, exchange) / computing)  # type: ignore[arg-type]
                color = next(colors)
                axes.semilogx(RANKS, closed, "-", color=color, label=f"{exchange}, {atoms:,} atoms per rank")
                axes.semilogx(RANKS, simulated, "o", color=color, markersize=4)
        axes.set_title(f"{title}, InfiniBand HDR", fontsize="medium")
        axes.set_xlabel("ranks")
    panels[0].set_ylabel("time of a step / computing")
    panels[0].legend(fontsize="x-small")
    return svg(made)


def main() -> None:
    """Writes the picture and the page."""
    (DOCS / "scaling-simulation.svg").write_bytes(draw())
    page = DOCS / "scaling.md"
    page.write_text(BLOCK.sub(lambda found: found[1] + TABLES[found[2]]() + found[3], page.read_text()))


if __name__ == "__main__":
    main()
