"""The closed form of the time of a step on many ranks, part by part, and of its efficiency."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field, fields, replace

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import trapezoid
from scipy.special import ndtr

from allegro_md.scaling.bricks import Bricks, Exchange, Messages
from allegro_md.scaling.network import GHOST_BYTES, Network, Work

REBUILD_BYTES = 84.0
"""Per ghost when the halo is built: id, species, position, shift, and what integrators add; an estimate."""

REBUILD_MESSAGES, REBUILD_COLLECTIVES = 8, 9
"""Messages to each neighbor, one after the other, and reductions and the like of a rebuild: as run.json counts them."""


@dataclass(frozen=True)
class LinearCost:
    """Time that grows with atoms and ghosts: fixed + own · atom + ghosts · ghost, s."""

    fixed: float = 0.0
    atom: float = 0.0
    ghost: float = 0.0

    def seconds(self, own: float, ghosts: float) -> float:
        """Seconds for so many atoms and ghosts of a rank."""
        return self.fixed + self.atom * own + self.ghost * ghosts

    def scaled(self, factor: float) -> LinearCost:
        """All times multiplied, but for the fixed part."""
        return replace(self, atom=factor * self.atom, ghost=factor * self.ghost)


@dataclass(frozen=True)
class Costs:
    """Times of one rank, without messages.

    Attributes:
        potential: forces, per step.
        integrate: integrator, guard and the check of the list, per step.
        halo: gathering and scattering of ghosts, per step.
        rebuild: migration, halo and list, per rebuild.
        row: what a row of thermo.csv adds to its step.
    """

    potential: LinearCost
    integrate: LinearCost = LinearCost()
    halo: LinearCost = LinearCost()
    rebuild: LinearCost = LinearCost()
    row: LinearCost = LinearCost()

    @property
    def per_atom(self) -> float:
        """Seconds of an atom in a step without rebuild and output."""
        return self.potential.atom + self.integrate.atom


@dataclass(frozen=True)
class Intervals:
    """Steps between what does not happen in each of them.

    Attributes:
        rebuild: steps between rebuilds.
        row: steps between rows of thermo.csv; infinite: none.
        reduce: steps between allreduces.
    """

    rebuild: float
    row: float = math.inf
    reduce: float = 4.0


@dataclass(frozen=True)
class Overlap:
    """Conditions under which a potential is evaluated while messages travel.

    Attributes:
        least_interior: interior atoms of a rank below which they are not evaluated apart from the others; infinity for
            a potential that cannot be evaluated in parts.
        waited_share: share of a step's time in messages up to which they are not, either.
        ghost_forces: forces on ghosts are sent home.
    """

    least_interior: float = 0.0
    waited_share: float = 0.0
    ghost_forces: bool = True


@dataclass(frozen=True)
class StepTime:
    """Time of a step, s, of the slowest rank.

    Attributes:
        potential, integrate, halo, rebuild, output: computing, see `Costs`.
        surface: of all these the part that ghosts cause; not added to the sum.
        latency: processor time of messages and waiting for short ones.
        bandwidth: waiting for bytes, beyond what interior centers hide.
        migration: messages of rebuilds.
        reductions: allreduces.
        jitter: waiting for ranks that are slower by chance.
    """

    potential: float
    integrate: float
    halo: float
    rebuild: float
    output: float
    surface: float = field(metadata={"part": False})
    latency: float = 0.0
    bandwidth: float = 0.0
    migration: float = 0.0
    reductions: float = 0.0
    jitter: float = 0.0

    @property
    def parts(self) -> dict[str, float]:
        """Seconds by name; they add up to `total`."""
        return {each.name: getattr(self, each.name) for each in fields(self) if each.metadata.get("part", True)}

    @property
    def total(self) -> float:
        """Seconds per step."""
        return sum(self.parts.values())


def step_time(
    bricks: Bricks, costs: Costs, network: Network, intervals: Intervals, exchange: Exchange = "direct",
    overlap: Overlap = Overlap(),
) -> StepTime:
    """Evaluates the closed form.

    Args:
        bricks: of the ranks.
        costs: of one rank.
        network: between the ranks.
        intervals: steps between rebuilds, rows and reductions.
        exchange: direct, with interior centers evaluated meanwhile, or staged.
        overlap: of the potential.
    """
    own, ghosts, n_ranks = bricks.own, bricks.ghosts, bricks.n_ranks
    rebuild = costs.rebuild.seconds(own, ghosts) / intervals.rebuild
    work = work_of(bricks, costs, network, intervals, overlap)
    latency, bandwidth = messages_time(bricks, network, work, exchange)
    reductions = network.allreduce(n_ranks) / intervals.reduce if n_ranks > 1 else 0.0
    computing = work.before + work.interior + work.boundary
    return StepTime(
        potential=costs.potential.seconds(own, ghosts),
        integrate=costs.integrate.seconds(own, ghosts),
        halo=costs.halo.seconds(own, ghosts),
        rebuild=rebuild,
        output=costs.row.seconds(own, ghosts) / intervals.row,
        surface=ghosts * (costs.potential.ghost + costs.halo.ghost + costs.rebuild.ghost / intervals.rebuild),
        latency=latency,
        bandwidth=bandwidth,
        migration=migration_time(bricks, network, exchange) / intervals.rebuild,
        reductions=reductions,
        jitter=network.jitter * computing * expected_largest(min(n_ranks, 27)),
    )


def work_of(
    bricks: Bricks, costs: Costs, network: Network, intervals: Intervals, overlap: Overlap = Overlap()
) -> Work:
    """Divides the computing of a step as the simulation wants it; rebuilds and rows are spread over all steps.

    Args:
        bricks: of the ranks.
        costs: of one rank.
        network: between the ranks.
        intervals: between rebuilds, rows and reductions.
        overlap: of the potential.
    """
    own, ghosts = bricks.own, bricks.ghosts
    inner = np.prod([max(0.0, edge - 2.0 * bricks.halo) / edge for edge in bricks.lengths]) if _remote(bricks) else 1.0
    potential = costs.potential.seconds(own, ghosts)
    others = costs.integrate.seconds(own, ghosts) + costs.halo.seconds(own, ghosts)
    others += costs.rebuild.seconds(own, ghosts) / intervals.rebuild + costs.row.seconds(own, ghosts) / intervals.row
    n_interior = float(inner) * own
    together = Work(others, 0.0, potential, intervals.reduce, overlap.ghost_forces)
    waited = sum(messages_time(bricks, network, together, "direct"))
    if n_interior < overlap.least_interior or waited < overlap.waited_share * (others + potential + waited):
        return together
    interior = costs.potential.atom * n_interior
    return replace(together, interior=interior, boundary=potential - interior)


def messages_time(bricks: Bricks, network: Network, work: Work, exchange: Exchange) -> tuple[float, float]:
    """Time that messages add to a step, of positions and of forces, beyond what interior centers hide.

    A stage of m messages, o the overhead of each, s the mean time each keeps its link or adapter busy: the last one
    arrives after max(m·o + s, o + Σs) + α, and each is received in o.

    Returns:
        Seconds due to latency and overhead, and those due to bytes.
    """
    if not _remote(bricks):
        return 0.0, 0.0
    ranks, latency, total = _a_node(bricks, network), 0.0, 0.0
    for stage in bricks.stages(ranks, exchange):
        hidden = work.interior / work.exchanges if exchange == "direct" else 0.0
        with_bytes, without = (_stage_time(stage, network, hidden, size) for size in (GHOST_BYTES, 0.0))
        total, latency = total + work.exchanges * with_bytes, latency + work.exchanges * without
    return latency, total - latency


def _stage_time(stage: Messages, network: Network, hidden: float, size: float) -> float:
    """Time of a stage of the slowest rank of a node, less the computing that is done meanwhile.

    Args:
        stage: messages of all ranks of the node.
        network: on which they travel.
        hidden: seconds of computing that hides the waiting.
        size: bytes per ghost.
    """
    near = stage.source // network.ranks_per_node == stage.to // network.ranks_per_node
    overhead = np.where(near, network.inside.overhead, network.between.overhead)
    posting = float(np.bincount(stage.source - stage.source.min(), overhead).max(initial=0.0))
    arrival = 0.0
    for link, these, queue in (
        (network.inside, near, stage.source), (network.between, ~near, stage.source // network.ranks_per_node),
    ):  # fmt: skip
        if not these.any():
            continue
        busy = size * stage.atoms[these] / link.bandwidth
        queued = float(np.bincount(queue[these] - queue[these].min(), busy).max())
        first = float(overhead[these].min())
        last = float(busy.mean())
        arrival = max(arrival, max(posting + last, first + queued) + link.latency)
    return posting + max(0.0, arrival - posting - hidden) + posting


def migration_time(bricks: Bricks, network: Network, exchange: Exchange) -> float:
    """Time of the messages of a rebuild, hidden behind nothing, s: those of the halo, and counts between all ranks.

    Atoms that change ranks are few; that each rank tells all others how many it sends takes longer than they do.
    """
    if not _remote(bricks):
        return 0.0
    stages = bricks.stages(_a_node(bricks, network), exchange)
    long, short = (sum(_stage_time(stage, network, 0.0, size) for stage in stages) for size in (REBUILD_BYTES, 0.0))
    collectives = REBUILD_COLLECTIVES * network.allreduce(bricks.n_ranks) + network.alltoall(bricks.n_ranks)
    return long + (REBUILD_MESSAGES - 1) * short + collectives


def _a_node(bricks: Bricks, network: Network) -> NDArray[np.int64]:
    """Ranks of the node in the middle."""
    size = min(network.ranks_per_node, bricks.n_ranks)
    first = (bricks.n_ranks // size // 2) * size
    return np.arange(first, min(first + size, bricks.n_ranks))


def _remote(bricks: Bricks) -> bool:
    return bricks.n_ranks > 1


@functools.cache
def expected_largest(n: int) -> float:
    """Expected largest of n standard normal numbers."""
    if n < 2:
        return 0.0
    x = np.linspace(-8.0, 9.0, 2001)
    density = np.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)
    return float(trapezoid(n * x * density * ndtr(x) ** (n - 1), x))
