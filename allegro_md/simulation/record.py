"""``run.json``: what ran where, with what, for how long, and how it ended."""

from __future__ import annotations

import hashlib
import os
import resource
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from allegro_md.config import Input
from allegro_md.domain.balance import BalanceRecord, measured_seconds
from allegro_md.simulation.loop import StepLoop
from allegro_md.simulation.traffic import communication
from allegro_md.versions import installed


def file_digests(files: Sequence[Path]) -> list[str]:
    """SHA-256 of the model and table files of the potential, in the order of its terms."""
    return ["sha256:" + hashlib.sha256(path.read_bytes()).hexdigest() for path in files]


def physics(config: Input, digests: list[str]) -> dict[str, Any]:
    """Entries that must not change when a run continues, as flat keys: files by content, no lengths but that of a ramp.

    The engine of a model must be settled: what "auto" is may change with the program.
    """
    tables = config.as_dict()
    fixed: dict[str, Any] = {"files": digests}
    for index, term in enumerate(tables["potential"]):
        for key, value in term.items():
            if key not in ("model", "committee", "file", "device"):
                fixed[f"potential.{index}.{key}"] = value
    for index, stage in enumerate(config.stages):
        prefix, dynamics = "", tables.get("dynamics")
        if dynamics is None:
            prefix, dynamics = f"stage.{index}.", tables["stage"][index]["dynamics"]
            fixed[f"{prefix}end"] = tables["stage"][index]["end"]
            fixed[f"{prefix}velocities"] = tables["stage"][index].get("velocities")
        for key, value in dynamics.items():
            if value == [] or (key == "remove_momentum" and value):  # defaults; earlier versions lack them
                continue
            if key != "steps" or stage.dynamics.is_ramped:
                fixed[f"{prefix}dynamics.{key}"] = value
    for index, group in enumerate(tables["group"]):
        fixed |= {f"group.{index}.{key}": value for key, value in group.items()}
    if config.system.constraints != "honor":  # the default, and not in checkpoints of earlier versions
        fixed["system.constraints"] = config.system.constraints
    return fixed


def describe(
    config: Input, digests: list[str], loop: StepLoop, places: Sequence[dict[str, Any]], status: str, began: float,
    cpu_began: float,
) -> dict[str, Any]:
    """The content of ``run.json`` (collective).

    Args:
        config: the input.
        digests: of its files, when they were read.
        loop: the state so far.
        places: see `host_info`.
        status: "running", "done", or what ended it.
        began: time of the start, seconds since the epoch.
        cpu_began: CPU time of this process at that time, s.
    """
    comm, forces = loop.comm, loop.forces
    here = {
        "pid": os.getpid(),
        "device": str(loop.state.device),
        "atoms": loop.state.n_local,
        "peak_memory_MB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "seconds": {name: round(value, 3) for name, value in loop.timers.seconds.items()},
        "cpu_s": round(time.process_time() - cpu_began, 3),
        "potential_cpu_ms": round(1e3 * forces.costs.typical, 4),
    }
    counts = comm.allgather({phase: dict(kinds) for phase, kinds in comm.timers.counts.items()})
    return {
        "status": status,
        "step": loop.step,
        "began": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(began)),
        "wall_s": round(loop.wall, 3),
        "units": "eV, Å, fs, amu, K, GPa",
        "system": _system(loop),
        "degrees_of_freedom": loop.integrator.degrees_of_freedom,
        "input": config.as_dict(),
        "versions": installed(),
        "model_digests": digests,
        "rank_grid": None if forces.decomposition is None else list(forces.decomposition.grid),
        "ranks": [
            {key: place[key] for key in ("host", "cores", "threads")} | rank
            for place, rank in zip(places, comm.allgather(here), strict=True)
        ],
        "communication": communication(counts),
        "balance": None if comm.size == 1 else _balance(loop).as_dict(),
        "rebuilds": forces.rebuilds,
        "migrations": int(comm.sum(np.array([forces.migrations]))[0]),
        "bit_exact": forces.potential.info.bit_exact,
    }


def _balance(loop: StepLoop) -> BalanceRecord:
    """The account of balancing, with the latest times; the same figures where it is off (collective)."""
    comm, forces = loop.comm, loop.forces
    atoms = np.array(comm.allgather(loop.state.n_local))
    uneven = float(atoms.max() / max(atoms.mean(), 1e-300))
    found = BalanceRecord(even=uneven, off=True) if forces.balancer is None else forces.balancer.record
    seconds = measured_seconds(forces.costs, comm)
    if seconds is not None:
        found.note(seconds)
    return found


def _system(loop: StepLoop) -> dict[str, Any]:
    """The atoms and the cell at the present step (collective)."""
    state, table = loop.state, loop.state.species_table
    species = state.host_local("species")
    counts = loop.comm.sum(np.bincount(species, minlength=len(table.symbols)).astype(np.int64))
    elements = dict.fromkeys(table.symbols, 0)
    for symbol, count in zip(table.symbols, counts.tolist(), strict=True):
        elements[symbol] += count
    return {
        "atoms": state.n_total,
        "elements": elements,
        "mass_amu": float(counts @ table.masses),
        "cell": state.cell.given_rows.tolist(),
        "periodic": list(state.cell.periodic),
    }
