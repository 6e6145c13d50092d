"""A network of nodes with several ranks each, and an event simulation of the steps that ranks make on it.

Every message is followed from its sender through the adapter of the sender's node, where messages queue, to the
receiver. Ranks wait for all messages of a stage. Adapters of other nodes and switches are taken to be free: the network
between the nodes has full bisection bandwidth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from allegro_md.scaling.bricks import Bricks, Exchange, Messages

GHOST_BYTES = 24.0
"""Per ghost and direction: three float64 positions out, three int64 force sums back."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Link:
    """A way between two ranks.

    Attributes:
        latency: from the end of sending to the arrival of a short message, s.
        overhead: processor time of a message at each of its ends, s.
        bandwidth: bytes/s of a rank within a node, of a node between nodes.
    """

    latency: float
    overhead: float
    bandwidth: float


@dataclass(frozen=True)
class Network:
    """Nodes and what connects them.

    Attributes:
        ranks_per_node: ranks of a node have consecutive numbers.
        inside: between ranks of a node.
        between: between nodes; its bandwidth is shared by all ranks of a node.
        jitter: standard deviation of a rank's computing time from step to step, relative.
    """

    ranks_per_node: int
    inside: Link
    between: Link
    jitter: float = 0.0

    def rounds(self, n_ranks: int) -> list[Link]:
        """Links that an allreduce by recursive doubling goes through, one after the other."""
        here = min(n_ranks, self.ranks_per_node)
        nodes = math.ceil(n_ranks / self.ranks_per_node)
        return [self.inside] * math.ceil(math.log2(here)) + [self.between] * math.ceil(math.log2(nodes))

    def allreduce(self, n_ranks: int) -> float:
        """Time of an allreduce of a few numbers, s."""
        return sum(link.latency + 2.0 * link.overhead for link in self.rounds(n_ranks))

    def alltoall(self, n_ranks: int) -> float:
        """Time in which each rank gives every other one two numbers, 16 bytes, s: log₂ P rounds of 8 P bytes each."""
        total = 0.0
        for link in self.rounds(n_ranks):
            share = link.bandwidth / (self.ranks_per_node if link is self.between else 1)
            total += link.latency + 2.0 * link.overhead + 8.0 * n_ranks / share
        return total


@dataclass(frozen=True)
class Work:
    """Computing of a rank in a step.

    Attributes:
        before: seconds before positions are sent.
        interior: seconds for centers that need no ghosts of other ranks.
        boundary: seconds for the other centers.
        reduce_every: steps between two allreduces; less than 1: several in each step, made at its end.
        ghost_forces: forces on ghosts are sent home.
    """

    before: float
    interior: float
    boundary: float
    reduce_every: float = 1.0
    ghost_forces: bool = True

    @property
    def exchanges(self) -> int:
        """Exchanges of a step behind which an equal part of the interior centers is evaluated."""
        return 2 if self.ghost_forces else 1


def simulate(
    bricks: Bricks, network: Network, work: Work, exchange: Exchange = "direct", steps: int = 8, seed: int = 1
) -> float:
    """Simulates steps of all ranks and returns the mean seconds per step.

    In the direct exchange half of the interior centers are evaluated while positions travel, half while forces return;
    all of them while positions travel where no forces return. The staged exchange has nothing to hide behind: each
    stage waits for the one before.

    Args:
        bricks: of the ranks.
        network: between them.
        work: of a rank; each rank's share of a step is multiplied by a random factor of its own.
        exchange: direct or staged.
        steps: made after as many that do not count.
        seed: of the random factors.
    """
    n, rng = bricks.n_ranks, np.random.default_rng(seed)
    out = bricks.stages(np.arange(n), exchange)
    back = [Messages(stage.to, stage.source, stage.atoms) for stage in reversed(out)]
    now, began, reductions = np.zeros(n), 0.0, 0
    queues = (np.zeros(n), np.zeros(-(-n // network.ranks_per_node)))
    hidden = work.interior / work.exchanges if exchange == "direct" else 0.0
    shown = work.interior - work.exchanges * hidden + work.boundary
    for step in range(2 * steps):
        if step == steps:
            began = float(now.max())
        factor = np.maximum(0.0, 1.0 + network.jitter * rng.standard_normal(n))
        now = now + factor * work.before
        now = _exchanged(now, out, network, factor * hidden, queues)
        now = now + factor * shown
        if work.ghost_forces:
            now = _exchanged(now, back, network, factor * hidden, queues)
        due = int((step + 1) / work.reduce_every + 1e-9) - reductions
        if n > 1 and due > 0:
            reductions += due
            now = np.full(n, now.max() + due * network.allreduce(n))
    return (float(now.max()) - began) / steps


def _exchanged(
    now: Floats, stages: list[Messages], network: Network, hidden: Floats, queues: tuple[Floats, Floats]
) -> Floats:
    """Times at which each rank has sent and received all messages.

    Args:
        now: (n,) seconds when each begins.
        stages: one after the other.
        network: on which they travel.
        hidden: (n,) seconds of computing while the messages of the first stage travel.
        queues: times at which the links of the ranks (n,) and the adapters of the nodes (nodes,) are free; updated.
    """
    if not stages:
        return now + hidden
    for stage in stages:
        near = stage.source // network.ranks_per_node == stage.to // network.ranks_per_node
        overhead = np.where(near, network.inside.overhead, network.between.overhead)
        posted, done = _posted(now, stage, overhead)
        received = np.bincount(stage.to, overhead, len(now))
        arrived = done + hidden
        for link, these, queue, free in (
            (network.inside, near, stage.source, queues[0]),
            (network.between, ~near, stage.source // network.ranks_per_node, queues[1]),
        ):
            ready = np.maximum(posted[these], free[queue[these]])
            left = _left(ready, GHOST_BYTES * stage.atoms[these] / link.bandwidth, queue[these])
            np.maximum.at(free, queue[these], left)
            np.maximum.at(arrived, stage.to[these], left + link.latency)
        now, hidden = arrived + received, np.zeros_like(hidden)
    return now


def _posted(now: Floats, stage: Messages, overhead: Floats) -> tuple[Floats, Floats]:
    """Time at which each message leaves its rank (m,), and at which each rank has posted all of its own (n,).

    Args:
        now: (n,) seconds when each rank begins.
        stage: the messages.
        overhead: (m,) seconds of each.
    """
    # The order in which a rank posts: by distance of the numbers, so that not all ranks send to the same one first.
    order = np.lexsort(((stage.to - stage.source) % len(now), stage.source))
    source, cost = stage.source[order], overhead[order]
    total = np.cumsum(cost)
    first = np.searchsorted(source, source)  # of the same rank
    posted = np.empty_like(overhead)
    posted[order] = now[source] + total - (total - cost)[first]
    return posted, now + np.bincount(stage.source, overhead, len(now))


def _left(posted: Floats, service: Floats, queue: NDArray[np.int64]) -> Floats:
    """Time at which the last byte of each message has left its queue, first come, first served; (m,).

    Args:
        posted: (m,) seconds.
        service: (m,) seconds that each keeps the queue busy.
        queue: (m,) its number.
    """
    order = np.lexsort((posted, queue))
    arrival, busy, number = posted[order], service[order], queue[order]
    total = np.cumsum(busy)
    # Departure of k: max over j ≤ k in its queue of arrival_j + busy_j + … + busy_k. Queues are kept apart by an offset
    # larger than all times.
    apart = (np.unique(number, return_inverse=True)[1]) * (2.0 * (float(arrival.max(initial=0.0)) + float(busy.sum())))
    latest = np.maximum.accumulate(arrival - (total - busy) + apart)
    left = np.empty_like(posted)
    left[order] = latest - apart + total
    return left
