"""``exchanges.csv``: which temperature each replica has after each exchange, and the energies that decided."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from allegro_md.errors import InputError
from allegro_md.io.disk import disk_errors, write_whole

EXCHANGES = "exchanges.csv"
"""Name of the file in the directory of all replicas."""

AVERAGES = "temperatures.csv"
"""Name of the file with means by temperature."""


@dataclass(frozen=True)
class Exchanges:
    """The rows of an ``exchanges.csv``, one per exchange.

    Attributes:
        steps: (n,) int64, after which the exchanges were made.
        temperatures: (n, replicas) float64 K, of each replica from then on.
        potentials: (n, replicas) float64 eV, potential energy of each replica.
    """

    steps: NDArray[np.int64]
    temperatures: NDArray[np.float64]
    potentials: NDArray[np.float64]

    def before(self, start: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, replicas) float64 K, of each replica until each exchange; `start` (replicas,) K, at the beginning."""
        return np.concatenate([start[None, :], self.temperatures])[: len(self.steps)]

    def by_temperature(self, start: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, temperatures) float64 eV, the potential energies at each temperature, in ascending order.

        Args:
            start: (replicas,) K, at the beginning of the run.
        """
        return np.take_along_axis(self.potentials, np.argsort(self.before(start), axis=1), axis=1)


def read_exchanges(path: Path) -> Exchanges:
    """Reads an ``exchanges.csv``, also while the run goes on; a last line without an end is left out.

    Raises:
        InputError: there is no such file, or it is none.
    """
    try:
        first, *lines = path.read_bytes().split(b"\n")[:-1] or [b""]
        count = (first.count(b",") - 1) // 2
        if first != header(count):
            raise ValueError("its first line names other columns")
        rows = np.array([line.split(b",") for line in lines], dtype=np.float64).reshape(-1, 2 + 2 * count)
    except FileNotFoundError:
        raise InputError("no such file", str(path), f"restore it, or give another {EXCHANGES}") from None
    except ValueError as error:
        raise InputError(f"is damaged ({error})", str(path), "restore it, or start again with --overwrite") from None
    return Exchanges(rows[:, 0].astype(np.int64), rows[:, 2 : 2 + count], rows[:, 2 + count :])


def header(count: int) -> bytes:
    """The first line, for a number of replicas."""
    temperatures = [f"temperature_{k}_K" for k in range(count)]
    return ",".join(["step", "time_fs", *temperatures, *(f"potential_{k}_eV" for k in range(count))]).encode()


class ExchangeFile:
    """Adds rows to an ``exchanges.csv``; on one rank."""

    def __init__(self, path: Path, count: int, first_step: int) -> None:
        """Keeps the rows of exchanges before `first_step`, those of a run of `count` replicas.

        Raises:
            InputError: rows that a continued run has made are missing.
            ResourceError: it cannot be written.
        """
        self._path = path
        kept: list[bytes] = []
        if first_step > 0:
            n = int(np.sum(read_exchanges(path).steps < first_step))
            kept = path.read_bytes().split(b"\n")[1 : n + 1]
        write_whole(path, b"\n".join([header(count), *kept, b""]))
        with disk_errors(path):
            self._fd = os.open(path, os.O_WRONLY | os.O_APPEND)

    def add(self, step: int, time: float, temperatures: list[float], potentials: list[float]) -> None:
        """Adds a row.

        Args:
            step: after which the exchange was made.
            time: fs.
            temperatures: K, of each replica from now on.
            potentials: eV, of each replica.
        """
        row = ",".join([str(step), *(repr(float(x)) for x in (time, *temperatures, *potentials))])
        with disk_errors(self._path):
            os.write(self._fd, row.encode() + b"\n")

    def flush(self) -> None:
        """Returns when all rows are on the disk."""
        with disk_errors(self._path):
            os.fsync(self._fd)

    def close(self) -> None:
        """Puts all rows on the disk and closes the file."""
        try:
            self.flush()
        finally:
            os.close(self._fd)
