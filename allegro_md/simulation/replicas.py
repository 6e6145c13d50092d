"""Makes the replicas of a run: directories, independent replicas, the record of all."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from allegro_md.comm import Comm
from allegro_md.config import Input
from allegro_md.config.replicas import divide
from allegro_md.config.schema import REPLICA
from allegro_md.errors import AllegroError, InputError, InterruptedRun
from allegro_md.io.exchanges import AVERAGES, EXCHANGES
from allegro_md.io.run_directory import DYNAMICS, Contents, RunDirectory
from allegro_md.simulation.replica_context import SharedStop
from allegro_md.simulation.replica_groups import ReplicaSet, named
from allegro_md.simulation.run import Simulation
from allegro_md.simulation.tempering import run_tempering
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
        replica_set = ReplicaSet(config, comm, SharedStop(request, comm))
        began = time.time()
        note = _Notes(place, replica_set, began)
        note("running")
        try:
            if config.replicas.exchange is None:
                run_independent(replica_set, resume, overwrite)
            else:
                run_tempering(replica_set, resume, overwrite, lambda extra: note("running", extra))
        except AllegroError as error:  # on all ranks alike
            note(f"{type(error).__name__}: {error}")
            raise
        note("done")
        replica_set.log.say(f"done: {replica_set.count} replicas; results in {directory}")


def run_independent(replica_set: ReplicaSet, resume: bool, overwrite: bool) -> None:
    """Makes the replicas of each group one after the other (collective).

    Raises:
        AllegroError: one has failed, or the run was interrupted.
    """
    error: AllegroError | None = None
    for index in replica_set.group.replicas:
        if reason := int(replica_set.comm.max(float(replica_set.stop.wanted()))):
            error = InterruptedRun(f"{REASONS[reason]}; replica {index} has not begun, or not been continued")
            break
        replica_set.log.say(f"replica {index}:")
        try:
            with named(index):
                Simulation.from_config(
                    replica_set.config.replica(index), replica_set.comm, resume, overwrite, replica_set.context()
                ).run()
        except AllegroError as fault:
            replica_set.stop.give_up()
            error = fault
            break
    replica_set.require_together(error)


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

    def __init__(self, place: RunDirectory, replica_set: ReplicaSet, began: float) -> None:
        self._place, self._replica_set, self._extra = place, replica_set, dict[str, Any]()
        self._began = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(began))

    def __call__(self, status: str, extra: dict[str, Any] | None = None) -> None:
        """Replaces the file (collective); `extra` entries stay until others come."""
        config = self._replica_set.config
        assert config.replicas is not None
        if extra is not None:
            self._extra = extra
        if self._replica_set.world.rank > 0:
            self._place.write_record({})  # only that of rank 0 counts
            return
        temperatures = config.replicas.temperatures
        groups = divide(config.replicas.count, self._replica_set.world.size)
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
