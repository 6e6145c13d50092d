"""``uncertain.extxyz``: the frames in which a committee disagrees, for labels and further training."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allegro_md.comm import Comm
from allegro_md.config.guard import GuardConfig
from allegro_md.errors import AllegroError
from allegro_md.io.disk import cut_back, disk_errors, pwrite_all
from allegro_md.io.id_partition import IdPartition
from allegro_md.io.wrapping import wrap
from allegro_md.reporting import PRIORITY, ObserverSetting, Snapshot
from allegro_md.state import AtomState
from allegro_md.triggers import Every

NAME = "uncertain.extxyz"
"""In the run directory."""

ROW = "%-2s" + 4 * " %24.16e" + "\n"
"""Symbol, position, force standard deviation of an atom: lines of one length, so that every rank knows its place."""

ROW_BYTES = 2 + 4 * 25 + 1

CHUNK = 1 << 14
"""Atoms whose lines are made at a time."""


class UncertainWriter:
    """Observer that adds a frame wherever a force standard deviation is beyond a limit; atoms in id order.

    Every rank writes its own range of ids. The number of atoms, the first line of a frame, is blank until all else is
    on the disk: a reader ends there, so it sees whole frames only, also after a kill.
    """

    name = "uncertain"
    priority = PRIORITY["write"]
    needs = frozenset({"force_std"})
    files = (NAME,)

    def __init__(self, path: Path, limit: float, every: int, comm: Comm) -> None:
        """Nothing is written before the first frame.

        Args:
            path: the file; an existing one is replaced, unless `load_state_dict` continues it.
            limit: eV/Å.
            every: steps between looks.
            comm: all ranks of the simulation.
        """
        self.trigger = Every(every)
        self._path, self._limit, self._comm = path, limit, comm
        self._size = 0
        self._last_step = -1

    def __call__(self, snapshot: Snapshot) -> None:
        """Looks at a step, once: the first of a continuation has been looked at."""
        assert snapshot.force_std is not None
        if snapshot.step <= self._last_step:
            return
        largest = self._comm.max(float(snapshot.force_std.max(initial=0.0)))
        if largest > self._limit:
            try:
                self._size = self._add(snapshot, snapshot.force_std, largest)
            except AllegroError:  # on all ranks
                if self._comm.rank == 0:
                    with suppress(OSError):  # unreadable without its first line anyway
                        os.truncate(self._path, self._size)
                raise
        self._last_step = snapshot.step

    def bytes_per_sample(self, n_atoms: int) -> float:
        """Zero: nobody can know how many frames will be beyond the limit."""
        return 0.0

    def flush(self) -> None:
        """Does nothing: a frame is on the disk when the call that writes it returns."""

    def close(self) -> None:
        """Does nothing; see `flush`."""

    def state_dict(self) -> dict[str, Any]:
        """Length of the file in bytes and the last step looked at."""
        return {"size": self._size, "last_step": self._last_step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Cuts the file back to where the checkpoint left it ({}: a new file); collective."""
        self._size, self._last_step = int(state.get("size", 0)), int(state.get("last_step", -1))
        with self._comm.collective_errors():
            if self._comm.rank == 0:
                cut_back(self._path, self._size)

    def _add(self, snapshot: Snapshot, std: NDArray[np.float64], largest: float) -> int:
        """Writes a frame behind the last one (collective) and returns the length of the file with it.

        `std` (n_local,) is the standard deviation of the force on each local atom, eV/Å, `largest` the largest of all.
        """
        state, comm, path = snapshot.state, self._comm, self._path
        slabs = IdPartition(state.n_total, comm)
        count = f"{state.n_total}\n".encode()
        head = b" " * (len(count) - 1) + b"\n" + _comment(snapshot, largest)
        first_row = self._size + len(head)
        with comm.collective_errors():
            if comm.rank == 0:
                with _opened(path) as fd:
                    os.ftruncate(fd, self._size)
                    _write(fd, self._size, head)
        fields = {name: state.host_local(name) for name in ("species", "position")} | {"std": std}
        columns = {name: values.__getitem__ for name, values in fields.items()}
        for first, piece, _ in slabs.pieces(state.host_local("id"), columns):
            with comm.collective_errors(), _opened(path) as fd:
                for start in range(0, len(piece["std"]), CHUNK):
                    part = {name: values[start : start + CHUNK] for name, values in piece.items()}
                    _write(fd, first_row + (first + start) * ROW_BYTES, _rows(part, state))
        with comm.collective_errors():
            if comm.rank == 0:
                with _opened(path) as fd:
                    _write(fd, self._size, count)
        return first_row + state.n_total * ROW_BYTES


def _comment(snapshot: Snapshot, largest: float) -> bytes:
    """The second line of a frame."""
    cell = snapshot.state.cell
    lattice = " ".join(repr(x) for x in cell.given_rows.ravel().tolist())
    periodic = " ".join("FT"[flag] for flag in cell.periodic)
    return (
        f'Lattice="{lattice}" Properties=species:S:1:pos:R:3:force_std_eV_per_A:R:1 pbc="{periodic}" '
        f"step={snapshot.step} time_fs={snapshot.time!r} max_force_std_eV_per_A={largest!r}\n"
    ).encode()


def _rows(part: dict[str, NDArray[Any]], state: AtomState) -> bytes:
    """The lines of some atoms."""
    position, _ = wrap(part["position"], state.cell, np.float64)
    symbols = [state.species_table.symbols[kind] for kind in part["species"]]
    rows = zip(symbols, position.tolist(), part["std"].tolist(), strict=True)
    return "".join(ROW % (symbol, *place, value) for symbol, place, value in rows).encode()


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """The file; what was written to it is on the disk at the end."""
    with disk_errors(path):
        fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o666)
        try:
            yield fd
            os.fsync(fd)
        finally:
            os.close(fd)


def _write(fd: int, offset: int, data: bytes) -> None:
    pwrite_all(fd, np.frombuffer(data, dtype=np.uint8), offset)


def build(table: GuardConfig, setting: ObserverSetting) -> UncertainWriter:
    """Makes the observer of an input table that has a limit."""
    assert table.max_force_std is not None
    every = table.force_std_every or setting.thermo_every
    return UncertainWriter(setting.directory / NAME, table.max_force_std, every, setting.comm)
