"""Evaluations in parts while messages travel, and as a whole: what comes out, for the test to compare.

mpirun -n 2 python overlap.py out.npz NAME …
"""

from __future__ import annotations

import faulthandler
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import host_build
import numpy as np
import torch
from numpy.typing import NDArray
from systems import INPUTS, NETWORKS, grid_points, spread, thermal

from allegro_md.backends import BACKENDS
from allegro_md.comm import Comm
from allegro_md.errors import PhysicsError
from allegro_md.integrators.nve import VelocityVerlet
from allegro_md.models.allegro.architecture import parse_architecture
from allegro_md.models.allegro.network import Network
from allegro_md.potentials import parts
from allegro_md.potentials.allegro import AllegroPotential
from allegro_md.potentials.committee import Committee
from allegro_md.potentials.eam import Eam
from allegro_md.potentials.eam_file import read_eam
from allegro_md.potentials.fused import FusedPotential
from allegro_md.potentials.lj import LennardJones
from allegro_md.potentials.sum import SumPotential
from allegro_md.potentials.zbl import Zbl
from allegro_md.simulation.forces import ForceEvaluator
from allegro_md.simulation.loop import StepLoop
from allegro_md.state import AtomState, SpeciesTable, on_host
from allegro_md.timers import Timers

GRIDS = {"long": (2, 1, 1), "flat": (1, 2, 1)}
NEVER = 10**9
NEEDS = frozenset({"virial", "virial_per_atom", "centroid_virial"})


def network(kind: str, seed: int = 5) -> Network:
    return Network(parse_architecture(NETWORKS[kind])).initialize(seed)


def made(name: str, comm: Comm) -> tuple[Any, Any]:
    """A potential, and a hot system in a box that is longer than it is wide."""
    x = grid_points((16, 7, 6), 2.6, 0.1, 51)
    rows = np.array([[41.6, 0.0, 0.0], [2.0, 18.2, 0.0], [0.0, -3.0, 15.6]])
    symbols = ("Ag",) if name == "eam" else ("Cu", "Ni")
    state = spread(x, rows, (True,) * 3, comm, thermal(len(x), 10.0, 2000.0, 52), 10.0, symbols=symbols)
    one = np.ones((2, 2))
    lj, zbl = LennardJones(0.1 * one, 2.3 * one, 3.6), Zbl(np.array([29, 28]), 2.4)
    if name in NETWORKS:
        return state, SumPotential([FusedPotential(network(name), symbols, tiles=1), zbl, lj])
    if name == "eam":
        table = SpeciesTable(symbols, np.array([47]), np.array([107.9]))
        return state, Eam(read_eam(INPUTS / "potentials" / "ag-sutton-chen.eam.alloy"), table)
    networks = [network("bilinear", seed) for seed in (5, 6, 7)]
    choices: dict[str, Any] = {
        "lj": lambda: lj, "sum": lambda: SumPotential([lj, zbl]),
        "reference": lambda: AllegroPotential(networks[0], symbols, "double", tiles=1),
        "committee": lambda: Committee(networks, symbols),
        "committee in a sum": lambda: SumPotential([Committee(networks, symbols), lj]),
    }  # fmt: skip
    return state, choices[name]()


ON_DEVICE = ("lj", "reference", "bilinear") if host_build.available() else ("reference",)
"""Evaluated once more with all atoms in the memory of another device; pair potentials by kernels of GPUs."""

NAMES = ("lj", "sum", "reference", "bilinear")
MORE = ("eam", "committee in a sum", "committee", "single-layer", "multi-layer")
"""Those that take long, or whose kernels take long to compile."""


def by_id(state: Any, values: dict[str, Any], comm: Comm) -> dict[str, Any]:
    """Values of all atoms in id order."""
    told = comm.allgather({"id": state.host_local("id").copy()} | values)
    order = np.argsort(np.concatenate([part["id"] for part in told]))
    return {name: np.concatenate([part[name] for part in told])[order] for name in values}


def on_device(state: AtomState) -> AtomState:
    """The same atoms on a "device": tensors, which `device_memory` keeps apart from arrays of the host."""
    other = AtomState(state.cell, state.species_table, state.n_total, "cpu:0")
    rows = {name: np.array(state.host_local(name)) for name, field in state.fields.items() if field.migrates}
    other.set_local({name: other.device_array(values) for name, values in rows.items()})
    return other


@contextmanager
def device_memory() -> Iterator[None]:
    """Within: what runs on the host gets copies of tensors, as if these were on another device."""
    with ExitStack() as stack:
        stack.enter_context(mock.patch.dict(BACKENDS, cpu="plain_torch"))
        stack.enter_context(host_build.on_host())
        for module in ("state", "evaluation", *(f"potentials.{name}" for name in ("base", "allegro"))):
            stack.enter_context(mock.patch(f"allegro_md.{module}.on_host", copied))
        yield


def copied(values: Any) -> NDArray[Any]:
    """What `on_host` gives of another device; arrays of the host as they are."""
    return values if isinstance(values, np.ndarray) else values.clone().numpy()


def run(
    name: str, comm: Comm, least: int, grid: tuple[int, int, int] | None, device: bool = False
) -> dict[str, Any]:
    """Some steps, then an evaluation of everything."""
    state, potential = made(name, comm)
    state = on_device(state) if device else state
    comm.timers = timers = Timers()
    forces = ForceEvaluator(potential, comm, 0.3, grid, timers, None, least)
    loop = StepLoop(state, forces, VelocityVerlet(2.0, 3 * state.n_total - 3), comm, timers)
    loop.start()
    loop.advance(4)
    timers.counts.clear()
    forces(state)
    messages = sum(kinds["messages"] for kinds in timers.counts.values())
    result = forces(state, (NEEDS | {"force_std"}) & (potential.info.provides | {"force_std"}))
    assert result.virial is not None
    values = {key: np.array(on_host(value)) for key, value in result.per_atom.items()}
    values |= {key: state.host_local(key).copy() for key in ("position", "velocity", "force")}
    found = by_id(state, values, comm) | {"total": comm.reduce(result.virial)}
    inside = comm.allgather(forces.n_interior)
    return found | {"inside": np.array(inside), "rebuilds": forces.rebuilds, "messages": messages}


def failing(comm: Comm) -> list[str]:
    """What all ranks say of a potential that fails on the last one, in its first, second and last part."""
    said = []
    for wrong in (1, 4, 6):
        state, potential = made("lj", comm)
        forces = ForceEvaluator(potential, comm, 0.3, None, Timers(), None, 1)
        forces(state)
        calls: list[int] = []
        kernel = sys.modules["allegro_md.potentials.lj"].lj  # type: ignore[attr-defined]

        def fails(*arguments: Any, wrong: int = wrong, calls: list[int] = calls, kernel: Any = kernel) -> int:
            calls.append(1)
            if comm.rank == comm.size - 1 and len(calls) == wrong:
                raise PhysicsError(f"part {wrong} failed", [3])
            return int(kernel(*arguments))

        state.host_local("position")[...] += 0.01
        with mock.patch("allegro_md.potentials.lj.lj", fails):
            try:
                forces(state)
            except PhysicsError as error:
                said.append(str(error))
    return said


def main() -> None:
    torch.set_num_threads(1)
    sys.path.append(str(Path(__file__).parents[1] / "proofs"))
    faulthandler.register(signal.SIGTERM, chain=True)
    comm = Comm.world()
    results: dict[str, Any] = {}
    with mock.patch.object(parts, "CHUNK", 40):
        for name in sys.argv[2:]:
            ways = {"alone": (NEVER, None)} if comm.size == 1 else {
                "whole": (NEVER, None), **{kind: (1, grid) for kind, grid in GRIDS.items()}
            }  # fmt: skip
            for way, (least, grid) in ways.items():
                for key, value in run(name, comm, least, grid).items():
                    results[f"{name}/{way}/{key}"] = value
            if comm.size > 1 and name in ON_DEVICE:
                with device_memory():
                    for key, value in run(name, comm, *ways["long"], device=True).items():
                        results[f"{name}/device/{key}"] = value
        results["said"] = comm.allgather(failing(comm)) if comm.size > 1 else []
    if comm.rank == 0:
        np.savez(sys.argv[1], **results)


if __name__ == "__main__":
    main()
