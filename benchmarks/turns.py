"""Measurements that take turns: each side is a process (or several ranks) of its own, asleep but for its turn.

What else the machine does then meets all sides alike, and each has the threads and the allocator that suit it. Ranks
wait at pipes, not in MPI, where waiting takes a core.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import launch

HERE = Path(__file__).resolve().parent

TURN_SECONDS = 0.5


class Side:
    """A script of this folder that ends in `serve`, running.

    Attributes:
        about: what it answered when it was ready.
    """

    def __init__(
        self, script: str, arguments: Sequence[object], folder: Path, ranks: int = 1,
        environment: dict[str, str] | None = None,
    ) -> None:
        """Starts it and waits until it is ready; `folder` holds its pipes, `arguments` come after them."""
        folder.mkdir(parents=True)
        self._pipes = []
        for rank in range(ranks):
            os.mkfifo(folder / str(rank))
            self._pipes.append(os.open(folder / str(rank), os.O_RDWR))  # does not wait for the reader
        begin = launch.on_ranks(ranks) if ranks > 1 else [sys.executable]
        command = [*begin, str(HERE / script), str(folder), *map(str, arguments)]
        variables = launch.environment() | (environment or {})
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=variables)
        self.about = self._answer()

    def ask(self, what: str) -> dict[str, Any]:
        """Has something done and waits for the answer."""
        for pipe in self._pipes:
            os.write(pipe, f"{what}\n".encode())
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                return dict(json.loads(line))
        raise SystemExit(f"a side of the measurement ended: {self._process.args!r}")

    def __enter__(self) -> Side:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pipe in self._pipes:
            os.close(pipe)
        self._process.wait()


class Baton:
    """One of several in a ring, who takes a turn when the one before has had his."""

    def __init__(self, before: Path | str, after: Path | str) -> None:
        """Opens the pipes to both neighbors, made by `ring`."""
        self._before, self._after = (os.open(pipe, os.O_RDWR) for pipe in (before, after))

    def take(self) -> None:
        """Waits for the turn."""
        os.read(self._before, 1)

    def give(self) -> None:
        """Ends it."""
        os.write(self._after, b".")


def ring(folder: Path, count: int) -> list[tuple[Path, Path]]:
    """Makes the pipes of a ring: before and after each of so many."""
    pipes = [folder / f"pipe-{k}" for k in range(count)]
    for pipe in pipes:
        os.mkfifo(pipe)
    return [(pipes[k], pipes[(k + 1) % count]) for k in range(count)]


def serve(about: dict[str, Any], answer: Callable[[str], dict[str, Any]], rank: int = 0) -> None:
    """The end of a side's script: answers until no one can ask any more; rank 0 speaks.

    Args:
        about: the first answer.
        answer: does what is asked, on all ranks.
        rank: of this process.
    """
    with open(Path(sys.argv[1]) / str(rank)) as questions:
        while True:
            if rank == 0:
                print(json.dumps(about), flush=True)
            question = questions.readline().strip()
            if not question:
                return
            about = answer(question)


def calls(sides: dict[str, Side], rounds: int) -> dict[str, list[float]]:
    """Seconds of a call of the model in each turn of each side; the calls of a turn take about `TURN_SECONDS`."""
    counts = {name: max(1, round(TURN_SECONDS / side.ask("forces 1")["seconds"])) for name, side in sides.items()}
    return alternate(sides, {name: f"forces {count}" for name, count in counts.items()}, rounds)


def alternate(sides: dict[str, Side], what: dict[str, str], rounds: int) -> dict[str, list[float]]:
    """Seconds of each turn of each side, after one round that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds + 1):
        for name, side in sides.items():
            seconds[name].append(side.ask(what[name])["seconds"])
    return {name: values[1:] for name, values in seconds.items()}


def described(seconds: Sequence[float], per: float) -> dict[str, Any]:
    """Median and range of turns, in µs per so many (atoms, or atoms times steps)."""
    scale = 1e6 / per
    return {
        "median_us": round(scale * statistics.median(seconds), 4),
        "range_us": [round(scale * min(seconds), 4), round(scale * max(seconds), 4)],
        "turns": len(seconds),
    }
