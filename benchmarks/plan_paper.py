"""The multi-GPU rows of the paper's scaling table, forecast from its rows on one GPU, beside the paper's values.

    python benchmarks/plan_paper.py

Also a forecast of this engine for 128 GPUs, for the largest published run and for 100,000 processor cores, with the
time per atom measured here (`allegro-md plan`). Writes ``results/plan-paper-MACHINE.json``; ``docs/make_scaling.py``
puts it into docs/scaling.md. Half a minute on one core.
"""

from __future__ import annotations

import argparse
import statistics
from typing import Any

import launch

from allegro_md.config import load_input
from allegro_md.scaling.plan import Plan, make_plan
from allegro_md.scaling.published import ROWS, PublishedRow, forecast

RECORD = launch.ROOT / "inputs" / "record-ag.toml"
LARGE = {
    "paper's largest run, 128 GPUs": (100_640_512, 128, ("a100", "h100", "h200", "b200")),
    "largest published run, 45,000 GPUs": (1_620_000_000_000, 45_000, ("h100", "h200", "b200")),
    "100,000 cores, 10⁹ atoms": (1_000_000_000, 100_000, ("epyc-7763-core", "epyc-9654-core", "xeon-8480-core")),
    "100,000 cores, 10¹² atoms": (1_000_000_000_000, 100_000, ("epyc-7763-core", "epyc-9654-core", "xeon-8480-core")),
}
"""Name → atoms, ranks, devices."""


def published(row: PublishedRow) -> dict[str, Any]:
    """A row, its forecast and the largest part of it that is not the computing."""
    step = forecast(row)
    return {
        "system": row.system, "atoms": row.atoms, "gpus": row.gpus, "ns_per_day": row.ns_per_day,
        "printed_us": row.printed_us, "us_per_atom": round(row.us_per_atom, 5),
        "forecast_ns_per_day": round(row.ns_per_day * row.seconds / step.total, 3),
        "forecast_us_per_atom": round(1e6 * step.total / row.atoms, 5),
        "error": round(step.total / row.seconds - 1.0, 4),
        "messages_share": round(1.0 - step.potential / step.total, 4),
    }  # fmt: skip


def errors(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Of the time of a step, over the strong scaling rows on several GPUs."""
    several = [row for row in rows if row["gpus"] > 1 and row["atoms"] < 10_000_000]
    sizes = [abs(row["error"]) for row in several]
    return {"rows": len(several), "median": statistics.median(sizes), "largest": max(sizes)}


def large(plan: Plan, n_atoms: int, n_ranks: int) -> dict[str, Any]:
    """A forecast of this engine."""
    step, one = plan.step_of(n_atoms, n_ranks), plan.step_of(n_atoms / n_ranks, 1)
    lost = {name: seconds - one.parts[name] for name, seconds in step.parts.items()}
    return {
        "atoms": n_atoms, "ranks": n_ranks, "device": plan.machine.name, "seconds_per_step": float(f"{step.total:.4g}"),
        "us_per_atom": float(f"{1e6 * step.total / n_atoms:.4g}"),
        "weak_efficiency": round(plan.weak_efficiency(n_atoms, n_ranks), 4),
        "GB_per_rank": round(float(plan.memory_of(n_atoms, n_ranks)) / 1e9, 3),
        "fits": bool(plan.memory_of(n_atoms, n_ranks) <= plan.machine.memory),
        "lost": {name: float(f"{seconds / step.total:.3g}") for name, seconds in lost.items() if seconds > 0.0},
        "largest_loss": max(lost, key=lost.__getitem__),
        "steps_per_rebuild": [
            round(plan.intervals(atoms, n_ranks).rebuild, 2) for atoms in (n_atoms / n_ranks, n_atoms)
        ],
    }  # fmt: skip


def main() -> None:
    """Forecasts, prints and keeps the figures."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    rows = [published(row) for row in ROWS]
    for row in rows:
        print(row)
    print(errors(rows))
    found, config = [], load_input(RECORD)
    base = make_plan(config, None, None, None)
    for name, (n_atoms, n_ranks, devices) in LARGE.items():
        for device in devices:
            found.append({"run": name, **large(base.on(device, None), n_atoms, n_ranks)})
            print(found[-1])
    calibration = {
        "us_per_atom_here": 1e6 * base.machine.costs.per_atom, "GFLOP_per_s_here": base.calibration.rate / 1e9,
        "reductions_per_step": base.calibration.samples[-1].reductions,
    }  # fmt: skip
    figures = {"published": rows, "errors": errors(rows), "calibration": calibration, "large": found}
    print(launch.save("plan-paper", figures, launch.versions("allegro-md", "numpy", "numba")))


if __name__ == "__main__":
    main()
