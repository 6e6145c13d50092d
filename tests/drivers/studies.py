"""Studies made by hand: folders as the ranks of a study leave them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

SETTINGS: dict[str, Any] = {
    "kind": "strong", "input": "ag.toml", "assignments": [], "launcher": "mpirun -n {n}", "steps": 1000, "warmup": 20,
    "turns": 1, "with_output": False,
}  # fmt: skip


def turn(seconds: float, phases: Mapping[str, float] | None = None, cpu: float = 1.0, even: float = 1.0) -> Any:
    """A turn with its time per step, and the share of it by phase."""
    spent = {name: seconds * share for name, share in (phases or {"potential": 1.0}).items()}
    return {
        "seconds_per_step": seconds, "rebuilds": 100, "cpu_share": cpu, "imbalance": even, "slowest": spent,
        "mean": spent,
    }  # fmt: skip


def write_study(
    folder: Path, turns: Mapping[int, Sequence[Any] | str], atoms: Mapping[int, int], timestep: float = 5.0,
    **settings: Any,
) -> Path:
    """Writes a study; a text in place of turns is the reason why there are none."""
    folder.mkdir(exist_ok=True)
    sizes = [{"ranks": n, "atoms": atoms[n]} for n in turns]
    (folder / "study.json").write_text(json.dumps(SETTINGS | {"sizes": sizes} | settings))
    for n, made in turns.items():
        document: dict[str, Any] = {"ranks": n, "atoms": atoms[n]}
        if isinstance(made, str):
            document["error"] = made
        else:
            document |= {
                "system": "Ag, silver", "timestep_fs": timestep, "skin_A": 0.5, "grid": [1, 1, n], "steps": 1000,
                "date": "2026-11-30", "machine": {"processor": "P", "hosts": 1, "cores": 8}, "notes": [],
                "versions": {}, "turns": list(made), "peak_memory_MB": 100.0 * n,
            }  # fmt: skip
        (folder / f"ranks-{n}.json").write_text(json.dumps(document))
    return folder
