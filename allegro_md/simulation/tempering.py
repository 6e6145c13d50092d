"""Parallel tempering: replicas at neighboring temperatures exchange these now and then.

Sugita, Okamoto, Chem. Phys. Lett. 314, 141 (1999), doi:10.1016/S0009-2614(99)01123-9: replicas i and j with potential
energies U_i, U_j at temperatures T_i, T_j exchange these with probability

    min(1, exp Δ),  Δ = (1/(k_B T_i) − 1/(k_B T_j)) (U_i − U_j),

and velocities are multiplied by sqrt(T_new/T_old). Exchange number n is that after n · `every` steps; in it the pairs
of temperatures (0, 1), (2, 3), … may exchange where n is odd, (1, 2), (3, 4), … where it is even. The random number of
a pair is keyed by seed, n and pair, and U is an exact sum, so that the same exchanges are made on any number of ranks
and after a continuation.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allegro_md.accumulators.mean import Mean
from allegro_md.errors import AllegroError, InputError, InterruptedRun
from allegro_md.integrators.base import Tempered
from allegro_md.io.checkpoint import checkpoint_path, checkpoint_steps, read_checkpoint
from allegro_md.io.disk import write_whole
from allegro_md.io.exchanges import AVERAGES, EXCHANGES, ExchangeFile, Exchanges, read_exchanges
from allegro_md.simulation.progress import PLAIN_SECONDS
from allegro_md.simulation.replica_groups import ReplicaSet, named
from allegro_md.simulation.run import Simulation
from allegro_md.stopping import REASONS
from allegro_md.units import BOLTZMANN

STREAM = 0x45584348
"""Word of the key of random numbers, beside the seed: no thermostat uses these."""


def pairs_of(number: int, count: int) -> range:
    """The lower temperatures of the pairs that may exchange in an exchange, numbered from 1."""
    return range(1 - number % 2, count - 1, 2)


def exchanged(
    holders: list[int], potentials: list[float], temperatures: tuple[float, ...], number: int, seed: int
) -> list[int]:
    """Returns which replica holds each temperature after an exchange.

    Args:
        holders: replica at each temperature before it.
        potentials: of each replica, eV.
        temperatures: ascending, K.
        number: of the exchange, from 1.
        seed: of the random numbers.
    """
    found = list(holders)
    for low in pairs_of(number, len(temperatures)):
        i, j = found[low], found[low + 1]
        beta = [1.0 / (BOLTZMANN * temperatures[k]) for k in (low, low + 1)]
        delta = (beta[0] - beta[1]) * (potentials[i] - potentials[j])
        counter = np.array([low, number, 0, 0], dtype=np.uint64)
        random = np.random.Generator(np.random.Philox(key=(STREAM << 64) + seed, counter=counter)).random()
        if delta >= 0.0 or random < math.exp(delta):
            found[low], found[low + 1] = j, i
    return found


def run_tempering(
    replica_set: ReplicaSet, resume: bool, overwrite: bool, note_progress: Callable[[dict[str, Any]], None]
) -> None:
    """Makes all replicas, and exchanges between them (collective).

    Args:
        replica_set: the replicas.
        resume: continue all of them from their newest common checkpoint, if they have one.
        overwrite: existing run directories may be replaced.
        note_progress: writes the record of all replicas, with further entries.

    Raises:
        AllegroError: a replica has failed, or the run was interrupted.
    """
    step = common_checkpoint(replica_set) if resume else None
    simulations: dict[int, Simulation] = {}
    error: AllegroError | None = None
    for index in replica_set.group.replicas:
        try:
            with named(index):
                simulations[index] = Simulation.from_config(
                    replica_set.config.replica(index), replica_set.comm, resume and step is not None,
                    overwrite or (resume and step is None), replica_set.context(True, step),
                )  # fmt: skip
                require_canonical(simulations[index])
        except AllegroError as fault:
            error = fault
            break
    replica_set.require_together(error)
    Tempering(replica_set, simulations, step or 0, note_progress).run()


def require_canonical(simulation: Simulation) -> None:
    """Refuses a system whose temperature cannot be exchanged.

    Raises:
        InputError: by its ensemble or its potential.
    """
    if not isinstance(simulation.loop.integrator, Tempered):
        what = f"{simulation.config.dynamics.ensemble} does not give the canonical ensemble, which exchanges rest on"
        raise InputError(what, "replicas.exchange", 'use "nvt-bussi", "nvt-nose-hoover" or "nvt-langevin"')
    if "energy" not in simulation.loop.forces.potential.info.provides:
        what = f"the potential '{simulation.loop.forces.potential.info.name}' gives no energies"
        raise InputError(what, "replicas.exchange", "remove it, or use another potential")


class Tempering:
    """The exchanges between all replicas.

    Attributes:
        temperatures: of all replicas at the beginning, ascending, K.
        holders: replica at each temperature.
    """

    def __init__(
        self, replica_set: ReplicaSet, simulations: dict[int, Simulation], step: int,
        note_progress: Callable[[dict[str, Any]], None],
    ) -> None:
        """Takes up the exchanges after a step of a checkpoint, or 0 (collective).

        Raises:
            InputError: ``exchanges.csv`` does not fit the checkpoints.
        """
        replicas = replica_set.config.replicas
        assert replicas is not None and replicas.exchange is not None and replicas.temperatures is not None
        self.temperatures, exchange = replicas.temperatures, replicas.exchange
        self._every, self._seed = exchange.every, exchange.seed
        self._replica_set, self._simulations, self._note_progress = replica_set, simulations, note_progress
        self._path = replica_set.config.output.directory / EXCHANGES
        now = self._gathered({k: _temperature(simulation) for k, simulation in simulations.items()})
        self.holders = [now.index(kelvin) for kelvin in self.temperatures]
        self._file: ExchangeFile | None = None
        self._shown = time.monotonic()
        world = replica_set.world
        with world.collective_errors():
            if world.rank == 0:
                self._file = ExchangeFile(self._path, len(now), step)
                self._require_rows(step, now)

    def run(self) -> None:
        """Makes all steps of all replicas (collective).

        Raises:
            AllegroError: a replica has failed, or the run was interrupted.
        """
        replica_set, world = self._replica_set, self._replica_set.world
        pieces = {index: simulation.pieces(self._every) for index, simulation in self._simulations.items()}
        try:
            while world.any(self._advance(pieces)):
                if reason := int(world.max(float(replica_set.stop.request.wanted()))):
                    step = next(iter(self._simulations.values())).loop.step
                    raise InterruptedRun(f"{REASONS[reason]}; all replicas stopped after step {step}")
                self._exchange()
        except AllegroError as error:  # on all ranks alike
            self._end(pieces, error)
            with suppress(AllegroError):  # on all ranks alike; `error` is what is told
                self._note_progress(self.statistics())
            raise
        finally:
            self._close()
        self._note_progress(self.statistics())

    def _advance(self, pieces: dict[int, Iterator[None]]) -> bool:
        """Makes the steps of each replica to the next exchange (collective); False: to the end."""
        error: AllegroError | None = None
        more = False
        for index, piece in pieces.items():
            try:
                with named(index):
                    next(piece)
                more = True
            except StopIteration:
                pass
            except AllegroError as fault:
                error = fault
                break
        self._replica_set.require_together(error)
        return more

    def _end(self, pieces: dict[int, Any], error: AllegroError) -> None:
        """Ends the replicas that go on, each with a checkpoint."""
        reason = str(error) if isinstance(error, InterruptedRun) else f"another replica has ended early ({error})"
        for piece in pieces.values():
            with suppress(AllegroError, StopIteration):  # what it says is in its record; `error` ends the program
                piece.throw(InterruptedRun(reason))

    def _exchange(self) -> None:
        """Decides and makes one exchange (collective)."""
        replica_set, loops = self._replica_set, {k: simulation.loop for k, simulation in self._simulations.items()}
        potentials = self._gathered({k: loop.potential_energy() for k, loop in loops.items()})
        loop = next(iter(loops.values()))
        number = loop.step // self._every
        self.holders = replica_set.world.on_root(
            lambda: exchanged(self.holders, potentials, self.temperatures, number, self._seed)
        )
        now = [self.temperatures[self.holders.index(k)] for k in range(len(self.holders))]
        for index, simulation in self._simulations.items():
            integrator = simulation.loop.integrator
            assert isinstance(integrator, Tempered)
            if now[index] != _temperature(simulation):
                integrator.set_temperature(simulation.state, now[index])
        between = replica_set.config.output.checkpoint.every
        with replica_set.world.collective_errors():
            if self._file is not None:
                self._file.add(loop.step, loop.time, now, potentials)
                if between and (loop.step + self._every) % between == 0:  # before a checkpoint counts on the rows
                    self._file.flush()
        if between and loop.step % between == 0:
            self._note_progress(self.statistics())
        if time.monotonic() - self._shown > PLAIN_SECONDS:
            self._shown = time.monotonic()
            replica_set.log.say(f"step {loop.step}/{replica_set.config.steps}, exchange {number}")

    def statistics(self) -> dict[str, Any]:
        """Returns what the record tells of the exchanges so far; writes the means by temperature (collective)."""
        return self._replica_set.world.on_root(self._statistics)

    def _statistics(self) -> dict[str, Any]:
        rows = read_exchanges(self._path)
        start = np.array(self.temperatures)
        attempted, accepted = count_exchanges(rows, start, self._every)
        write_whole(self._path.with_name(AVERAGES), _averages(rows, start, accepted / np.maximum(1, attempted)))
        return {
            "exchanges": len(rows.steps),
            "pairs": [
                {"temperatures_K": list(self.temperatures[k : k + 2]), "attempted": int(tried), "accepted": int(done)}
                for k, (tried, done) in enumerate(zip(attempted, accepted, strict=True))
            ],
        }

    def _gathered(self, mine: dict[int, float]) -> list[float]:
        """The numbers of all replicas, each given by all ranks of its group (collective)."""
        found = {k: value for part in self._replica_set.world.allgather(mine) for k, value in part.items()}
        return [found[k] for k in range(self._replica_set.count)]

    def _require_rows(self, step: int, now: list[float]) -> None:
        rows = read_exchanges(self._path)
        expected = list(range(self._every, step, self._every))
        before = rows.temperatures[-1].tolist() if expected and len(rows.steps) else list(self.temperatures)
        if rows.steps.tolist() != expected or before != now:
            what = f"does not have the exchanges made before step {step}, that of the checkpoints"
            raise InputError(what, str(self._path), "restore it, or start again with --overwrite")

    def _close(self) -> None:
        with self._replica_set.world.collective_errors():
            if self._file is not None:
                self._file.close()


def _temperature(simulation: Simulation) -> float:
    """The constant temperature that a replica has at present, K."""
    integrator = simulation.loop.integrator
    assert isinstance(integrator, Tempered)
    return integrator.target.first


def count_exchanges(
    rows: Exchanges, start: NDArray[np.float64], every: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Counts exchanges per pair of neighboring temperatures.

    Args:
        rows: of all exchanges.
        start: (temperatures,) K, ascending, of the replicas at the beginning.
        every: steps between exchanges.

    Returns:
        How many were attempted (pairs,) and accepted (pairs,).
    """
    n = len(start)
    attempted, accepted = np.zeros(n - 1, dtype=np.int64), np.zeros(n - 1, dtype=np.int64)
    holders, after = np.argsort(rows.before(start), axis=1), np.argsort(rows.temperatures, axis=1)
    for step, old, new in zip(rows.steps, holders, after, strict=True):
        for low in pairs_of(int(step) // every, n):
            attempted[low] += 1
            accepted[low] += old[low] != new[low]
    return attempted, accepted


def _averages(rows: Exchanges, start: NDArray[np.float64], ratio: NDArray[np.float64]) -> bytes:
    """The content of ``temperatures.csv``; `start` (temperatures,) K, `ratio` (pairs,) of accepted exchanges."""
    lines = ["temperature_K,samples,potential_eV,error_eV,accepted_with_next"]
    energies = rows.by_temperature(start)
    mean = Mean(len(start))
    if len(energies):
        mean.add(energies, first=0)
        found = mean.estimate()
        for k, kelvin in enumerate(start.tolist()):
            values = (float(found.mean[k]), float(found.error[k]), float(ratio[k]) if k < len(ratio) else math.nan)
            lines.append(",".join([repr(kelvin), str(len(energies)), *map(repr, values)]))
    return ("\n".join(lines) + "\n").encode()


def common_checkpoint(replica_set: ReplicaSet) -> int | None:
    """Step of the newest checkpoint that all replicas have, each undamaged; None where none is there (collective).

    Raises:
        InputError: checkpoints are there, but none in common: files are damaged or missing.
    """
    directories = [replica_set.config.replica(index).output.directory for index in range(replica_set.count)]
    found = replica_set.world.on_root(lambda: [checkpoint_steps(directory) for directory in directories])
    common = set.intersection(*(set(steps) for steps in found))
    for step in sorted(common, reverse=True):
        good = True
        for index in replica_set.group.replicas:
            try:
                read_checkpoint(checkpoint_path(directories[index], step), replica_set.comm)
            except InputError as error:
                replica_set.log.note(f"passed over: {error}")
                good = False
        if not replica_set.world.any(not good):
            replica_set.log.say(f"going on from step {step} of all replicas")
            return step
    if common or any(len(steps) > 1 for steps in found):
        what = "the replicas have no undamaged checkpoint of one and the same step"
        where = str(replica_set.config.output.directory)
        raise InputError(what, where, "restore them, or start again with --overwrite")
    replica_set.log.say("no checkpoint is common to all replicas: starting from the beginning")
    return None
