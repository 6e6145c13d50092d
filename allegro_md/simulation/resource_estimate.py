"""Estimate, before a run starts, of atoms, rank grid, memory of every rank and disk, and a check that they suffice."""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from allegro_md.comm import Comm
from allegro_md.config import Input
from allegro_md.domain.decomposition import Decomposition, choose_grid
from allegro_md.errors import InputError, ResourceError
from allegro_md.io.id_partition import ORDERING, PIECE
from allegro_md.io.structure import SystemBuilder
from allegro_md.launcher import Ranks, ranks_named
from allegro_md.potentials import Potential, descriptions
from allegro_md.reporting import HoldsMemory, Observer, Writes
from allegro_md.simulation.build import Parts, build_observers, build_parts, new_integrator
from allegro_md.simulation.groups import group_fields, supposed_grouping
from allegro_md.simulation.host_info import by_host, cores_of, host_info, resident_memory
from allegro_md.simulation.loop import MOST_VIRIALS
from allegro_md.simulation.peak_memory import measure_peak_memory
from allegro_md.simulation.stages import require_velocities
from allegro_md.state import FIELDS, Field

ROW = sum(field.row_bytes for field in FIELDS.values())
"""Bytes of an local atom in the state."""

GHOST_ROW = ROW - FIELDS["velocity"].row_bytes
"""Of a ghost: the rows of its velocity are never touched."""

LISTED = 8 + 12 + 8
"""Per local atom: offset and reference position of the neighbor list, energy of the last evaluation."""

MIGRATING = 90
"""Per local atom while atoms are made: all that migrates once more, and its owner (there is no neighbor list yet)."""

SAVED = sum(field.row_bytes for field in FIELDS.values() if field.checkpoint)
"""Per atom of a piece (`id_partition.PIECE`) of a checkpoint; the piece before is in memory until this one is whole."""

SAVING = SAVED + 8 + 8 + 2 * FIELDS["velocity"].row_bytes
"""Per atom of a piece that is put in order: it, ids that have arrived and their places, rows sent and received."""

VIRIALS = 48
"""Per local atom whose virial is kept: by the neighbor list until it is made anew, or by the first evaluation."""

CENTROID_VIRIALS = 72
"""Per local atom and ghost, where an observer needs their virials in the centroid form."""

MPI_BYTES = 16e6
"""What MPI takes of a rank, where it is not started to measure it: seen on two ranks of one host, MPICH 5.0."""

MOST_BRICKS, MOST_RANKS = 64, 100_000
"""Bricks looked at to find the one with the most atoms, and ranks tried to find a number that suffices."""

MOST_COUNTED = 10_000_000
"""Atoms of base cells gone through for all bricks together: about a second."""

FEW_ATOMS = 500
"""Per rank, below which `check` says that messages count."""


@dataclass(frozen=True)
class Load:
    """Atoms of one rank: its own, and all it holds with the ghosts."""

    own: int
    held: int


@dataclass(frozen=True)
class _Stage:
    """Needs of a stage of the run.

    Attributes:
        first, last: its steps.
        observers: those that are due in it.
        added: per-atom arrays of its integrator and of the groups.
    """

    first: int
    last: int
    observers: list[Observer]
    added: tuple[Field, ...]


class ResourceEstimate:
    """Needs of an input on any number of ranks.

    Attributes:
        config: the input.
        system: its atoms.
        potential_info: of the potential.
        neighbors: length of an atom's neighbor list, the mean.
        program: bytes of a rank before any atom, the libraries and kernels loaded.
        block: bytes that evaluating the potential takes for a moment, whatever the number of atoms.
        runs: number of runs like this that write to the same disk.
        runs_on_host: of those in the memory of a host at the same time.
        n_ranks: number of ranks of the run.
    """

    def __init__(
        self, config: Input, system: SystemBuilder, potential: Potential, comm: Comm, ranks: Ranks | None = None,
        elsewhere: bool = False,
    ) -> None:
        """Counts atoms and neighbors, and measures what the program itself takes (collective).

        Args:
            config: the input.
            system: its atoms.
            potential: of all terms.
            comm: the ranks that count.
            ranks: of the run, where `comm` is one process that stands for them all; None: those of `comm`.
            elsewhere: the run is to be made on other machines, so that the memory of this one does not matter.
        """
        self.config, self.system = config, system
        self.runs, self.runs_on_host = 1, 1.0
        skin = config.parallel.skin
        self.potential_info, self._copies = potential.info, 2.0 if potential.members else 1.0
        self._halo = potential.info.halo + skin
        self.neighbors = system.neighbors(potential.info.cutoff + skin)
        self._remarks = descriptions(potential)
        self._stages = [self._stage(index, potential, comm) for index in range(len(config.stages))]
        self._comm, self._seen = comm, host_info(comm)
        self._places, self.n_ranks, self._mpi = self._seen, comm.size, 0.0
        if ranks is not None:
            self._places, self.n_ranks = self._seen * ranks.here, ranks.total
            self._mpi = MPI_BYTES if ranks.total > 1 else 0.0
        self._loads: dict[int, Load] = {}
        now, self._most = comm.max(np.array(resident_memory(), dtype=np.float64))
        self.program, self.block = float(now) + self._mpi, 0.0
        if elsewhere or comm.on_root(self._short_of_memory) is None:  # else that is all there is to say, and soon
            with comm.collective_errors():
                after, most = measure_peak_memory(system, potential, skin, self.neighbors)
            measured = comm.max(np.array([after, most - after, most], dtype=np.float64))
            self.program, self.block, self._most = measured + self._mpi * np.array([1.0, 0.0, 1.0])

    def _stage(self, index: int, potential: Potential, comm: Comm) -> _Stage:
        """Builds the parts of a stage: one that does not fit is refused before the run begins.

        Raises:
            InputError: names the stage.
        """
        try:
            return self._built_stage(index, potential, comm)
        except InputError as error:
            raise (error.at(f"stage.{index}.") if self.config.stage else error) from None

    def _built_stage(self, index: int, potential: Potential, comm: Comm) -> _Stage:
        config = self.config
        first = sum(stage.dynamics.steps for stage in config.stages[:index])
        last = first + config.stages[index].dynamics.steps
        observers = chain(*build_observers(config, self.system, potential, comm, index, first))
        dynamics, added = config.stages[index].dynamics, group_fields(config, self.system.fixes_atoms)
        supposed = supposed_grouping(config.group, dynamics, self.system.n_total)
        integrator = new_integrator(Parts(config.of_stage(index), self.system, potential), comm, grouping=supposed)
        require_velocities(config, index, integrator)
        return _Stage(
            first, last, [observer for observer in observers if observer.trigger.count(first, last)],
            (*integrator.fields, *added),
        )  # fmt: skip

    def grid(self, n_ranks: int) -> tuple[int, int, int]:
        """The rank grid."""
        wanted = self.config.parallel.grid
        if not isinstance(wanted, str) and math.prod(wanted) == n_ranks:
            return wanted
        return choose_grid(n_ranks, self.system.cell, *self.system.extent)

    def load(self, n_ranks: int) -> Load:
        """Of the rank that needs most, among `MOST_BRICKS` of them."""
        if n_ranks not in self._loads:
            self._loads[n_ranks] = max(self._bricks(n_ranks), key=self._atom_bytes)
        return self._loads[n_ranks]

    def _bricks(self, n_ranks: int) -> list[Load]:
        decomposition = Decomposition.even(self.grid(n_ranks), self.system.cell.periodic, self._free_cuts)
        width = self._halo / self.system.cell.heights
        loads = []
        n_bricks = max(8, min(MOST_BRICKS, MOST_COUNTED // self.system.n_base))
        for rank in sorted({k * (n_ranks - 1) // (n_bricks - 1) for k in range(n_bricks)}):
            lower, upper = decomposition.brick(rank)
            loads.append(Load(self.system.count(lower, upper), self.system.count(lower - width, upper + width)))
        return loads

    def _free_cuts(self, axis: int, n: int) -> NDArray[np.float64]:
        """Finds the (n − 1,) fractional planes with as many atoms between each two along a free axis."""
        return np.array([self._plane(axis, k * self.system.n_total / n) for k in range(1, n)])

    def _plane(self, axis: int, wanted: float) -> float:
        """Finds the lowest plane across a free axis with so many atoms below it."""
        low, high = (float(bound[axis]) for bound in self.system.extent)
        for _ in range(40):
            middle = 0.5 * (low + high)
            if self._below(axis, middle) < wanted:
                low = middle
            else:
                high = middle
        return high

    def memory(self, n_ranks: int) -> float:
        """Largest memory of a rank at any time, bytes."""
        return max(self._most, self.program + self._atom_bytes(self.load(n_ranks)))

    def _atom_bytes(self, load: Load) -> float:
        """Per-atom data of a rank, and what comes on top of it at the worst moment."""
        return max(self._stage_bytes(load, stage) for stage in self._stages)

    def _stage_bytes(self, load: Load, stage: _Stage) -> float:
        """The same for one stage."""
        row = ROW + sum(field.row_bytes for field in stage.added)
        state = row * load.own + (GHOST_ROW + 8) * (load.held - load.own)
        lists = (LISTED + 4.0 * self.neighbors) * load.own
        piece = min(load.own, PIECE)
        at_start = VIRIALS * self._copies if load.own <= MOST_VIRIALS else 0.0  # one by one, for the certificate
        holders = [observer for observer in stage.observers if isinstance(observer, HoldsMemory)]
        held = sum(observer.bytes_held(load.own) for observer in holders)
        virials = self.potential_info.virial_bytes * load.own
        at_start = max(0.0, at_start * load.own - virials)
        if any("centroid_virial" in observer.needs for observer in stage.observers):
            held += CENTROID_VIRIALS * self._copies * load.held
        packed = self.potential_info.bytes_per_atom * load.held
        moments = (
            MIGRATING * load.own - lists - virials,
            SAVING * piece + SAVED * min(PIECE, load.own - piece) + ORDERING * load.own,
            sum(observer.bytes_while_called(load.own) for observer in holders) + at_start,
            packed + self.block + at_start,
        )
        return state + lists + virials + held + max(moments)

    def _most_of_observers(self, n_ranks: int) -> tuple[str, float]:
        """Name and bytes of the observer that needs most; "" and 0 if none needs any."""
        own = self.load(n_ranks).own
        observers = chain(*(stage.observers for stage in self._stages))
        holders = [observer for observer in observers if isinstance(observer, HoldsMemory)]
        sizes = [(observer.bytes_held(own) + observer.bytes_while_called(own), observer.name) for observer in holders]
        size, name = max(sizes, default=(0.0, ""))
        return name, size

    def _below(self, axis: int, plane: float) -> int:
        """Atoms below a plane across a free axis."""
        periodic = np.array(self.system.cell.periodic)
        upper = np.where(periodic, 1.0, np.inf)
        upper[axis] = plane
        return self.system.count(np.where(periodic, 0.0, -np.inf), upper)

    def rows(self, n_ranks: int) -> dict[str, str]:
        """Describes a run on a number of ranks, line by line."""
        load, grid = self.load(n_ranks), self.grid(n_ranks)
        left = {host: ranks[0]["memory"] for host, ranks in by_host(self._seen).items()}
        here = ", ".join(f"{size_text(memory)} on {host}" for host, memory in left.items() if memory is not None)
        cores = sum(len(cores_of(ranks)) for ranks in by_host(self._seen).values())
        if not self._places and n_ranks > cores:
            here = f"not compared: {ranks_named(n_ranks)} are more than the {cores} cores here"
        elif here and len(self._places) < n_ranks:
            here += f", enough for {int(min(filter(None, left.values())) / self.memory(n_ranks))} such ranks"
        few = "; messages take much of a step then: see allegro-md plan" if n_ranks > 1 and load.own < FEW_ATOMS else ""
        return {
            **self._remarks,
            "atoms": str(self.system.n_total),
            "rank grid": f"{grid[0]} x {grid[1]} x {grid[2]} ({ranks_named(n_ranks)})",
            "atoms per rank": f"at most {load.own}, and {load.held - load.own} ghosts{few}",
            "neighbors per atom within cutoff + skin": f"{self.neighbors:.1f}",
            "memory per rank": f"{size_text(self.memory(n_ranks))}, {size_text(self.program)} of it the program",
            "memory available": here or "unknown",
            "disk": f"{size_text(self.disk())}, {size_text(free_disk(self.config.output.directory))} are free",
        }

    def require(self, first_step: int = 0, replaces: bool = False) -> None:
        """Refuses a run on all ranks of the communicator that cannot be (collective; the same on all ranks).

        Args:
            first_step: first step of the run.
            replaces: the run directory is overwritten.

        Raises:
            ResourceError: memory or disk is too small; names what would fit.
        """
        self.require_memory()
        if complaint := self._comm.on_root(lambda: self._short_of_disk(first_step, replaces)):
            raise ResourceError(complaint)

    def require_memory(self) -> None:
        """Refuses a system that does not fit into the memory of these ranks (collective; the same on all ranks).

        Raises:
            ResourceError: it does not; names what would fit.
        """
        if complaint := self._comm.on_root(self._short_of_memory):
            raise ResourceError(complaint)

    def disk(self, first_step: int = 0) -> float:
        """Samples of all observers from a step on, and checkpoints, bytes."""
        n_atoms, kept = self.system.n_total, max(stage.output.checkpoint.keep for stage in self.config.stages)
        saved = max(
            sum(field.row_bytes for field in (*FIELDS.values(), *stage.added) if field.checkpoint)
            for stage in self._stages
        )
        total = float((kept + 1) * n_atoms * saved)
        for stage in self._stages:
            for observer in stage.observers:
                if isinstance(observer, Writes):
                    samples = observer.trigger.count(max(first_step, stage.first), stage.last)
                    total += samples * observer.bytes_per_sample(n_atoms)
        return total

    def _short_of_disk(self, first_step: int, replaces: bool) -> str | None:
        """The complaint when what will be written does not fit."""
        directory = self.config.output.directory
        free, needed = free_disk(directory) + (_size(directory) if replaces else 0), self.runs * self.disk(first_step)
        if needed <= free:
            return None
        return (
            f"{directory}: {size_text(needed)} will be written, but {size_text(free)} of the disk are free — raise "
            "output.trajectory.every, write fewer fields, or choose an output.directory on a larger disk"
        )

    def _short_of_memory(self) -> str | None:
        """The complaint when the ranks of a host need more than it has left, and what would fit."""
        n_ranks, n_atoms = self.n_ranks, self.system.n_total
        needed = self.memory(n_ranks)
        for host, ranks in by_host(self._places).items():
            left = ranks[0]["memory"]
            if left is None or self.runs_on_host * len(ranks) * (needed - ranks[0]["resident"]) <= left:
                continue
            share = left / (self.runs_on_host * len(ranks)) + ranks[0]["resident"]  # of one rank
            complaint = (
                f"{n_atoms} atoms on {ranks_named(n_ranks)} need {size_text(needed)} of memory per rank, but on {host} "
                f"{ranks_named(len(ranks))} can have {size_text(share)} each — "
            )
            name, taken = self._most_of_observers(n_ranks)
            if taken > 0.5 * needed:
                return complaint + f"{size_text(taken)} of it are for '{name}': shorten its range, or the like"
            if share <= self.program:
                return complaint + f"use at most {ranks_named(max(1, int(left / self.program)))} per host"
            fitting = 0.9 * n_atoms * (share - self.program) / (needed - self.program)
            complaint += f"at most {_rounded(fitting)} atoms fit there; "
            wanted = self._ranks_for(share)
            if wanted is None:
                tried = min(self.system.n_total, MOST_RANKS)
                return complaint + f"not even {ranks_named(tried)} would do: fewer atoms, or a shorter cutoff"
            hosts = -(-wanted // len(ranks))
            return complaint + (
                f"all fit on about {ranks_named(hosts * len(ranks))} with as much memory each, {len(ranks)} per host"
            )
        return None

    def _ranks_for(self, share: float) -> int | None:
        """Number of ranks at which the memory of each is at most `share` (bytes); None if no number is enough."""
        n_ranks = self.n_ranks
        while n_ranks < min(self.system.n_total, MOST_RANKS):
            excess = (self.memory(n_ranks) - self.program) / (share - self.program)
            if excess <= 1.0:
                return n_ranks
            n_ranks = math.ceil(n_ranks * max(1.05, excess))
            n_ranks += n_ranks % 2  # a prime number of ranks can only be cut into slabs
        return None


def estimate_resources(config: Input, comm: Comm, ranks: Ranks | None = None) -> ResourceEstimate:
    """The plan of an input (collective); `ranks` as of `ResourceEstimate`.

    Raises:
        InputError: the system or its potential cannot be made.
    """
    parts = build_parts(config, comm)
    return ResourceEstimate(parts.config, parts.system, parts.potential, comm, ranks)


def free_disk(directory: Path) -> float:
    """Bytes free where a directory is or would be made; infinite where the file system does not count them."""
    there = next(folder for folder in (directory, *directory.parents) if folder.exists())
    usage = shutil.disk_usage(there)
    return usage.free if usage.total else math.inf


def _size(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def size_text(size: float) -> str:
    """Bytes for people."""
    if math.isinf(size):  # a file system that does not count them
        return "an unknown number of bytes"
    power = min(5, max(2, int(math.log10(max(size, 1.0)) // 3)))
    return f"{size / 1e3**power:.4g} {'kMGTP'[power - 1]}B"


def _rounded(number: float) -> int:
    """Down to two digits."""
    digits = 10 ** max(0, len(str(int(number))) - 2)
    return int(number) // digits * digits
