"""Latency, overhead and bandwidth of messages between two ranks, measured under mpirun.

    mpirun -n 2 python -m allegro_md.scaling.links

prints them as JSON. `measure_link` starts that and reads it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allegro_md.comm import Comm, SendRecv
from allegro_md.errors import InputError
from allegro_md.launcher import launcher_words, ranks_named
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
    """Starts two ranks by a launcher, such as "mpirun -n {n}" or "mpirun -n 2", and measures between them.

    Raises:
        InputError: the launcher cannot be started, or starts another number of ranks.
    """
    remedy = 'for example --launcher "mpirun -n 2"'
    words = [word.replace("{n}", "2") for word in launcher_words(launcher)]
    try:
        command = [*words, sys.executable, "-m", "allegro_md.scaling.links"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=LAUNCHER_SECONDS)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise InputError(f"the launcher does not work ({error})", "--launcher", remedy) from None
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if len(told) > 1:
        what = f"it starts {len(told)} processes that take themselves for the only rank"
        raise InputError(what, f"--launcher {launcher}", "use the launcher of the MPI in use: allegro-md doctor")
    if told and told[0]["ranks"] != 2:
        raise InputError(f"it starts {ranks_named(told[0]['ranks'])}, not 2", f"--launcher {launcher}", remedy)
    if done.returncode != 0 or not told:
        said = (done.stderr.strip().splitlines() or [f"it ended with status {done.returncode}"])[-1]
        raise InputError(f"no messages could be sent: {said}", f"--launcher {launcher}", remedy)
    (found,) = told
    return Link(found["latency"], found["overhead"], found["bandwidth"])


def _measure(comm: Comm) -> dict[str, Any]:
    """Measures on two ranks, which send to each other (collective)."""
    other = 1 - comm.rank
    one = _exchange_time(comm, other, SHORT, 1, TRIALS)
    many = _exchange_time(comm, other, SHORT, MANY, TRIALS)
    long = _exchange_time(comm, other, LONG, 1, LONG_TRIALS)
    overhead = 0.5 * max(0.0, (many - one) / (MANY - 1))  # of each end
    return {
        "ranks": comm.size,
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
    figures = _measure(comm) if comm.size == 2 else {"ranks": comm.size}
    if comm.rank == 0:
        print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
