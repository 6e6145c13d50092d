"""Engines that are wrong on purpose, each in one way, and what the physics certificate says of them.

mpirun -n 2 python faults.py FOLDER out.json [NAME …]

FOLDER holds the inputs; every fault names the one it shows in, whether the cheap part is enough to find it, and the
check that should.
"""

from __future__ import annotations

import faulthandler
import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from mutants import FloatSum, _float_reduce, wrap_in_place
from numpy.typing import NDArray

from allegro_md.backends.cpu import domain, lists
from allegro_md.cell import Cell
from allegro_md.comm import Comm
from allegro_md.config import load_input
from allegro_md.domain.decomposition import Decomposition
from allegro_md.domain.halo import HaloExchange
from allegro_md.evaluation import Evaluation, Needs
from allegro_md.exact import FORCE_SCALE, ExactSum
from allegro_md.integrators.nve import VelocityVerlet
from allegro_md.integrators.steps import drift, kick
from allegro_md.kernels.fixed import FINE
from allegro_md.models.fused.tables import Tables
from allegro_md.potentials import allegro, build_potential, eam, lj
from allegro_md.simulation import certificate
from allegro_md.simulation.build import Parts, build_structure, create_atoms, new_integrator
from allegro_md.simulation.forces import ForceEvaluator
from allegro_md.simulation.loop import StepLoop
from allegro_md.state import AtomState
from allegro_md.timers import Timers

SMALL = certificate.Effort(samples=16, per_rank=3, seconds=30.0, slow=60.0, thorough=True)


def changed_result(potential: Any, change: Callable[[Any, Any, Evaluation], Evaluation]) -> Any:
    """The potential with something done to what it returns."""
    right = potential.__call__

    def wrong(self: Any, state: Any, lists: Any, needs: Needs) -> Evaluation:
        return change(self, state, right(self, state, lists, needs))

    return mock.patch.object(potential, "__call__", wrong)


def weighted_virial(weights: list[float]) -> Callable[[Any, Any, Evaluation], Evaluation]:
    def change(self: Any, state: Any, result: Evaluation) -> Evaluation:
        if result.virial is None:
            return result
        limbs = result.virial.limbs * np.array(weights, dtype=np.int64)[:, None]
        result.totals["virial"] = replace(result.virial, limbs=limbs)
        if result.virial_per_atom is not None:
            result.per_atom["virial_per_atom"] = result.virial_per_atom * np.array(weights)
        return result

    return change


def with_energy(result: Evaluation, energy: NDArray[np.float64]) -> Evaluation:
    result.per_atom["energy"] = energy
    return result


def shifted(self: Any, state: Any, result: Evaluation) -> Evaluation:
    return with_energy(result, result.per_atom["energy"] + 0.01)


def by_parity(self: Any, state: Any, result: Evaluation) -> Evaluation:
    return with_energy(result, result.per_atom["energy"] * (1.0 + 1e-4 * (state.host_local("id") % 2)))


def remembering() -> Callable[[Any, Any, Evaluation], Evaluation]:
    calls = [0]

    def change(self: Any, state: Any, result: Evaluation) -> Evaluation:
        calls[0] += 1
        return with_energy(result, result.per_atom["energy"] + 1e-9 * calls[0])

    return change


def rough(self: Any, state: Any, result: Evaluation) -> Evaluation:
    """The float32 network worse than float32 is."""
    if self._evaluate._dtype == torch.float32:
        force = state.all("force")
        force.copy_(torch.round(force.double() * 1.0005).long())
    return result


def corner_lost(right: Any) -> Any:
    """Atoms near an edge or a corner of a brick never go to the ranks beyond it."""

    def within(state: Any, inner: Any, boxes: Any) -> Any:
        middle, half = inner.mean(axis=0), 0.5 * (inner[1] - inner[0])
        beyond = (np.abs(boxes.mean(axis=1) - middle) > half).sum(axis=1)
        return right(state, inner, np.where((beyond > 1)[:, None, None], np.inf, boxes))

    return within


def first_images(right: Any) -> Any:
    """Of all periodic images only the next ones are found."""

    def images(self: Any, rank: int, width: Any) -> Any:
        found = right(self, rank, width)
        return found[(np.abs(found[:, 1:]) <= 1).all(axis=1)]

    return images


def other_table(right: Any) -> Any:
    """Forces and virials from an EAM table whose pair part is a thousandth off, energies from the right one."""

    def kernel(*arguments: Any) -> int:
        *head, functions, out = arguments
        right(*head, functions, out._replace(force=np.zeros_like(out.force)))
        off = functions.pairs.copy()
        off[..., 4:] *= 1.001
        return int(right(*head, functions._replace(pairs=off), out._replace(energy=np.empty_like(out.energy))))

    return kernel


def stretched(right: Any) -> Any:
    """Distances along z count a little more: forces and energies agree with each other, but space has a direction."""

    def kernel(atoms: Any, pairs: Any, rows: Any, *rest: Any) -> int:
        scale, packed = np.array([1.0, 1.0, 1.001]), rows.copy()
        packed[:, 2] *= 1.001
        changed = atoms._replace(position=atoms.position * scale, cell=atoms.cell * scale)
        status = right(changed, pairs, packed, *rest)
        force = rest[-1].force
        force[:, 2] = np.rint(force[:, 2] * 1.001)
        return int(status)

    return kernel


def handed(right: Any) -> Any:
    """A world that is not its own mirror image."""

    def kernel(atoms: Any, *rest: Any) -> int:
        status = right(atoms, *rest)
        rest[-1].energy[:] *= 1.0 + 1e-5 * np.sign(np.linalg.det(atoms.cell))
        return int(status)

    return kernel


def floating(right: Any) -> Any:
    """Forces added up in float64, in the order the atoms are in, as an ordinary program does."""

    def kernel(atoms: Any, pairs: Any, *rest: Any) -> int:
        *head, parameters, out = rest
        i, j = np.repeat(np.arange(len(pairs.offsets) - 1), np.diff(pairs.offsets)), pairs.neighbors
        d = (atoms.position[j] - atoms.position[i]) + (atoms.shift[j] - atoms.shift[i]) @ atoms.cell
        r2 = (d * d).sum(axis=1)
        i, j, d, r2 = (each[r2 < parameters.cutoff2] for each in (i, j, d, r2))
        a, b = parameters.table[0, 0, :2]
        pull = 0.5 * ((6.0 * b - 12.0 * a / r2**3) / r2**4)[:, None] * d
        total = np.zeros(out.force.shape)
        np.add.at(total, i, pull)
        np.subtract.at(total, j, pull)
        out.force[:] += np.rint(total * FORCE_SCALE).astype(np.int64)
        return int(right(atoms, pairs, *head, parameters, out._replace(force=np.zeros_like(out.force))))

    return kernel


def one_end(first: int, n_edges: int, block: Any, gradient: Any, force: Any, virial: Any) -> int:
    """Newton's third law forgotten: nothing is added to the neighbor."""
    vector, center, _ = block
    fixed = np.rint(gradient[:n_edges] * FORCE_SCALE).astype(np.int64)
    np.add.at(force, first + center[:n_edges], fixed)
    for v, (a, b) in enumerate([(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)] if len(virial) else []):
        symmetric = 0.5 * (vector[:n_edges, a] * gradient[:n_edges, b] + vector[:n_edges, b] * gradient[:n_edges, a])
        np.subtract.at(virial[:, v], center[:n_edges], symmetric)
    return FINE


def short_sighted(right: Any) -> Any:
    def build_pairs(position: Any, shift: Any, ids: Any, cell: Any, n_centers: int, distance: float) -> Any:
        return right(position, shift, ids, cell, n_centers, distance - 1.2)

    return build_pairs


def first_order(self: Any, state: Any, forces: Any, clock: Any) -> Evaluation:
    """The forces of the step's beginning for all of it."""
    kick(state, clock.dt)
    drift(state, clock.dt)
    evaluation: Evaluation = forces(state, self.needs)
    return evaluation


def model_order(right: Any) -> Any:
    def init(self: Any, *arguments: Any, **options: Any) -> None:
        right(self, *arguments, **options)
        self._species = np.arange(len(self._species))

    return init


def tables(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Tables (pairs, intervals, 4, columns) that become wrong after their error was measured."""

    def patched(right: Any) -> Any:
        def init(self: Any, *model: Any) -> None:
            right(self, *model)
            self.table = change(self.table)

        return init

    return patched


def dented(relative: float) -> Callable[[Any], Any]:
    """Half of the radial functions are off where the nearest neighbors are."""

    def change(table: Any) -> Any:
        at = int(2.6 / 4.5 * table.shape[1])
        table[:, at - 20 : at + 20, :, : table.shape[3] // 2] *= 1.0 + relative
        return table

    return change


def untilted(cell: Cell) -> Any:
    """Fractional coordinates as in a box with right angles."""
    return np.diag(1.0 / np.diag(cell.matrix))


def narrow(right: Any) -> Any:
    """Neighbors are dropped where the envelope is not yet zero."""

    def init(self: Any, *arguments: Any, **options: Any) -> None:
        right(self, *arguments, **options)
        self._cutoff2 = 0.7 * self._cutoff2

    return init


@dataclass(frozen=True)
class Fault:
    """patches: made when the fault is; check: which should find it; start: whether the cheap part is enough."""

    input: str
    check: str
    patches: Callable[[], list[Any]]
    start: bool = True
    ranks: tuple[int, ...] = (1,)


def never_renewed(build: Callable[..., Any]) -> Callable[..., Any]:
    """Ghosts stay where they were when the halo was built."""

    def built(*arguments: Any) -> Any:
        halo = build(*arguments)
        halo.begin_forward, halo.end_forward = (lambda values: None), (lambda: None)
        return halo

    return built


def patch(owner: Any, name: str, make: Callable[[Any], Any]) -> Callable[[], list[Any]]:
    return lambda: [mock.patch.object(owner, name, make(getattr(owner, name)))]


def result_of(potential: Any, change: Any) -> Callable[[], list[Any]]:
    return lambda: [changed_result(potential, change)]


def float_reduce() -> list[Any]:
    return [mock.patch.object(ExactSum, "of", staticmethod(FloatSum)), mock.patch.object(Comm, "reduce", _float_reduce)]


BOTH = (1, 2)
FAULTS: dict[str, Fault] = {
    "virial-sign": Fault("lj", "virial", result_of(lj.LennardJones, weighted_virial([1, 1, 1, 1, -1, 1])), ranks=BOTH),
    "virial-diagonal": Fault("eam", "virial", result_of(eam.Eam, weighted_virial([1, 1, 1, 0, 0, 0]))),
    "stale-halo": Fault(
        "lj", "environment", patch(HaloExchange, "build", lambda build: staticmethod(never_renewed(build))), ranks=BOTH
    ),
    "lost-corner": Fault("lj", "environment", patch(domain, "within", corner_lost), ranks=BOTH),
    "missing-image": Fault(
        "small", "environment", patch(Decomposition, "images", first_images), ranks=BOTH
    ),
    "lost-reverse": Fault(
        "allegro", "environment",
        lambda: [mock.patch.object(HaloExchange, name, lambda *a: None) for name in ("begin_reverse", "end_reverse")],
        ranks=BOTH,
    ),
    "short-list": Fault("lj", "environment", patch(lists, "build_pairs", short_sighted), ranks=BOTH),
    "cell-inverse": Fault(
        "tilted", "environment", lambda: [mock.patch.object(Cell, "inverse", property(untilted))], ranks=BOTH
    ),
    "wrong-table": Fault("eam", "force", patch(eam, "eam", other_table)),
    "wrong-shift": Fault("allegro", "test vector", result_of(allegro.AllegroPotential, shifted)),
    "wrong-species": Fault("species", "test vector", patch(allegro.AllegroPotential, "__init__", model_order)),
    "one-end": Fault("allegro", "force", patch(allegro, "spread_block", lambda f: one_end)),
    "float-forces": Fault("lj", "net force", patch(lj, "lj", floating), ranks=BOTH),
    "float-reduce": Fault("eam", "rebuild", float_reduce, start=False),
    "float-reduce-ranks": Fault("eam", "ranks", float_reduce, start=False, ranks=(2,)),
    "wrapped-in-place": Fault("lj", "wrapping", patch(domain, "assign_owners", wrap_in_place), start=False, ranks=BOTH),
    "hidden-state": Fault("lj", "repeat", lambda: [changed_result(lj.LennardJones, remembering())]),
    "rough-precision": Fault("allegro", "reference", result_of(allegro.AllegroPotential, rough)),
    "anisotropic": Fault("lj", "rotation", patch(lj, "lj", stretched), start=False),
    "handed": Fault("lj", "reflection", patch(lj, "lj", handed), start=False),
    "names-matter": Fault("lj", "permutation", result_of(lj.LennardJones, by_parity), start=False),
    "first-order": Fault("lj", "drift", patch(VelocityVerlet, "step", lambda f: first_order), start=False),
    "wrong-radial-table": Fault("folded", "reference", patch(Tables, "__init__", tables(dented(1e-3))), ranks=BOTH),
    "rough-radial-table": Fault(
        "folded-double", "reference", patch(Tables, "__init__", tables(dented(1e-4))), ranks=BOTH
    ),
    "wrong-folded-species": Fault(
        "folded-species", "test vector", patch(Tables, "__init__", tables(lambda table: table[::-1].copy()))
    ),
    "narrow-envelope": Fault("allegro", "cutoff", patch(allegro.AllegroPotential, "__init__", narrow), start=False),
}


@contextmanager
def made(fault: Fault | None) -> Iterator[None]:
    with ExitStack() as stack:
        for each in fault.patches() if fault else []:
            stack.enter_context(each)
        yield


def looked_at(path: Path, start: bool, fault: Fault | None, comm: Comm) -> dict[str, Any]:
    """The certificate of an input under a fault."""
    config = load_input(path)
    if not start:
        with made(fault):
            return certificate.verify_full(config, comm).as_dict()
    system, timers = build_structure(config.system, comm), Timers()
    state = AtomState(system.cell, system.species_table, system.n_total)
    create_atoms(state, system, config.system, config.parallel, comm)
    with made(fault):
        potential = build_potential(config.potential, state.species_table)
        forces = ForceEvaluator(potential, comm, config.parallel.skin, config.parallel.grid_for(comm.size), timers)
        integrator = new_integrator(Parts(config, system, potential), comm)
        loop = StepLoop(state, forces, integrator, comm, timers)
        loop.start()
        return certificate.verify_start(config, loop).as_dict()


def main() -> None:
    torch.set_num_threads(1)
    faulthandler.register(signal.SIGTERM, chain=True)
    comm, folder = Comm.world(), Path(sys.argv[1])
    chosen = sys.argv[3:] or [name for name, fault in FAULTS.items() if comm.size in fault.ranks]
    jobs: list[tuple[str, str, bool, Fault | None]] = []
    for kind in sorted({FAULTS[name].input for name in chosen}):
        jobs += [(f"right {kind} {part}", kind, part == "start", None) for part in ("start", "full")]
    jobs += [(name, FAULTS[name].input, FAULTS[name].start, FAULTS[name]) for name in chosen]
    found = {}
    with mock.patch.object(certificate, "FULL", SMALL):
        for name, kind, start, fault in jobs:
            began = time.perf_counter()
            found[name] = looked_at(folder / f"{kind}.toml", start, fault, comm)
            if comm.rank == 0:
                failed = [check["name"] for check in found[name]["checks"] if not check["passed"]]
                print(f"{name:20} {time.perf_counter() - began:5.1f} s  {', '.join(failed)}", flush=True)
    if comm.rank == 0:
        Path(sys.argv[2]).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
