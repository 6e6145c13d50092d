"""The process of a scaling study that a launcher starts: holds one system on its ranks, and times its steps.

    mpirun -n 4 python -m allegro_md.scaling.measure INPUT.toml RESULT.json --ranks 4 --steps 100 --warmup 20 --turns 5

The result is written anew after every turn, so a job that is cut off leaves the turns it has made. A study that lets
several of these processes alternate gives ``--ask``: each turn then waits for a line on standard input. The other
ranks sleep meanwhile; in an MPI call they would take a core.
"""

from __future__ import annotations

import argparse
import platform
import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from allegro_md.comm import Comm
from allegro_md.compilation import COMPILE, CompilationWatch
from allegro_md.config import Input, load_input
from allegro_md.config.output import OutputConfig
from allegro_md.errors import AllegroError, InputError, ResourceError, out_of_memory
from allegro_md.io.disk import write_json
from allegro_md.launcher import ranks_named
from allegro_md.scaling.stage import alone, remarks
from allegro_md.scaling.turns import Turns
from allegro_md.simulation import Simulation
from allegro_md.simulation.host_info import by_host, cores_of, host_info, processor, resident_memory, warnings
from allegro_md.versions import installed

READY = "allegro-md: ready"
"""Line on standard output: the process is ready for a turn, its first one or the next."""

CONTINUE, END = 1, 2
"""Words to the other ranks."""

POLL_SECONDS = 0.002
"""Seconds between looks for a word of rank 0."""


@dataclass(frozen=True)
class Timing:
    """Steps of a measurement.

    Attributes:
        steps: of a turn.
        warmup: steps before the first turn.
        turns: number of them.
        with_output: the files of the input are written within the turns, into a folder that is removed afterwards.
    """

    steps: int
    warmup: int
    turns: int
    with_output: bool


@dataclass(frozen=True)
class Job:
    """Order for one process.

    Attributes:
        source: the input file.
        result: file to write.
        ranks: number of them that the launcher is to start.
        assignments: changed keys, as of ``--set``.
        timing: steps to make.
        ask: wait for a line on standard input before every turn.
    """

    source: Path
    result: Path
    ranks: int
    assignments: tuple[str, ...]
    timing: Timing
    ask: bool

    def words(self) -> list[str]:
        """The words of the command line behind this Python's."""
        timing = self.timing
        changed = [word for assignment in self.assignments for word in ("--set", assignment)]
        flags = [flag for flag, given in (("--with-output", timing.with_output), ("--ask", self.ask)) if given]
        counts = {"ranks": self.ranks, "steps": timing.steps, "warmup": timing.warmup, "turns": timing.turns}
        numbers = [word for name, count in counts.items() for word in (f"--{name}", str(count))]
        return ["-m", "allegro_md.scaling.measure", str(self.source), str(self.result), *numbers, *changed, *flags]

    @staticmethod
    def parse(words: Sequence[str] | None = None) -> Job:
        """Reads what follows the module's name; None: of this process."""
        parser = argparse.ArgumentParser(prog="python -m allegro_md.scaling.measure")
        parser.add_argument("source", type=Path)
        parser.add_argument("result", type=Path)
        for name in ("ranks", "steps", "warmup", "turns"):
            parser.add_argument(f"--{name}", type=int, required=True)
        parser.add_argument("--set", action="append", default=[])
        for flag in ("--with-output", "--ask"):
            parser.add_argument(flag, action="store_true")
        o = parser.parse_args(words)
        timing = Timing(o.steps, o.warmup, o.turns, o.with_output)
        return Job(o.source, o.result, o.ranks, tuple(o.set), timing, o.ask)


def main() -> int:
    """Measures, and returns the exit status: the program's own."""
    job, comm = Job.parse(), Comm.world()
    try:
        measure(job, comm)
        return 0
    except (AllegroError, MemoryError, RuntimeError) as error:
        fault = ResourceError("out of memory") if out_of_memory(error) else error
        if not isinstance(fault, AllegroError):
            raise
        if comm.rank == 0:
            print(f"allegro-md: {fault}", file=sys.stderr, flush=True)
            with suppress(ResourceError):  # the disk may be what is full
                write_json(job.result, {"ranks": comm.size, "error": str(fault), "status": fault.exit_status})
        if not isinstance(error, AllegroError):
            comm.abort(fault.exit_status)  # on this rank alone: the others would wait for it
        return fault.exit_status


def measure(job: Job, comm: Comm) -> None:
    """Builds the system, warms up and makes the turns; rank 0 writes the result (collective).

    Raises:
        AllegroError: the launcher has started another number of ranks, or the system cannot be simulated on these.
    """
    if comm.size != job.ranks:
        what = f"it starts {ranks_named(comm.size)}, not {job.ranks}"
        raise InputError(what, "--launcher", "write {n} where the number stands; allegro-md doctor looks at MPI")
    timing, place = job.timing, job.result.with_suffix(".output")
    with comm.collective_errors():
        whole = load_input(job.source, job.assignments)
        config = studied(whole, job.source, place, timing)
    with CompilationWatch(active=False) as compilation:
        simulation = Simulation.from_config(config, comm, overwrite=True)
        turns = Turns(simulation, timing.steps, timing.with_output)
        turns.warm_up(timing.warmup)
    document = _about(simulation, timing)
    document["notes"] += remarks(whole)
    if comm.max(compilation.timers.seconds[COMPILE]) > 0.0:
        document["notes"].append(
            f"kernels were compiled on {ranks_named(comm.size)}: MB/rank there includes that, and is less in the next "
            "study"
        )
    for _ in range(timing.turns):
        if job.ask and not _asked(comm):
            break
        document["turns"].append(turns.take())
        document["peak_memory_MB"] = round(comm.max(resident_memory()[1] / 2**20), 1)
        with comm.collective_errors():
            if comm.rank == 0:
                write_json(job.result, document)
    turns.close()
    if comm.rank == 0:
        shutil.rmtree(place, ignore_errors=True)
        if job.ask:
            print(READY, flush=True)


def studied(config: Input, source: Path, place: Path, timing: Timing) -> Input:
    """The input as a study runs it: one stage, and where it is asked for with the files it writes.

    Args:
        config: the input.
        source: its file, for messages.
        place: run directory.
        timing: steps to make.

    Raises:
        InputError: it is for several replicas, or no stage makes steps of a timestep.
    """
    if config.replicas is not None:
        what, remedy = "is for several replicas", "study one of them: remove [replicas]"
        raise InputError(what, f"{source}, replicas", remedy)
    one = alone(config, str(source))
    changed: dict[str, Any] = {}
    if timing.with_output:
        changed["output"] = one.output.model_copy(update={"directory": place})
        beyond = timing.steps * (timing.turns + 1) + 1  # never the end, with its checkpoint
        changed["dynamics"] = one.dynamics.model_copy(update={"steps": beyond})
    else:
        never = OutputConfig.model_validate({"thermo": {"every": 0}, "checkpoint": {"every": 0}})
        changed["output"] = never.model_copy(update={"directory": place})
    return one.model_copy(update=changed)


def _about(simulation: Simulation, timing: Timing) -> dict[str, Any]:
    """The entries of the result beside the turns (collective)."""
    loop, config = simulation.loop, simulation.config
    places = host_info(simulation.comm)
    decomposition = loop.forces.decomposition
    return {
        "ranks": simulation.comm.size,
        "atoms": loop.state.n_total,
        "system": named(config),
        "timestep_fs": config.dynamics.length_of_step,
        "skin_A": config.parallel.skin,
        "grid": None if decomposition is None else list(decomposition.grid),
        "steps": timing.steps,
        "with_output": timing.with_output,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(places),
        "notes": warnings(places),
        "versions": installed(),
        "turns": [],
    }


def named(config: Input) -> str:
    """The system in short: its crystal or structure file, and its potential."""
    table = config.system
    atoms = table.crystal.symbol if table.crystal is not None else Path(str(table.structure)).stem
    terms = []
    for term in config.potential:
        keys = term.model_dump()
        file = keys.get("model") or keys.get("file") or next(iter(keys.get("committee") or ()), None)
        terms.append(Path(str(file)).stem if file else str(keys.get("kind", "model")))
    return f"{atoms}, {' + '.join(terms)}"


def machine(places: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Processor of rank 0's host, number of hosts, usable cores of all, and operating system.

    Args:
        places: see `host_info`.
    """
    hosts = by_host(places)
    return {
        "processor": processor(),
        "hosts": len(hosts),
        "cores": sum(len(cores_of(ranks)) for ranks in hosts.values()),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _asked(comm: Comm) -> bool:
    """Waits for a turn, and tells if there is one: rank 0 reads a line, the others sleep until they hear of it."""
    if comm.rank == 0:
        print(READY, flush=True)
        word = CONTINUE if sys.stdin.readline() else END
        comm.tell(word)
        return word == CONTINUE
    while not (word := comm.told()):
        time.sleep(POLL_SECONDS)
    return word == CONTINUE


if __name__ == "__main__":
    sys.exit(main())
