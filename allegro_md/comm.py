"""The one door to MPI. One rank without a launcher works without MPI.

Every branch that leads to communication must be taken on a value all ranks share.
"""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NamedTuple, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

from allegro_md.errors import AllegroError, InputError, ResourceError, out_of_memory, unusable_path
from allegro_md.exact import ExactSum
from allegro_md.launcher import is_rank_of_many, ranks_started
from allegro_md.lost_ranks import NotedCommunicator, noted
from allegro_md.timers import WAIT, Timers
from allegro_md.versions import mathematics

T = TypeVar("T")

ROUND_BYTES = 64 * 2**20
"""Largest message of one round of `exchange`: bounds memory and stays below MPI's 2³¹ counts."""

FAILURE_SECONDS = 5.0
"""Seconds within which all ranks are expected to fail together."""

FORWARDING_SECONDS = 0.5
"""What a launcher gets to pass on the last words of a rank before it is told to end all of them."""


@dataclass(frozen=True)
class SendRecv:
    """One buffer to a rank and one from a rank (either may be this one; a negative rank means nobody)."""

    send: NDArray[Any]
    to: int
    receive: NDArray[Any]
    source: int


class RowCounts(NamedTuple):
    """Numbers of rows that ranks send to each other, see `Comm.count_rows`.

    Attributes:
        sent: (size,) int64, from this rank to each.
        received: (size,) int64, from each to this rank.
        most: the largest of all, between any two ranks.
    """

    sent: NDArray[np.int64]
    received: NDArray[np.int64]
    most: int


class Pending:
    """Messages under way: their buffers may not be touched before `wait` has returned, or `test` has given true."""

    def __init__(self, requests: list[Any], legs: Sequence[SendRecv], timers: Timers) -> None:
        """Keeps what MPI still reads and writes; the time of `wait` counts as waited."""
        self._requests, self._legs, self._timers = requests, legs, timers

    def test(self) -> bool:
        """Tells if all have arrived; never waits."""
        self._requests = [request for request in self._requests if not request.Test()]
        return not self._requests

    def wait(self) -> None:
        """Returns when all have arrived."""
        if self._requests:
            with self._timers.phase(WAIT):
                for request in self._requests:
                    noted(request.Wait, self)()
        self._requests = []

    def __str__(self) -> str:
        """Names the ranks whose messages are awaited."""
        ranks = {rank for leg in self._legs for rank in (leg.source, leg.to) if rank >= 0}
        return f"messages between ranks {', '.join(map(str, sorted(ranks)))}"


class Comm:
    """Collective operations between the ranks of one simulation.

    Attributes:
        rank: this rank, from 0.
        size: number of ranks.
        n_started: ranks of the program; more where these are one group of several.
        library: name and version of the MPI in use; empty without one.
        timers: get the time spent waiting for others, and for each phase what went between ranks: "messages" to another
            rank and "bytes" in them, "allreduces", and other "collectives".
    """

    def __init__(self, mpi: Any = None, api: Any = None) -> None:
        """Wraps an mpi4py communicator and the module `mpi4py.MPI`; None is the serial stand-in."""
        self._mpi: Any = NotedCommunicator(mpi) if mpi is not None else None
        self._api = api
        self._farewell: Any = self._mpi.Dup() if self._mpi is not None else None  # of its own: it meets nothing else
        self._alike: bool | None = None  # all ranks have one kind of processor and one mathematical library
        self._messages: list[Any] = []  # of `tell`, with their requests: MPI may read them until they have arrived
        self.rank: int = mpi.Get_rank() if mpi is not None else 0
        self.size: int = mpi.Get_size() if mpi is not None else 1
        self.n_started: int = api.COMM_WORLD.Get_size() if api is not None else 1
        self.timers = Timers()
        words = api.Get_library_version().replace("Version:", "").split() if api is not None else []
        self.library: str = " ".join(words[:3]).rstrip(",")

    @staticmethod
    def serial() -> Comm:
        """One rank, no MPI."""
        return Comm()

    @staticmethod
    def world() -> Comm:
        """All ranks the launcher started.

        Raises:
            InputError: the launcher started several ranks but the MPI in use sees only one (N copies of rank 0).
        """
        if not is_rank_of_many():
            return Comm()
        started = ranks_started().total
        try:
            from mpi4py import MPI  # the only place; MPI is initialized here and nowhere else
        except Exception as error:  # a missing libmpi surfaces as RuntimeError, a missing package as ImportError
            raise InputError(
                f"started by an MPI launcher, but MPI cannot be loaded ({error})",
                "MPI",
                "pip install 'allegro-md[mpi]' and use the mpirun it installs, or load the site's MPI",
            ) from None
        if MPI.COMM_WORLD.Get_size() == 1 and started > 1:
            raise InputError(
                f"the launcher started {started} ranks, but the MPI in use ({MPI.get_vendor()[0]}) sees only one",
                "MPI",
                "use the mpirun that belongs to this MPI (for the mpich wheel: the one beside this Python), "
                "or srun with the interface that this MPI speaks (for the mpich wheel: srun --mpi=pmi2)",
            )
        comm = Comm(MPI.COMM_WORLD, MPI)
        # An exception nobody catches must end all ranks: the others would wait for this one for ever.
        sys.excepthook = comm._abort_on_exception
        return comm

    def split(self, group: int) -> Comm:
        """The ranks that give the same number, in their order here, as a communicator of their own (collective)."""
        return Comm() if self._mpi is None else Comm(self._mpi.Split(group, self.rank), self._api)

    def tell(self, word: int) -> None:
        """Sends a number to each of the other ranks and waits for none of them; they learn of it by `told`."""
        message = np.array([word], dtype=np.int64)
        others = [rank for rank in range(self.size) if rank != self.rank]
        self._messages += [(message, self._farewell.Isend(message, dest=rank)) for rank in others]

    def told(self) -> int:
        """The largest number that another rank has sent by `tell` since this was last asked; 0: none has come."""
        largest, message = 0, np.empty(1, dtype=np.int64)
        while self._mpi is not None and self._farewell.Iprobe():
            self._farewell.Recv(message)
            largest = max(largest, int(message[0]))
        return largest

    def bcast(self, value: Any, root: int = 0) -> Any:
        """The root's object, on all ranks."""
        if self._mpi is None:
            return value
        with self._together("collectives"):
            return self._mpi.bcast(value, root=root)

    def allgather(self, value: Any) -> list[Any]:
        """The objects of all ranks, in rank order."""
        if self._mpi is None:
            return [value]
        with self._together("collectives"):
            values: list[Any] = self._mpi.allgather(value)
        return values

    def sum(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        """Sums `values` (…), int64, elementwise over ranks: exact."""
        if values.dtype != np.int64:
            raise TypeError("only int64 is summed over ranks: floating-point sums depend on the number of ranks")
        if self._mpi is None:
            return values.copy()
        out = np.empty_like(values)
        with self._together("allreduces"):
            self._mpi.Allreduce(np.ascontiguousarray(values), out)
        return out

    def sum_float_inexact(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sums `values` (…), float64, elementwise over ranks: equal bits on all, which depend on their number.

        For training only, not for the physics of a run.
        """
        if self._mpi is None:
            return values
        total = np.empty_like(values)
        with self._together("allreduces"):
            self._mpi.Reduce(np.ascontiguousarray(values), total, root=0)
            self._mpi.Bcast(total, root=0)
        return total

    def reduce(self, total: ExactSum) -> NDArray[np.float64]:
        """An exact sum over ranks as float64, the same bits on all of them.

        Raises:
            PhysicsError: a term on any rank was NaN or out of range.
        """
        if self.size == 1:
            return total.value()
        summed = self.sum(np.append(total.limbs.ravel(), np.int64(bool(total.fault))))
        if summed[-1]:
            self.raise_together(total.error)
        return ExactSum(summed[:-1].reshape(total.limbs.shape), total.kind).value()

    def on_root(self, compute: Callable[[], T]) -> T:
        """The result of `compute` on rank 0, on all ranks: libm, and so any decision, may differ between machines."""
        if self._mpi is None:
            return compute()
        result: Any = None
        with self.collective_errors():
            if self.rank == 0:
                result = compute()
        decided: T = self.bcast(result)
        return decided

    def agreed(self, compute: Callable[[], T]) -> T:
        """The result of a function of numbers that all ranks share, the same bits on all of them.

        Every rank computes it where all have the same mathematical library and processor, else only rank 0 does, see
        `on_root`. An error of it is one of all ranks.
        """
        if self._mpi is None:
            return compute()
        if self._alike is None:
            self._alike = len(set(self.allgather(mathematics()))) == 1
        return compute() if self._alike else self.on_root(compute)

    def max(self, values: float | NDArray[np.float64]) -> Any:
        """Elementwise maximum over ranks of a float or a float64 array (NaN is the caller's to exclude)."""
        if self._mpi is None:
            return values
        array = np.atleast_1d(np.asarray(values, dtype=np.float64))
        out = np.empty_like(array)
        with self._together("allreduces"):
            self._mpi.Allreduce(array, out, op=self._api.MAX)
        return float(out[0]) if np.isscalar(values) else out

    def any(self, flag: bool) -> bool:
        """Tells if `flag` is true on any rank."""
        return bool(self.max(1.0 if flag else 0.0))

    def count_rows(self, counts: Sequence[int] | NDArray[np.int64]) -> RowCounts:
        """Tells every rank how many rows go to it, for several exchanges; `counts` (size,) go to each (collective)."""
        sent = np.asarray(counts, dtype=np.int64)
        if self._mpi is None:
            return RowCounts(sent, sent, int(sent.max()))
        told = np.column_stack([sent, np.full(self.size, sent.max())])  # with the largest of all, for the rounds
        heard = np.empty_like(told)
        with self._together("collectives"):
            self._mpi.Alltoall(told, heard)
        return RowCounts(sent, heard[:, 0].copy(), int(heard[:, 1].max()))

    def exchange(
        self, rows: NDArray[Any], counts: Sequence[int] | NDArray[np.int64] | RowCounts
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Sends rows to other ranks, every rank to every rank.

        Args:
            rows: (n, …), sorted by destination rank.
            counts: (size,) how many go to each rank; or what `count_rows` has made of them, where rows of several
                arrays go to the same ranks.

        Returns:
            The rows received, sorted by source rank, and how many came from each (size,).
        """
        sent, received, most = counts if isinstance(counts, RowCounts) else self.count_rows(counts)
        if self._mpi is None:
            return rows, received
        out = np.empty((int(received.sum()), *rows.shape[1:]), dtype=rows.dtype)
        row_bytes = max(1, rows.dtype.itemsize * int(np.prod(rows.shape[1:], dtype=np.int64)))
        per_round = max(1, ROUND_BYTES // (row_bytes * self.size))  # rows per pair of ranks and round
        rounds = -(-most // per_round)
        to_others = np.delete(sent, self.rank)
        self._count_messages(int(np.count_nonzero(to_others)), row_bytes * int(to_others.sum()))
        send_bytes = np.ascontiguousarray(rows).reshape(-1).view(np.uint8)
        receive_bytes = out.reshape(-1).view(np.uint8)
        send_start, receive_start = np.cumsum(sent) - sent, np.cumsum(received) - received
        for r in range(rounds):
            done = r * per_round
            layouts = []
            for total, start in ((sent, send_start), (received, receive_start)):
                here = np.clip(total - done, 0, per_round)
                layouts.append((here * row_bytes, (start + np.minimum(done, total)) * row_bytes))
            self._alltoallv(send_bytes, layouts[0], receive_bytes, layouts[1])
        return out, received

    def _alltoallv(
        self, send: NDArray[np.uint8], send_layout: Any, receive: NDArray[np.uint8], receive_layout: Any
    ) -> None:
        """Makes one round of an exchange: directly, or through packed buffers if displacements could pass 2³¹.

        Args:
            send: (bytes,) to send.
            send_layout: (size,) bytes to each rank, and their offsets.
            receive: (bytes,) written.
            receive_layout: likewise, from each rank.
        """
        byte = self._api.BYTE
        if max(send.nbytes, receive.nbytes) < 2**31:
            with self._together("collectives"):
                self._mpi.Alltoallv([send, *send_layout, byte], [receive, *receive_layout, byte])
            return
        (n_out, at_out), (n_in, at_in) = send_layout, receive_layout
        packed = np.concatenate([send[a : a + n] for n, a in zip(n_out, at_out, strict=True)])
        unpacked = np.empty(int(n_in.sum()), dtype=np.uint8)
        with self._together("collectives"):
            self._mpi.Alltoallv(
                [packed, n_out, np.cumsum(n_out) - n_out, byte], [unpacked, n_in, np.cumsum(n_in) - n_in, byte]
            )
        position = 0
        for n, a in zip(n_in, at_in, strict=True):
            receive[a : a + n] = unpacked[position : position + n]
            position += n

    def begin(self, legs: Sequence[SendRecv]) -> Pending:
        """Puts messages under way and waits for none; those between the same two ranks arrive in their order here."""
        requests = []
        for leg in legs:
            if leg.to == self.rank and leg.source == self.rank:
                leg.receive[...] = leg.send
                continue
            if leg.source >= 0:
                requests.append(self._mpi.Irecv(leg.receive, source=leg.source))
            if leg.to >= 0:
                requests.append(self._mpi.Isend(leg.send, dest=leg.to))
                self._count_messages(1, leg.send.nbytes)
        return Pending(requests, legs, self.timers)

    def send_receive(self, legs: Sequence[SendRecv]) -> None:
        """Sends and receives: every message is under way before any is waited for."""
        self.begin(legs).wait()

    def _together(self, what: str) -> AbstractContextManager[None]:
        """Counts an operation that waits for all ranks, and its time; `what` is its kind."""
        self.timers.count(what)
        return self.timers.phase(WAIT)

    def _count_messages(self, number: int, size: int) -> None:
        """Counts messages to other ranks, of `size` bytes together."""
        self.timers.count("messages", number)
        self.timers.count("bytes", size)

    def raise_together(self, error: BaseException | None) -> None:
        """Collective: when any rank has an error, every rank raises the lowest such rank's error.

        Expected errors keep their type and message, exhausted memory becomes a `ResourceError`, a path that cannot be
        used an `InputError`, and anything else a `RuntimeError` that carries the traceback of its rank.
        """
        if not self.any(error is not None):
            return
        report: Any = None
        if isinstance(error, AllegroError):
            report = error
        elif error is not None and (fault := unusable_path(error)) is not None:
            report = fault
        elif error is not None and out_of_memory(error):
            report = ResourceError(f"out of memory on rank {self.rank} — use more ranks or nodes, or a smaller system")
        elif error is not None:
            report = RuntimeError(f"rank {self.rank}: " + "".join(traceback.format_exception(error)))
        first = next(r for r in self.allgather(report) if r is not None)
        raise first from error

    @contextmanager
    def collective_errors(self) -> Iterator[None]:
        """Around work that may fail on one rank (and communicates nothing): `raise_together` at its end."""
        error: BaseException | None = None
        try:
            yield
        except Exception as caught:  # handed to every rank
            error = caught
        self.raise_together(error)

    def _abort_on_exception(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        sys.__excepthook__(kind, error, trace)
        self.abort(1)

    def barrier(self, timeout: float) -> bool:
        """Tells if every rank came here within `timeout` seconds: one that did not waits for something else."""
        if self._mpi is None:
            return True
        request = self._farewell.Ibarrier()
        deadline = time.monotonic() + timeout
        while not request.Test():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True

    def abort(self, status: int) -> NoReturn:
        """Ends all ranks at once, for faults that only one rank knows of."""
        sys.stdout.flush()
        sys.stderr.flush()
        if self._mpi is not None and self.n_started > 1:
            time.sleep(FORWARDING_SECONDS)  # mpirun drops what it has not yet read from a rank that aborts
            self._api.COMM_WORLD.Abort(status)
        sys.exit(status)
