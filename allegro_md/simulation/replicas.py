"""Replicas of a run: the ranks are divided into groups, each of which makes some of them."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from allegro_md.comm import Comm
from allegro_md.config import Input
from allegro_md.config.replicas import Group, divide
from allegro_md.config.schema import REPLICA
from allegro_md.errors import AllegroError, InputError, InterruptedRun, PhysicsError
from allegro_md.io.exchanges import AVERAGES, EXCHANGES
from allegro_md.io.run_directory import DYNAMICS, Contents, RunDirectory
from allegro_md.simulation.membership import Membership, NeverStops, SharedStop
from allegro_md.simulation.progress import Log
from allegro_md.simulation.run import Simulation
from allegro_md.stopping import REASONS, StopRequest

RECORD = "replicas.json"

REPLICAS = Contents(
    record=RECORD,
    results=(EXCHANGES, AVERAGES),
    checkpoints=tuple(f"{REPLICA}[0-9]*/{pattern}" for pattern in DYNAMICS.checkpoints),
    rest=("log.txt",),
    early=frozenset({"log.txt", EXCHANGES}),
)
"""Files of the directory above those of the replicas, which are complete run directories of their own."""


class Ensemble:
    """The replicas that this group of ranks makes, and the others.

    Attributes:
        config: the input of all.
        world: all ranks.
        comm: ranks of this group.
        group: this one.
        stop: ends all of them.
        log: of all.
    """

    def __init__(self, config: Input, world: Comm, stop: SharedStop) -> None:
        """Divides the ranks (collective)."""
        assert config.replicas is not None
        self.config, self.world, self.stop = config, world, stop
        groups = divide(config.replicas.count, world.size)
        self.group = next(group for group in groups if world.rank in group.ranks)
        self.comm = world.split(self.group.index)
        self.log = Log(config.output.directory / "log.txt", world.rank == 0)
        self.log.say(division_of(groups))
        hosts = world.allgather((socket.gethostname(), self.group.index))
        here = [group for host, group in hosts if host == socket.gethostname()]
        self._groups_on_host = len(here) / here.count(self.group.index)

    def membership(self, in_pieces: bool = False, checkpoint: int | None = None) -> Membership:
        """Returns what each replica of this group has in common with the others.

        Args:
            in_pieces: all replicas of the group are in memory at the same time, and end between two pieces.
            checkpoint: step of the common checkpoint to continue from.
        """
        at_once = len(self.group.replicas) if in_pieces else 1
        return Membership(
            NeverStops() if in_pieces else self.stop, prints=not in_pieces, checkpoint=checkpoint,
            runs=self.count, runs_on_host=self._groups_on_host * at_once,
        )  # fmt: skip

    @property
    def count(self) -> int:
        """Number of replicas."""
        assert self.config.replicas is not None
        return self.config.replicas.count

    def require_together(self, error: AllegroError | None) -> None:
        """Raises on all ranks what ended a replica on some, if anything did (collective).

        Raises:
            AllegroError: the error of the first replica that ended by itself, else an interruption.
        """
        causes = error is not None and not isinstance(error, InterruptedRun)
        if self.world.any(causes) and not causes:
            error = None
        self.world.raise_together(error)


def run_replicas(config: Input, comm: Comm, resume: bool = False, overwrite: bool = False) -> None:
    """Makes all replicas of an input (collective).

    Args:
        config: the input.
        comm: all ranks.
        resume: continue each replica from its newest good checkpoint, or all from their newest common one where they
            exchange temperatures.
        overwrite: existing run directories may be replaced.

    Raises:
        AllegroError: a replica has failed, or the run was interrupted; on all ranks alike.
    """
    assert config.replicas is not None
    directory = config.output.directory
    with comm.collective_errors():
        if comm.rank == 0:
            check_directories(config, resume, overwrite)
    request = StopRequest(config.stop.walltime, 0.0)
    with (
        RunDirectory(directory, comm, resume=resume, overwrite=overwrite, contents=REPLICAS) as place,
        request.on_signals(),
    ):
        ensemble = Ensemble(config, comm, SharedStop(request, comm))
        began = time.time()
        note = _Notes(place, ensemble, began)
        note("running")
        try:
            if config.replicas.exchange is None:
                run_independent(ensemble, resume, overwrite)
            else:
                from allegro_md.simulation.tempering import run_tempering

                run_tempering(ensemble, resume, overwrite, lambda extra: note("running", extra))
        except AllegroError as error:  # on all ranks alike
            note(f"{type(error).__name__}: {error}")
            raise
        note("done")
        ensemble.log.say(f"done: {ensemble.count} replicas; results in {directory}")


def run_independent(ensemble: Ensemble, resume: bool, overwrite: bool) -> None:
    """Makes the replicas of each group one after the other (collective).

    Raises:
        AllegroError: one has failed, or the run was interrupted.
    """
    error: AllegroError | None = None
    for index in ensemble.group.replicas:
        if reason := int(ensemble.comm.max(float(ensemble.stop.wanted()))):
            error = InterruptedRun(f"{REASONS[reason]}; replica {index} has not begun, or not been continued")
            break
        ensemble.log.say(f"replica {index}:")
        try:
            with named(index):
                Simulation.from_config(
                    ensemble.config.replica(index), ensemble.comm, resume, overwrite, ensemble.membership()
                ).run()
        except AllegroError as fault:
            ensemble.stop.give_up()
            error = fault
            break
    ensemble.require_together(error)


@contextmanager
def named(index: int) -> Iterator[None]:
    """Within: the message of an error begins with the replica."""
    try:
        yield
    except InputError as error:
        faults = [InputError(e.what, f"replica {index}, {e.where}".rstrip(", "), e.remedy) for e in error.faults]
        raise InputError.of(faults) from error
    except PhysicsError as error:
        raise PhysicsError(f"replica {index}: {error}", error.atoms) from error
    except AllegroError as error:
        raise type(error)(f"replica {index}: {error}") from error


def check_directories(config: Input, resume: bool, overwrite: bool) -> None:
    """Makes the checks that need no writing; on one rank.

    Raises:
        InputError: a directory is in the way, or holds replicas that do not fit.
    """
    assert config.replicas is not None
    directory, count = config.output.directory, config.replicas.count
    RunDirectory.check(directory, resume=resume, overwrite=overwrite, contents=REPLICAS)
    if (directory / DYNAMICS.record).exists():
        what = f"holds {DYNAMICS.record}: it is the directory of a run without replicas"
        raise InputError(what, str(directory), "choose another output.directory")
    for path in sorted(directory.glob(f"{REPLICA}[0-9]*")) if directory.is_dir() else ():
        number = path.name.removeprefix(REPLICA)
        if number.isdigit() and int(number) >= count:
            what = f"holds {path.name}, but the input has {count} replica{'s'[: count > 1]}, from {REPLICA}0 on"
            raise InputError(what, str(directory), "remove it yourself, or choose another output.directory")
    for index in range(count):
        where = config.replica(index).output.directory
        RunDirectory.check(where, resume=resume, overwrite=overwrite)
    before, now = read_record(directory) if resume else None, config.as_dict()["replicas"]
    if before is not None and ("exchange" in before or "exchange" in now):
        for key in ("count", "temperatures", "exchange"):
            if before.get(key) != now.get(key):
                what = f"replicas.{key} = {now.get(key)}, but the run began with {before.get(key)}"
                raise InputError(what, str(directory), "resume with the input that began the run")


def read_record(directory: Path) -> dict[str, Any] | None:
    """The table ``[replicas]`` that a run began with, from its record; None where there is none."""
    try:
        found = json.loads((directory / RECORD).read_text())["input"]["replicas"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, dict) else None


class _Notes:
    """Writes ``replicas.json``."""

    def __init__(self, place: RunDirectory, ensemble: Ensemble, began: float) -> None:
        self._place, self._ensemble, self._extra = place, ensemble, dict[str, Any]()
        self._began = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(began))

    def __call__(self, status: str, extra: dict[str, Any] | None = None) -> None:
        """Replaces the file (collective); `extra` entries stay until others come."""
        config = self._ensemble.config
        assert config.replicas is not None
        if extra is not None:
            self._extra = extra
        if self._ensemble.world.rank > 0:
            self._place.write_record({})  # only that of rank 0 counts
            return
        temperatures = config.replicas.temperatures
        groups = divide(config.replicas.count, self._ensemble.world.size)
        rows = [
            {"directory": f"{REPLICA}{index}", "ranks": [group.ranks.start, group.ranks.stop - 1]}
            | ({} if temperatures is None else {"temperature_K": temperatures[index]})
            | _state(config.replica(index).output.directory)
            for group in groups
            for index in group.replicas
        ]
        record = {"status": status, "began": self._began, "replicas": rows, "input": config.as_dict()}
        self._place.write_record(record | self._extra)


def _state(directory: Path) -> dict[str, Any]:
    """Status and last step of a replica, from its own record."""
    try:
        record = json.loads((directory / DYNAMICS.record).read_text())
        return {"status": record["status"], "step": record["step"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {"status": "not begun", "step": 0}


def division_of(groups: tuple[Group, ...]) -> str:
    """Describes the division of ranks among replicas."""
    count, size = groups[-1].replicas.stop, groups[-1].ranks.stop
    ranks = "1 rank" if size == 1 else f"{size} ranks"
    replicas = "1 replica" if count == 1 else f"{count} replicas"
    few, many = ("ranks for each", "ranks") if size >= count else ("on each rank", "replicas")
    sizes = sorted({len(getattr(group, many)) for group in groups})
    return f"{replicas} on {ranks}, {' or '.join(map(str, sizes))} {few}"
