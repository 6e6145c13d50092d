"""``checkpoint-STEP.h5``: all that a bit-exact continuation needs, on any number of ranks."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from allegro_md.cell import Cell
from allegro_md.comm import Comm
from allegro_md.errors import InputError, PhysicsError, ResourceError
from allegro_md.io.disk import damage, disk_errors, finish, unfinished
from allegro_md.io.id_partition import IdPartition
from allegro_md.io.layout import Column, lay_out, placements
from allegro_md.state import FIELDS, AtomState, Field, SpeciesTable

FORMAT = 2
BLOCK = 16384
"""Atoms per checksum; a rank's share is a whole number of blocks, so that any number of ranks can check any file."""


def _columns(fields: Iterable[Field]) -> tuple[Column, ...]:
    """The datasets of per-atom fields that checkpoints hold."""
    return tuple(Column(f.name, f.shape, f.dtype.name, f.unit) for f in fields if f.checkpoint)


COLUMNS = _columns(FIELDS.values())
"""Every checkpoint has these; those of fields that a run has added come on top."""

OBSERVER, SEPARATOR = "observer:", ":"
"""Datasets of observers are called observer:NAME:KEY; a name holds no colon."""

ObserverRows = Mapping[str, Mapping[str, NDArray[Any]]]
"""Observer → name → rows of the ids of a rank, of any dtype."""

NO_ROWS: ObserverRows = {}

_NAME = re.compile(r"checkpoint-(\d+)\.h5")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that has passed its checksums, and this rank's share of its atoms.

    Attributes:
        path: the file.
        step: time step.
        n_total: atoms of the whole system.
        cell: at that step.
        species_table: meaning of ``species``.
        extras: what was handed to `write_checkpoint`.
        slab: per field of `COLUMNS`, and of those that the run had added, the rows of this rank's ids, in id order.
        observer_rows: observer → name → rows of this rank's ids, see `reporting.HoldsRows`.
        passed_over: messages about newer checkpoints that are damaged.
    """

    path: Path
    step: int
    n_total: int
    cell: Cell
    species_table: SpeciesTable
    extras: dict[str, Any]
    slab: dict[str, NDArray[Any]]
    observer_rows: dict[str, dict[str, NDArray[Any]]] = field(default_factory=dict)
    passed_over: tuple[str, ...] = ()


def write_checkpoint(
    directory: Path, step: int, state: AtomState, comm: Comm, extras: dict[str, Any], keep: int,
    rows: ObserverRows = NO_ROWS,
) -> Path:
    """Writes a checkpoint beside the older ones, and removes the oldest when the new one is safe; collective.

    Args:
        directory: the run directory.
        step: time step.
        state: the atoms of this rank.
        comm: all ranks of the simulation.
        extras: JSON-like, equal on all ranks: integrator, reporters, digests of the input.
        keep: how many checkpoints remain.
        rows: of observers, each rank those of its ids.

    Raises:
        ResourceError: the disk is full; older checkpoints are untouched.
        TypeError: JSON cannot hold the state of an observer or another entry of `extras`; nothing is written.
    """
    path = checkpoint_path(directory, step)
    save_checkpoint(path, step, state, comm, extras, rows)
    with comm.collective_errors(), disk_errors(path):
        if comm.rank == 0:
            _prune(directory, step, keep)
    return path


def save_checkpoint(
    path: Path, step: int, state: AtomState, comm: Comm, extras: dict[str, Any], rows: ObserverRows = NO_ROWS
) -> None:
    """Writes one checkpoint file, whole or not at all; collective. Arguments and errors as of `write_checkpoint`."""
    if complaint := comm.on_root(lambda: _unsaveable(extras)):
        raise TypeError(complaint)
    part = unfinished(path)
    try:
        with comm.collective_errors(), disk_errors(path):
            if comm.rank == 0:
                for old in path.parent.glob("checkpoint-*.h5.part"):
                    old.unlink()
                lay_out(part, (*_columns(state.fields.values()), *_observer_columns(rows)), state.n_total, 1, 1)
        here = _write_rows(part, path, state, comm) | _write_own(part, path, rows, state, comm)
        digests = _join(comm.allgather(here))
        with comm.collective_errors(), disk_errors(path):
            if comm.rank == 0:
                _write_header(part, _header(step, state, extras, digests))
                finish(path)
    except (InputError, ResourceError, PhysicsError):
        if comm.rank == 0:
            part.unlink(missing_ok=True)
        raise


def _unsaveable(extras: dict[str, Any]) -> str | None:
    """The complaint about the first entry, or state of an observer, that JSON cannot hold."""
    observers = {f"the state of observer '{name}'": state for name, state in extras.get("reporters", {}).items()}
    others = {f"the entry '{key}' of a checkpoint": extras[key] for key in extras if key != "reporters"}
    for name, value in (observers | others).items():
        try:
            json.dumps(value)
        except (TypeError, ValueError) as error:
            return (
                f"{name} cannot be saved ({error}) — its state_dict has to return numbers, texts, lists and dicts "
                "only, equal on all ranks"
            )
    return None


def _write_rows(part: Path, path: Path, state: AtomState, comm: Comm) -> dict[str, list[str]]:
    """Puts this rank's range of ids into the file that was laid out; returns the checksums of its blocks."""
    columns = _columns(state.fields.values())
    digests: dict[str, list[str]] = {c.name: [] for c in columns}
    held = {c.name: state.host_local(c.name) for c in columns}
    slabs = IdPartition(state.n_total, comm, BLOCK)
    with ExitStack() as stack:
        with comm.collective_errors(), disk_errors(path):
            where = placements(part, columns)
            file = stack.enter_context(open(part, "r+b", buffering=0))
        for first, rows, _ in slabs.pieces(held["id"], {name: values.__getitem__ for name, values in held.items()}):
            with comm.collective_errors(), disk_errors(path):
                for column in columns:
                    where[column.name].write(file.fileno(), 0, first, rows[column.name])
                    digests[column.name] += _digests(rows[column.name])
        with comm.collective_errors(), disk_errors(path):
            os.fsync(file.fileno())
    return digests


def _observer_columns(rows: ObserverRows) -> list[Column]:
    """The datasets of observers, by the rows of this rank, of which there may be none."""
    return [
        Column(f"{OBSERVER}{name}{SEPARATOR}{key}", values.shape[1:], values.dtype.name)
        for name, parts in rows.items()
        for key, values in parts.items()
    ]


def _write_own(
    part: Path, path: Path, rows: ObserverRows, state: AtomState, comm: Comm
) -> dict[str, list[str]]:
    """Writes the rows of observers, which are those of this rank's ids already; returns the checksums of blocks."""
    columns = _observer_columns(rows)
    values = [array for parts in rows.values() for array in parts.values()]
    first = IdPartition(state.n_total, comm, BLOCK).start
    with comm.collective_errors(), disk_errors(path):
        if columns:
            where = placements(part, columns)
            with open(part, "r+b", buffering=0) as file:
                for column, array in zip(columns, values, strict=True):
                    where[column.name].write(file.fileno(), 0, first, array)
                os.fsync(file.fileno())
    return {column.name: _digests(array) for column, array in zip(columns, values, strict=True)}


def read_checkpoint(path: Path, comm: Comm) -> Checkpoint:
    """Reads and checks a checkpoint, every rank its share; collective.

    Raises:
        InputError: it is damaged, or of a version this program does not read.
    """
    header: dict[str, Any] = {}
    with comm.collective_errors(), damage(path):
        if comm.rank == 0:
            header = _read_header(path)
            _system(header)
    header = comm.bcast(header)
    step, n, cell, table = _system(header)
    slabs = IdPartition(n, comm, BLOCK)
    slab: dict[str, NDArray[Any]] = {}
    observers: dict[str, dict[str, NDArray[Any]]] = {}
    with comm.collective_errors(), damage(path), h5py.File(path, "r") as file:
        for column in COLUMNS:
            if file[column.name].shape != (1, n, *column.shape) or file[column.name].dtype != np.dtype(column.dtype):
                raise ValueError(f"{column.name} has the wrong shape or type")
            header["digests"][column.name]  # one that is missing is an error, too
        for dataset in header["digests"]:
            rows = file[dataset][0, slabs.start : slabs.stop]
            _require_digests(dataset, rows, header["digests"][dataset], slabs.start // BLOCK)
            if dataset.startswith(OBSERVER):
                name, key = dataset.removeprefix(OBSERVER).split(SEPARATOR)
                observers.setdefault(name, {})[key] = rows
            else:
                slab[dataset] = rows
    return Checkpoint(
        path=path, step=step, n_total=n, cell=cell, species_table=table, extras=header["extras"], slab=slab,
        observer_rows=observers,
    )  # fmt: skip


def _require_digests(name: str, rows: NDArray[Any], digests: list[str], first: int) -> None:
    """Compares checksums: `rows` (n, …) are those of the blocks from `first` on.

    Raises:
        ValueError: one differs.
    """
    for k, digest in enumerate(_digests(rows)):
        if digest != digests[first + k]:
            raise ValueError(f"checksum of {name}, atoms from {(first + k) * BLOCK} on")


def checkpoint_path(directory: Path, step: int) -> Path:
    """The checkpoint of a step in a run directory."""
    return directory / f"checkpoint-{step}.h5"


def checkpoint_steps(directory: Path) -> list[int]:
    """Steps of the complete checkpoints of a run directory, damaged or not; none where there is no directory."""
    if not directory.is_dir():
        return []
    return [int(m.group(1)) for p in directory.iterdir() if (m := _NAME.fullmatch(p.name))]


def latest_checkpoint(directory: Path, comm: Comm) -> Checkpoint | None:
    """The newest checkpoint of a run directory that is complete, or None; collective.

    Raises:
        InputError: there are checkpoints, but all are damaged.
    """
    steps: list[int] = []
    with comm.collective_errors():
        if comm.rank == 0:
            steps = checkpoint_steps(directory)
    bad: list[str] = []
    for step in sorted(comm.bcast(steps), reverse=True):
        try:
            found = read_checkpoint(checkpoint_path(directory, step), comm)
        except InputError as error:
            bad.append(str(error))
            continue
        return replace(found, passed_over=tuple(bad))
    if bad:
        raise InputError("no checkpoint is usable: " + "; ".join(bad), str(directory), "start again with --overwrite")
    return None


def _prune(directory: Path, step: int, keep: int) -> None:
    """Removes the oldest; those of later steps, left by an abandoned continuation, neither count nor go."""
    older = sorted(s for s in checkpoint_steps(directory) if s < step)
    for s in older[: max(0, len(older) - (keep - 1))]:
        checkpoint_path(directory, s).unlink(missing_ok=True)


def _digests(rows: NDArray[Any]) -> list[str]:
    """SHA-256 of every block of rows of an array: `rows` (n, …) of any dtype, this rank's atoms."""
    return [hashlib.sha256(rows[k : k + BLOCK].tobytes()).hexdigest() for k in range(0, len(rows), BLOCK)]


def _join(per_rank: list[dict[str, list[str]]]) -> dict[str, list[str]]:
    return {name: [d for digests in per_rank for d in digests[name]] for name in per_rank[0]}


def _header(step: int, state: AtomState, extras: dict[str, Any], digests: dict[str, list[str]]) -> dict[str, Any]:
    """All that is not per atom. JSON keeps every bit of a float."""
    cell, table = state.cell, state.species_table
    return {
        "format": FORMAT,
        "step": step,
        "n_total": state.n_total,
        "cell": {
            "matrix": cell.matrix.tolist(),
            "periodic": list(cell.periodic),
            "origin": cell.origin.tolist(),
            "absent": list(cell.absent),
        },
        "species": {
            "symbols": list(table.symbols),
            "numbers": np.asarray(table.numbers).tolist(),
            "masses": np.asarray(table.masses).tolist(),
        },
        "extras": extras,
        "digests": digests,
    }


def _write_header(path: Path, header: dict[str, Any]) -> None:
    text = json.dumps(header).encode()
    with h5py.File(path, "r+") as file:
        file["header"] = np.frombuffer(text, dtype=np.uint8)
        file["header"].attrs["sha256"] = hashlib.sha256(text).hexdigest()


def _read_header(path: Path) -> dict[str, Any]:
    with h5py.File(path, "r") as file:
        text = file["header"][:].tobytes()
        if hashlib.sha256(text).hexdigest() != file["header"].attrs["sha256"]:
            raise ValueError("checksum of the header")
    header: dict[str, Any] = json.loads(text)
    if header["format"] != FORMAT:
        raise InputError(f"has format {header['format']}, this program reads {FORMAT}", str(path), "use its version")
    return header


def _system(header: dict[str, Any]) -> tuple[int, int, Cell, SpeciesTable]:
    """Step, number of atoms, cell and species in a header; raises anything where it holds something else."""
    step, n, box, species = header["step"], header["n_total"], header["cell"], header["species"]
    whole = isinstance(step, int) and isinstance(n, int) and 0 <= step < 1 << 63 and 1 <= n < 1 << 53
    if not whole or not isinstance(header["extras"], dict):
        raise ValueError("step, number of atoms or extras")
    matrix, origin = np.array(box["matrix"], np.float64), np.array(box["origin"], np.float64)
    periodic, absent = tuple(box["periodic"]), tuple(box["absent"])
    shapes = matrix.shape, origin.shape, len(periodic), len(absent)
    if shapes != ((3, 3), (3,), 3, 3) or not np.isfinite(matrix).all():
        raise ValueError("the cell")
    numbers, masses = np.array(species["numbers"], np.int64), np.array(species["masses"], np.float64)
    if not numbers.shape == masses.shape == (len(species["symbols"]),):
        raise ValueError("the species")
    return step, n, Cell(matrix, periodic, origin, absent), SpeciesTable(
        tuple(species["symbols"]), numbers, masses
    )
