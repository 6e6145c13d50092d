"""nequip-allegro and this program on a GPU, the same weights: a call with a list that is there; see `gpu_check.py`."""

from __future__ import annotations

import functools
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import gpu_measure
import nequip_side
import torch
import versus_nequip


def compared(name: str, host: bool, seconds: float) -> dict[str, Any]:
    """Seconds per call of both, and how far their forces are apart; a mode that fails is listed with its error.

    Args:
        name: of the model.
        host: in host memory, by the host build.
        seconds: what there is; the model is compiled only where 30 of them are left.
    """
    import ase.io

    ends, device = time.perf_counter() + seconds, "cpu" if host else "cuda"
    folder = versus_nequip.weights(name)
    if not folder.exists():
        return {"skipped": f"no weights in {folder}"}
    with tempfile.TemporaryDirectory() as place:
        n_atoms = versus_nequip.write_system(Path(place), name, 2 if host else 10, "system.traj")
        structure = ase.io.read(Path(place) / "system.traj")
        config = json.loads((folder / "config.json").read_text())
        data = {key: value.to(device) for key, value in nequip_side.inputs(structure, config).items()}
        found: dict[str, Any] = {"model": name, "atoms": n_atoms, "edges": data["edge_index"].shape[1]}
        found["here_s"], own = _here(Path(place), name, host)
        model = nequip_side.build(folder, config).to(device)
        eager = model(dict(data))["forces"].detach().double().cpu()
        found["largest_difference_of_forces_eV_per_A"] = float((eager - own).abs().max())
        found["eager_s"] = gpu_measure.median(lambda: model(dict(data)), host, 3)
        if time.perf_counter() < ends - 30.0:
            try:
                found["compiled_s"] = _compiled(folder, config, data, Path(place) / "model.nequip.pt2", host)
            except Exception as error:  # of a foreign compiler: whatever it is, the figures above stand
                found["compiled_error"] = f"{type(error).__name__}: {str(error)[-500:]}"
    return found


def _here(place: Path, name: str, host: bool) -> tuple[float, torch.Tensor]:
    """Seconds of an evaluation by this program, and forces in eV/Å in the order of ids."""
    from allegro_md.comm import Comm
    from allegro_md.config import load_input
    from allegro_md.exact import FORCE_SCALE
    from allegro_md.models.convert.importer import import_model
    from allegro_md.simulation import Simulation

    import_model(versus_nequip.weights(name), place / f"{name}.allegro")
    source = place / f"{name}.toml"
    text = versus_nequip.INPUT.format(name=name).replace(f"{name}.traj", "system.traj")
    source.write_text(text)
    with gpu_measure.on_device(host):
        config = load_input(source, [] if host else ['potential.device="cuda"'])
        loop = Simulation.from_config(config, Comm.serial(), overwrite=True).loop
        loop.forces(loop.state)
        order = torch.from_numpy(loop.state.host_local("id").argsort())
        forces = torch.from_numpy(loop.state.host_local("force").copy())[order].double() / FORCE_SCALE
        spent = gpu_measure.median(functools.partial(loop.forces, loop.state), host)
    return spent, forces


def _compiled(folder: Path, config: dict[str, Any], data: dict[str, torch.Tensor], package: Path, host: bool) -> float:
    """Seconds of a call of the model compiled by AOTInductor."""
    from nequip.nn.compile import DictInputOutputWrapper
    from nequip.utils.aot import aot_export_model

    device = "cpu" if host else "cuda"
    sizes = {key: torch.export.Dim(f"num_{key}s", min=2) for key in ("node", "edge")}
    batch = {"graph": torch.export.Dim.STATIC, **sizes}
    names = list(nequip_side.INPUTS), list(nequip_side.OUTPUTS)
    model = nequip_side.build(folder, config).to(device)
    aot_export_model(model, device, *names, data, batch, str(package))
    loaded = torch._inductor.aoti_load_package(str(package))
    model = DictInputOutputWrapper(loaded, nequip_side.INPUTS, nequip_side.OUTPUTS)
    return gpu_measure.median(lambda: model(dict(data)), host, 3)
