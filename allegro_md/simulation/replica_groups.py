"""A group of ranks among those of all replicas, and which of these it makes."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from allegro_md.comm import Comm
from allegro_md.config import Input
from allegro_md.config.replicas import RankGroup, divide
from allegro_md.errors import AllegroError, InputError, InterruptedRun, PhysicsError
from allegro_md.simulation.progress import Log
from allegro_md.simulation.replica_context import NeverStops, ReplicaContext, SharedStop


class ReplicaSet:
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

    def context(self, in_pieces: bool = False, checkpoint: int | None = None) -> ReplicaContext:
        """Returns what each replica of this group has in common with the others.

        Args:
            in_pieces: all replicas of the group are in memory at the same time, and end between two pieces.
            checkpoint: step of the common checkpoint to continue from.
        """
        at_once = len(self.group.replicas) if in_pieces else 1
        return ReplicaContext(
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


@contextmanager
def named(index: int) -> Iterator[None]:
    """Within: the message of an error begins with the replica."""
    try:
        yield
    except InputError as error:
        raise error.at(f"replica {index}, ") from error
    except PhysicsError as error:
        raise PhysicsError(f"replica {index}: {error}", error.atoms) from error
    except AllegroError as error:
        raise type(error)(f"replica {index}: {error}") from error


def division_of(groups: tuple[RankGroup, ...]) -> str:
    """Describes the division of ranks among replicas."""
    count, size = groups[-1].replicas.stop, groups[-1].ranks.stop
    ranks = "1 rank" if size == 1 else f"{size} ranks"
    replicas = "1 replica" if count == 1 else f"{count} replicas"
    few, many = ("ranks for each", "ranks") if size >= count else ("on each rank", "replicas")
    sizes = sorted({len(getattr(group, many)) for group in groups})
    return f"{replicas} on {ranks}, {' or '.join(map(str, sizes))} {few}"
