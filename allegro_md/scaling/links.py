"""Latency, overhead and bandwidth of messages between two ranks, measured under mpirun.

    mpirun -n 2 python -m allegro_md.scaling.links

prints them as JSON. `measure_link` starts that and reads it.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allegro_md.comm import Comm, SendRecv
from allegro_md.errors import InputError
from allegro_md.scaling.network import Link

SHORT, LONG = 8, 1 << 22
"""Bytes of the messages of which latency and bandwidth are measured."""

ROUNDS, MANY = 10, 16
"""Exchanges of a trial, and messages that are sent together to measure the overhead of one."""

TRIALS, LONG_TRIALS = 60, 10
"""The least time counts: in the others one of the ranks may have had no core."""

LAUNCHER_SECONDS = 120.0
"""What the launcher gets for all of it."""


def measure_link(launcher: str) -> Link:
    """Starts two ranks or more by a launcher, such as "mpirun -n 2", and measures between the first and the last.

    Raises:
        InputError: the launcher cannot be started, or starts one rank.
    """
    command = [*shlex.split(launcher), sys.executable, "-m", "allegro_md.scaling.links"]
    remedy = 'for example --launcher "mpirun -n 2"'
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LAUNCHER_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError(f"the launcher does not work ({error})", "--launcher", remedy) from None
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode != 0 or len(lines) != 1:
        said = (done.stderr.strip().splitlines() or ["it started one rank, or its ranks do not find each other"])[-1]
        raise InputError(f"no messages could be sent: {said}", "--launcher", remedy)
    found = json.loads(lines[0])
    return Link(found["latency"], found["overhead"], found["bandwidth"])


def _measure(comm: Comm) -> dict[str, Any]:
    """Measures on all ranks; the first and the last send to each other (collective)."""
    other = comm.size - 1 - comm.rank
    takes_part = comm.rank in (0, comm.size - 1)
    one = _exchange_time(comm, other, SHORT, 1, TRIALS) if takes_part else 0.0
    many = _exchange_time(comm, other, SHORT, MANY, TRIALS) if takes_part else 0.0
    long = _exchange_time(comm, other, LONG, 1, LONG_TRIALS) if takes_part else 0.0
    overhead = 0.5 * max(0.0, (many - one) / (MANY - 1))  # of each end
    return {
        "latency": max(1e-8, one - 2.0 * overhead),
        "overhead": overhead,
        "bandwidth": LONG / max(1e-9, long - one),
    }


def _exchange_time(comm: Comm, other: int, size: int, count: int, trials: int) -> float:
    """Seconds in which `count` messages of `size` bytes go both ways; the least of the trials."""
    out: list[NDArray[np.uint8]] = [np.zeros(size, np.uint8) for _ in range(count)]
    into = [np.zeros(size, np.uint8) for _ in range(count)]
    legs = [SendRecv(a, other, b, other) for a, b in zip(out, into, strict=True)]
    least = np.inf
    for _ in range(trials):
        least = min(least, seconds_of(comm, legs, ROUNDS))
    return float(least)


def seconds_of(comm: Comm, legs: list[SendRecv], rounds: int) -> float:
    """Seconds of an exchange of messages, the mean of some rounds."""
    began = time.perf_counter()
    for _ in range(rounds):
        comm.send_receive(legs)
    return (time.perf_counter() - began) / rounds


def main() -> None:
    """Measures between ranks and prints the figures on the first."""
    comm = Comm.world()
    if comm.size == 1:
        raise SystemExit("one rank has nobody to send to")
    figures = _measure(comm)
    if comm.rank == 0:
        print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
