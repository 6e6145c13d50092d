"""nequip-allegro's side of the comparison: a model from stored weights, compiled once by AOTInductor, called again and
again.

Run by `versus_nequip.py` in a process of its own: number of threads and allocator are settled when a process starts.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import torch
import turns
from ase import Atoms
from ase.neighborlist import neighbor_list

INPUTS = ("pos", "edge_index", "atom_types", "cell", "edge_cell_shift")
OUTPUTS = ("atomic_energy", "forces")
"""Of what nequip-compile gives to LAMMPS, that which a step at constant volume needs: the virial costs extra."""

ENVIRONMENT = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40), "MALLOC_TOP_PAD_": str(2**26)}
"""Memory once obtained is kept. With glibc's defaults large tensors get fresh pages in every call: twice the time."""

TRACED = 4
"""Cubic cells along each edge of the crystal that compilation looks at: it runs the model with all its gradients."""


class NequipSide:
    """A model in one mode: called with a prebuilt list of the edges within its cutoff."""

    def __init__(self, folder: Path, structure: Atoms, threads: int, package: Path | None) -> None:
        """Builds or loads the model.

        Args:
            folder: config.json and weights.npz.
            structure: what it is called with.
            threads: of torch.
            package: the compiled model, made by `compiled`; None for eager mode.
        """
        torch.set_num_threads(threads)
        config = json.loads((folder / "config.json").read_text())
        self._data = inputs(structure, config)
        self.edges = self._data["edge_index"].shape[1]
        if package is None:
            self._model = build(folder, config)
        else:
            from nequip.nn.compile import DictInputOutputWrapper

            self._model = DictInputOutputWrapper(torch._inductor.aoti_load_package(str(package)), INPUTS, OUTPUTS)

    def answer(self, question: str) -> dict[str, Any]:
        """``forces N``: mean of N calls after one that does not count; ``results FILE``: energy, forces (eV, eV/Å)."""
        what, _, argument = question.partition(" ")
        result = self._model(dict(self._data))
        if what == "results":
            energy, forces = (result[name].detach().double() for name in OUTPUTS)
            np.savez(argument, energy=float(energy.sum()), forces=forces.numpy())
            return {}
        began = time.perf_counter()
        for _ in range(int(argument)):
            self._model(dict(self._data))
        seconds = (time.perf_counter() - began) / int(argument)
        return {"seconds": seconds, "peak_memory_MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def inputs(structure: Atoms, config: dict[str, Any]) -> dict[str, torch.Tensor]:
    """What a model is called with."""
    center, neighbor, shift = neighbor_list("ijS", structure, config["r_max"])
    types = np.array([config["type_names"].index(symbol) for symbol in structure.symbols])
    return {
        "pos": torch.tensor(structure.positions),
        "edge_index": torch.tensor(np.stack([center, neighbor])),
        "atom_types": torch.tensor(types),
        "cell": torch.tensor(structure.cell.array)[None],
        "edge_cell_shift": torch.tensor(shift, dtype=torch.float64),
    }


def build(folder: Path, config: dict[str, Any]) -> torch.nn.Module:
    """The model in float32 with the weights of `folder`."""
    from allegro.model import AllegroModel
    from nequip.utils.global_state import set_global_state

    set_global_state()
    model = AllegroModel(**{k: v for k, v in config.items() if k != "_target_"} | {"model_dtype": "float32"})
    with np.load(folder / "weights.npz") as file:
        state = {f"model.{name}": torch.tensor(values) for name, values in file.items()}
    missing, unknown = model.load_state_dict(state, strict=False)
    if unknown or not all(name.endswith(("w3j", "_empty")) for name in missing):  # those hold nothing that is learned
        raise SystemExit(f"{folder}: weights that do not fit nequip-allegro's model: {missing}, {unknown}")
    return model.eval()


def compiled(folder: Path, structure: Atoms, threads: int, package: Path) -> Path:
    """Compiles a model as nequip-compile does, with the number of threads it will run on; minutes, unless it is there.

    Args:
        folder: config.json and weights.npz.
        structure: of the kind it will be called with; a few hundred atoms at most.
        threads: inductor builds their number into the loops.
        package: NAME.nequip.pt2, kept for the next time.
    """
    if package.exists():
        return package
    from nequip.utils.aot import aot_export_model

    torch.set_num_threads(threads)
    config = json.loads((folder / "config.json").read_text())
    model = build(folder, config)
    sizes = {name: torch.export.Dim(f"num_{name}s", min=2) for name in ("node", "edge")}
    batch = {"graph": torch.export.Dim.STATIC, **sizes}
    part = package.with_name("part-" + package.name)
    aot_export_model(model, "cpu", list(INPUTS), list(OUTPUTS), inputs(structure, config), batch, str(part))
    part.rename(package)
    return package


def main() -> None:
    """PIPES FOLDER STRUCTURE THREADS PACKAGE: compiles where PIPES is "compile", else a side of the comparison."""
    pipes, folder, structure, threads, package = sys.argv[1:]
    if pipes == "compile":
        compiled(Path(folder), ase.io.read(structure), int(threads), Path(package))
        return
    side = NequipSide(Path(folder), ase.io.read(structure), int(threads), Path(package) if package != "eager" else None)
    turns.serve({"edges": side.edges}, side.answer)


if __name__ == "__main__":
    main()
