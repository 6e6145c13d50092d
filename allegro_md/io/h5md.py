"""The trajectory writer: frames in id order, a slab per rank, behind the simulation, always readable."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from allegro_md.comm import Comm
from allegro_md.config.output import TrajectoryConfig
from allegro_md.errors import InputError
from allegro_md.io.background_writer import BackgroundWriter
from allegro_md.io.disk import disk_errors, finish, unfinished
from allegro_md.io.frame_index import (
    ATOMS,
    FIXED,
    NAME,
    OBSERVABLES,
    PER_FRAME,
    Box,
    FrameIndex,
    read_index,
    write_index,
)
from allegro_md.io.id_partition import ORDERING, PIECE, IdPartition, Rows
from allegro_md.io.layout import Column, Placement, lay_out, placements
from allegro_md.io.segments import DOUBLING, FOLDER, Segment, capacity, complete, recover, segment_path
from allegro_md.io.wrapping import wrap
from allegro_md.reporting import PRIORITY, ObserverSetting, Snapshot
from allegro_md.state import FIELDS, AtomState
from allegro_md.triggers import Every

NOTATION = {"Å": "Angstrom", "Å/fs": "Angstrom fs-1", "eV/Å": "eV Angstrom-1"}
"""Our units as H5MD writes them."""

UNITS = {f.name: NOTATION[f.unit] for f in FIELDS.values() if f.trajectory and f.shape} | {"image": ""}
"""Vectors that a frame may hold, with their units; the scalars, id and species, are the same in every frame."""

AHEAD = 4
"""Pieces per rank, and ends of frames, that may wait for the disk before the simulation does."""

FRAMING = 200
"""Bytes per atom of a piece (`id_partition.PIECE`) while it is put in order, beside the pieces that wait. Measured; see
tests/unit/simulation/test_resource_estimate.py."""

FIRST_INTERVAL = 1.0
"""Seconds after which frames become visible at the latest, early in a run; see `DOUBLING`."""


def frame_columns(fields: Sequence[str], dtype: str) -> list[Column]:
    """Describes the vectors of a frame: those of `fields` (keys of `UNITS`), in float32 or float64 but for images."""
    return [Column(f, (3,), "int32" if f == "image" else dtype, UNITS[f]) for f in UNITS if f in fields]


class TrajectoryWriter:
    """Observer that writes ``trajectory.h5``.

    Frames go into a segment file, which is closed and shown through the index file when it is full or some time has
    passed.
    """

    name = "trajectory"
    priority = PRIORITY["write"]
    needs = frozenset({"thermo"})
    files = (NAME, FOLDER)

    def __init__(
        self,
        directory: Path,
        every: int,
        fields: Sequence[str],
        dtype: str,
        comm: Comm,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is written before the first frame.

        Args:
            directory: the run directory.
            every: steps between frames.
            fields: keys of `UNITS`.
            dtype: float32 or float64, of position, velocity and force.
            comm: all ranks of the simulation.
            clock: seconds; rank 0's decides when frames become visible.
        """
        self.trigger = Every(every)
        self._directory, self._folder = directory, directory / FOLDER
        self._fields = frame_columns(fields, dtype)
        self._columns = (*PER_FRAME, *self._fields)
        self._dtype, self._comm, self._clock = dtype, comm, clock
        self._worker = BackgroundWriter(AHEAD)
        self._published_at = clock()
        self._slabs: IdPartition | None = None
        self._box: Box | None = None
        self._history = FrameIndex()  # rank 0 only
        self._waiting: dict[int, list[dict[str, NDArray[Any]]]] = {}  # rank 0: segment → its frames, without atoms
        self._open: Segment | None = None
        self._pending: Segment | None = None  # sealed, not yet in the index file
        self._next, self._frames, self._last_step = 0, 0, -1
        self._failed = self._closed = self._replaces = False

    def __call__(self, snapshot: Snapshot) -> None:
        """Takes a frame; a step that has one already (the first of a continuation) is passed over.

        Raises:
            ResourceError: the disk refused this or an earlier frame (on all ranks).
        """
        if snapshot.step <= self._last_step:
            return
        if self._slabs is None:
            self._begin(snapshot.state)
        due = self._look()
        if self._open is None:
            self._open = self._new_segment()
        segment, alone = self._open, _without_atoms(snapshot)
        for first_id, rows, last in self._pieces_of(snapshot.state):
            self._worker.put(partial(segment.write_atoms, segment.count, first_id, rows))
            if last:
                self._worker.put(partial(segment.end_frame, segment.count, alone))
        segment.count += 1
        if self._comm.rank == 0:
            self._waiting.setdefault(segment.index, []).append(alone)
        first = self._frames == 0
        self._frames, self._last_step = self._frames + 1, snapshot.step
        if first or due or segment.full:
            self._seal()
        if first:
            self._settle()

    def bytes_per_sample(self, n_atoms: int) -> float:
        """Bytes of a frame."""
        return float(n_atoms * sum(column.row_bytes for column in self._fields))

    def bytes_held(self, n_local: int) -> float:
        """Bytes of the pieces that wait for the disk."""
        return AHEAD * self.bytes_per_sample(1) * min(n_local, PIECE)

    def bytes_while_called(self, n_local: int) -> float:
        """Bytes while a frame is put in order."""
        return float(FRAMING * min(n_local, PIECE) + ORDERING * n_local)

    def flush(self) -> None:
        """Collective; call before a checkpoint: all frames so far are on the disk when it returns.

        They become visible to readers too when the last publication is some time ago.
        """
        due = self._look()
        if self._open is not None and due:
            self._seal()
        elif self._open is not None:
            self._worker.put(self._open.sync)
        self._settle()

    def state_dict(self) -> dict[str, Any]:
        """Returns the extent of the trajectory for a checkpoint; call `flush` first."""
        box = self._box
        return {
            "frames": self._frames,
            "segments": self._next - (self._open is not None),
            "open": 0 if self._open is None else self._open.count,
            "places": {} if self._open is None else {name: p.stored for name, p in self._open.where.items()},
            "last_step": self._last_step,
            "n_total": 0 if self._slabs is None else self._slabs.n_total,
            "periodic": None if box is None else list(box.periodic),
            "bounded": None if box is None else box.bounded,
            "fields": [c.name for c in self._fields],
            "dtype": self._dtype,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up where a checkpoint left off ({}: a new trajectory): later frames vanish; collective.

        Raises:
            InputError: other fields than before, missing frames, or frames of which the state knows nothing.
        """
        if not state:
            self._refuse_to_replace()
            return
        asked = {"fields": [c.name for c in self._fields], "dtype": self._dtype}
        for key, value in asked.items():
            if state[key] != value:
                raise InputError(
                    f"{key} = {value}, but the trajectory that is continued has {state[key]}",
                    f"output.trajectory.{key}",
                    "leave it as it was, or start a new run directory",
                )
        if state["frames"] == 0:
            self._replaces = True  # whatever is there now came after the checkpoint
            return
        self._frames, self._last_step = int(state["frames"]), int(state["last_step"])
        self._next = int(state["segments"]) + (state["open"] > 0)
        self._slabs = IdPartition(int(state["n_total"]), self._comm)
        self._box = Box(tuple(state["periodic"]), bool(state["bounded"]))
        with self._comm.collective_errors():
            if self._comm.rank == 0:
                self._recover(state)

    def close(self) -> None:
        """Collective; all frames are on disk and visible when it returns. After a fault: those that were complete.

        Raises:
            ResourceError: the disk refused a frame, and this is the first that is heard of it (on all ranks).
        """
        if self._closed:
            return
        self._closed = True
        try:
            if not self._failed:
                self._look()
                if self._open is not None:
                    self._seal()
                self._settle()
        finally:
            if self._failed:  # also when the lines above have only now learned of it
                self._worker.drain()
                self._salvage()
            self._worker.close()

    def _refuse_to_replace(self) -> None:
        """Raises InputError where frames are that a new trajectory would delete; collective."""
        with self._comm.collective_errors():
            path = self._directory / NAME
            if self._comm.rank == 0 and (path.exists() or any(self._folder.glob("segment-*.h5"))):
                raise InputError(
                    "holds frames that this run does not continue: its checkpoint knows of no trajectory",
                    str(path),
                    f"move it and {FOLDER}/ elsewhere, or choose another output.directory",
                )

    def _begin(self, state: AtomState) -> None:
        """A fresh trajectory: removes pieces that were never shown, writes what does not change with time."""
        if not self._replaces:
            self._refuse_to_replace()
        self._slabs = IdPartition(state.n_total, self._comm)
        cell = state.cell
        self._box = Box(cell.periodic, cell.bounded)
        species, ids = state.host_local("species"), state.host_local("id")
        numbers, masses = state.species_table.numbers.astype(np.int32), state.species_table.masses
        path = self._folder / ATOMS
        with self._comm.collective_errors(), disk_errors(path):
            if self._comm.rank == 0:
                (self._directory / NAME).unlink(missing_ok=True)
                self._folder.mkdir(exist_ok=True)
                for old in _pieces(self._folder):
                    old.unlink()
                lay_out(unfinished(path), FIXED, state.n_total, 1, 1)
        with self._comm.collective_errors(), disk_errors(path):
            where = placements(unfinished(path), FIXED)
        made: dict[str, Rows] = {
            "species": lambda rows: numbers[species[rows]],
            "id": ids.__getitem__,
            "mass": lambda rows: masses[species[rows]],
        }
        pieces = self._slabs.pieces(ids, made)
        for first, piece, _ in pieces:
            with self._comm.collective_errors(), disk_errors(path), open(unfinished(path), "r+b", buffering=0) as file:
                for column in FIXED:
                    where[column.name].write(file.fileno(), 0, first, piece[column.name])
        with self._comm.collective_errors(), disk_errors(path):
            if self._comm.rank == 0:
                finish(path)

    def _pieces_of(self, state: AtomState) -> Iterator[tuple[int, dict[str, NDArray[Any]], bool]]:
        """This rank's range of ids of every field of a frame; see `IdPartition.pieces`."""
        local = {name: state.host_local(name) for name in ("id", *UNITS) if name in FIELDS}
        made: dict[str, Rows] = {
            name: partial(_in_units, values, FIELDS[name].scale, self._dtype) for name, values in local.items()
        }
        made["position"] = local["position"].__getitem__  # position and image are made from it where it arrives
        wanted = {c.name for c in self._fields}
        sent = {"position" if name == "image" else name for name in wanted}
        assert self._slabs is not None
        for first, piece, last in self._slabs.pieces(local["id"], {name: made[name] for name in sorted(sent)}):
            if "position" in piece:
                with self._comm.collective_errors():
                    piece["position"], piece["image"] = wrap(piece["position"], state.cell, self._dtype)
            yield first, {name: piece[name] for name in piece if name in wanted}, last

    def _look(self) -> bool:
        """Raises together what a writing thread met, shows a segment all ranks have sealed; whether it is time to."""
        interval = FIRST_INTERVAL * 2.0 ** (self._next / DOUBLING)
        late = self._comm.rank == 0 and self._clock() - self._published_at >= interval
        unsealed = self._pending is not None and not self._pending.sealed
        flags = np.array([self._worker.error is not None, unsealed, late], dtype=np.float64)
        error, unsealed, due = (bool(flag) for flag in self._comm.max(flags))
        if error:
            self._failed = True
            self._comm.raise_together(self._worker.error)
        if self._pending is not None and not unsealed:
            self._publish(self._pending, self._pending.count)
            self._pending = None
        return due

    def _new_segment(self) -> Segment:
        """Collective."""
        assert self._slabs is not None
        frame_bytes = sum(c.row_bytes * (self._slabs.n_total if c.per_atom else 1) for c in self._columns)
        frames = capacity(self._next, frame_bytes, self._comm.size)
        try:
            segment = Segment(self._folder, self._next, self._columns, self._slabs, frames, self._comm)
        except Exception:  # raised on all ranks
            self._failed = True
            raise
        self._next += 1
        return segment

    def _seal(self) -> None:
        """Ends the open segment; it becomes visible when all ranks' disks have it."""
        if self._pending is not None:
            self._settle()
        assert self._open is not None
        self._worker.put(self._open.seal)
        self._pending, self._open = self._open, None
        self._published_at = self._clock()

    def _settle(self) -> None:
        """Waits for the disk, then shows what is sealed; collective."""
        self._worker.drain()
        self._look()

    def _publish(self, segment: Segment, frames: int) -> None:
        """Gives a segment its name and its place in the index file; collective."""
        try:
            with self._comm.collective_errors():
                if self._comm.rank == 0:
                    complete(self._folder, segment.index, self._columns, frames)
                    self._show(self._waiting.pop(segment.index)[:frames])
        except Exception:
            self._failed = True
            raise

    def _show(self, frames: list[dict[str, NDArray[Any]]]) -> None:
        """Rank 0: a new index file with these frames at its end."""
        assert self._slabs is not None and self._box is not None
        self._history.append({c.name: np.concatenate([f[c.name] for f in frames]) for c in PER_FRAME})
        write_index(self._directory, self._history, self._fields, self._slabs.n_total, self._box)

    def _salvage(self) -> None:
        """After a fault: shows the frames that all ranks have completed, where the disk lets it."""
        for segment in (self._pending, self._open):
            if segment is None:
                continue
            frames = -int(self._comm.max(-float(segment.written)))
            try:
                if frames > 0:
                    self._publish(segment, frames)
            except Exception:  # the fault itself has been raised already
                return
            if frames < segment.count:
                return

    def _recover(self, state: dict[str, Any]) -> None:
        """Rank 0: history and files as they were at the checkpoint."""
        assert self._slabs is not None and self._box is not None
        complete_ones, in_open = int(state["segments"]), int(state["open"])
        tail = segment_path(self._folder, complete_ones)
        try:
            if not (self._folder / ATOMS).exists():
                raise FileNotFoundError(f"there is no {FOLDER}/{ATOMS}")
            self._history = read_index(self._directory, complete_ones)
            if in_open:
                if not tail.exists():
                    where = {name: Placement.of(p) for name, p in state["places"].items()}
                    recover(self._folder, complete_ones, self._columns, where, self._slabs.n_total, in_open)
                with h5py.File(tail, "r") as file:
                    self._history.append({c.name: file[c.name][:in_open] for c in PER_FRAME})
        except (OSError, KeyError, StopIteration) as error:
            raise InputError(
                f"frames before the checkpoint are missing or damaged ({error})",
                str(self._directory / NAME),
                "restore the files, or start again with --overwrite",
            ) from error
        if sum(self._history.counts) != self._frames:
            raise InputError(
                f"holds {sum(self._history.counts)} frames of the {self._frames} before the checkpoint",
                str(self._directory / NAME),
                "restore the files, or start again with --overwrite",
            )
        write_index(self._directory, self._history, self._fields, self._slabs.n_total, self._box)
        keep = {segment_path(self._folder, k) for k in range(self._next)} | {self._folder / ATOMS}
        for path in _pieces(self._folder):
            if path not in keep:
                path.unlink()


def build(table: TrajectoryConfig, setting: ObserverSetting) -> TrajectoryWriter:
    """Makes the observer of an input table."""
    return TrajectoryWriter(setting.directory, table.every, table.fields, table.dtype, setting.comm)


def _without_atoms(snapshot: Snapshot) -> dict[str, NDArray[Any]]:
    """Returns the quantities of a frame that are not per atom; see `frame_index.PER_FRAME`."""
    thermo, values = snapshot.thermo, [np.nan] * len(OBSERVABLES)
    if thermo is not None:
        values = [thermo.potential, thermo.kinetic, thermo.total, thermo.temperature]
        values += [thermo.pressure, thermo.volume]
    return {
        "step": np.array([snapshot.step], dtype=np.int64),
        "time": np.array([snapshot.time], dtype=np.float64),
        "edges": snapshot.state.cell.given_rows[None],
        "observables": np.array([values], dtype=np.float64),
    }


def _pieces(folder: Path) -> list[Path]:
    """The files of a trajectory, finished or not."""
    return [p for pattern in ("segment-*.h5*", f"{ATOMS}*") for p in folder.glob(pattern)]


def _in_units(values: NDArray[Any], scale: float, dtype: str, rows: NDArray[np.int64]) -> NDArray[Any]:
    """Chosen rows of a field in the unit of the file.

    Args:
        values: (n_local, 3), of the dtype of the field.
        scale: of its values per unit.
        dtype: of the file.
        rows: (n,) int64.
    """
    return (values[rows] if scale == 1.0 else values[rows] / scale).astype(dtype)
