"""Trains the silver of the record run on an embedded-atom potential: the simplest honest way, until training is built.

    python benchmarks/silver/train.py Ag_u3.eam

The architecture is that of the paper's silver (Musaelian et al., Nat. Commun. 14, 579 (2023)), the reference the
universal-3 potential of S. M. Foiles, M. I. Baskes, M. S. Daw, Phys. Rev. B 33, 7983 (1986), in a file of funcfl
format. Data are runs of the program with that potential (`data.py`). The network is fitted to all frames at once
(`fit.py`); all seeds are fixed. Its errors on frames of other runs and its properties beside the reference's
(`check.py`) are printed and go into the model file, `inputs/models/silver.allegro`. About ten minutes on one core.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import check
import data
import fit
import numpy as np
import torch
from data import Frame

from allegro_md.models.allegro.network import Network
from allegro_md.models.modelfile import save_model
from allegro_md.potentials.fused import FusedPotential

ROOT = Path(__file__).resolve().parents[2]
SEED = 1


def prepared(frames: list[Frame]) -> tuple[Network, float]:
    """An untrained network on the scale of the frames, and its energy shift, eV."""
    wanted = fit.labels(frames, 0.0)
    neighbors = round(len(wanted.center) / len(wanted.frame), 2)
    ordinary = [f for f in frames if f.kind != "melt"]
    force = round(float(np.sqrt(np.mean(np.concatenate([f.force for f in ordinary]) ** 2))), 3)
    shift = round(float(np.mean([f.energy / len(f.position) for f in ordinary])), 3)
    return fit.silver(neighbors, force, shift, SEED), shift


def errors(network: Network, frames: list[Frame], shift: float) -> dict[str, float]:
    """Of forces (meV/Å), energies (meV per atom) and stresses (GPa)."""
    energy, force, stress = fit.errors(network, fit.labels(frames, shift))
    return {
        "force_MAE_meV_A": float(1e3 * np.abs(force).mean()),
        "force_RMSE_meV_A": float(1e3 * np.sqrt(np.mean(force**2))),
        "energy_MAE_meV_atom": float(1e3 * np.abs(energy).mean()),
        "stress_RMSE_GPa": float(data.EV_PER_A3_IN_GPA * np.sqrt(np.mean(stress**2))),
    }


def rounded(value: Any) -> Any:
    """Four digits of every number are enough for a reader."""
    if isinstance(value, dict):
        return {key: rounded(x) for key, x in value.items()}
    return [rounded(x) for x in value] if isinstance(value, list) else float(f"{value:.4g}")


def runs(recipes: Iterable[data.Recipe], table: Path) -> list[Frame]:
    """Frames of several runs."""
    return [frame for recipe in recipes for frame in data.run(recipe, table)]


def main() -> None:
    """Labels, trains, measures, writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path, help="the reference potential: Ag_u3.eam")
    parser.add_argument("--adam", type=int, default=16, help="times 100 steps of Adam")
    parser.add_argument("--rounds", type=int, default=50, help="times 100 steps of L-BFGS after that")
    options = parser.parse_args()
    torch.set_num_threads(1)
    table = options.table.resolve()
    frames, held_out = runs(data.training_runs(), table), runs(data.test_runs(), table)
    network, shift = prepared(frames)
    wanted = fit.labels(frames, shift)
    for k, value in enumerate(fit.train(network, wanted, options.adam, options.rounds), 1):
        print(f"{100 * k:5d}  loss {value:.6f}", flush=True)
    measured = {kind: errors(network, [f for f in held_out if f.kind == kind], shift) for kind in kinds(held_out)}
    path = ROOT / "inputs" / "models" / "silver.allegro"
    shortest = float(np.linalg.norm(wanted.vector, axis=1).min())
    training = {
        "program": "benchmarks/silver/train.py of allegro-md", "reference": "Ag_u3.eam, Phys. Rev. B 33, 7983 (1986)",
        "frames": len(frames), "held out": len(held_out), "errors": rounded(measured),
    }
    save_model(network, path, training, {"Ag-Ag": round(shortest, 3)})
    model = f'model = "{path}"\nengine = "fused"\nprecision = "double"'
    properties = {"model": check.properties(model), "reference": check.properties(f'kind = "eam"\nfile = "{table}"')}
    training["properties"] = rounded(properties)
    save_model(network, path, training, {"Ag-Ag": round(shortest, 3)})
    print(json.dumps(training, indent=1))
    print(f"{path}: class {FusedPotential(network, ('Ag',)).kind}")


def kinds(frames: list[Frame]) -> list[str]:
    """In the order of their first frames."""
    return list(dict.fromkeys(f.kind for f in frames))


if __name__ == "__main__":
    main()
