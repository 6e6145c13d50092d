"""The last lines of a run: where its time went, the floor below which it could not be, and what would help."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

STEPPING = ("potential", "halo", "rebuild", "wait", "integrate", "guard", "output", "checkpoint")
"""Phases of the steps; the rest of a run is its start."""

WAITING = ("wait", "halo", "guard")
"""Phases in which a rank may be waiting for others; the rest is its own work."""

FEW_STEPS = 10
"""Below, nothing is said of a step."""

FEW_ATOMS = 2000
"""Per rank, below which what surrounds the potential counts."""

OWN_CORE = 0.85
"""CPU time of a rank over the time of the run, output left out, below which something else ran on its core."""

LEAST_SECONDS = 5.0
"""Of a run, below which waiting for the disk at its start looks like a core shared with others."""

UNEVEN = 1.15
"""Largest over mean time of the potential from which on it is named."""

MOST_SENTENCES = 2
"""Of advice, those about the largest shares of the time."""


@dataclass(frozen=True)
class TimeAccount:
    """Work of one process per rank, from its start to its end.

    Attributes:
        ranks: of each rank the seconds per phase; phases do not overlap (`Timers`).
        wall: seconds, from building the simulation to its end.
        steps: made by this process.
        atoms: of the whole system.
        rebuilds: of the neighbor lists.
        skin: Å.
        imbalance: largest over mean CPU time of the potential of a rank; None: too little was measured.
        balance_off: planes between ranks do not move.
        cpu_shares: of each rank the CPU time over the time of its run, output left out; empty for a short run.
        complaints: about ranks that share cores, see `host_info.warnings`.
    """

    ranks: Sequence[Mapping[str, float]]
    wall: float
    steps: int
    atoms: int
    rebuilds: int
    skin: float
    imbalance: float | None = None
    balance_off: bool = False
    cpu_shares: Sequence[float] = ()
    complaints: Sequence[str] = ()

    @staticmethod
    def of(
        story: Mapping[str, Any], seconds: float, building: float, steps: int, skin: float, complaints: Sequence[str]
    ) -> TimeAccount:
        """The account of a run that ends.

        Args:
            story: content of its ``run.json``.
            seconds: of the run.
            building: seconds before it, in which the simulation was built.
            steps: made by this process.
            skin: Å.
            complaints: about ranks that share cores.
        """
        ranks, balance = [rank["seconds"] for rank in story["ranks"]], story["balance"] or {}
        inside = [seconds - rank.get("output", 0.0) - rank.get("checkpoint", 0.0) for rank in ranks]
        cpu = [rank["cpu_s"] for rank in story["ranks"]]
        known = min(inside) >= LEAST_SECONDS
        shares = [spent / there for spent, there in zip(cpu, inside, strict=True)] if known else []
        return TimeAccount(
            ranks, building + seconds, steps, story["system"]["atoms"], story["rebuilds"], skin,
            balance.get("latest"), balance.get("off", False), shares, complaints,
        )  # fmt: skip

    def seconds(self, *phases: str) -> float:
        """Seconds in some phases, mean of the ranks."""
        return sum(rank.get(name, 0.0) for rank in self.ranks for name in phases) / len(self.ranks)

    def share(self, *phases: str) -> float:
        """Of the time of all steps that goes into some phases."""
        return self.seconds(*phases) / max(self.seconds(*STEPPING), 1e-9)

    def per_atom_step(self, *phases: str) -> float:
        """µs per atom and step."""
        return 1e6 * self.seconds(*phases) / (self.atoms * self.steps)

    @property
    def atoms_per_rank(self) -> float:
        """The mean."""
        return self.atoms / len(self.ranks)

    @property
    def steps_per_rebuild(self) -> float:
        """The mean; the rebuild of the start does not count."""
        return self.steps / max(1, self.rebuilds - 1)

    @property
    def is_crowded(self) -> bool:
        """Ranks did not have a core each for themselves."""
        return bool(self.complaints) or min(self.cpu_shares, default=1.0) < OWN_CORE

    def lines(self) -> list[str]:
        """Three lines for the log; one where hardly a step was made."""
        if self.steps < FEW_STEPS:
            return [self._by_phase()]
        return [self._by_phase(), self._floor(), f"advice: {'; '.join(self.advice()[:MOST_SENTENCES])}"]

    def as_dict(self) -> dict[str, Any]:
        """The entry of ``run.json``."""
        if self.steps < FEW_STEPS:
            return {"steps": self.steps, "advice": []}
        return {
            "steps": self.steps,
            "floor_us_per_atom_step": self.per_atom_step("potential"),
            "measured_us_per_atom_step": self.per_atom_step(*STEPPING),
            "imbalance": self.imbalance,
            "advice": self.advice(),
        }

    def advice(self) -> list[str]:
        """Sentences about what would make such a run faster, those about the most time first."""
        told = [said for rule in RULES if (said := rule(self)) is not None]
        found = [sentence for _, sentence in sorted(told, key=lambda said: -said[0])]
        return found or ["nothing stands out; allegro-md tune tries other skins and grids"]

    def _by_phase(self) -> str:
        """Per cent of `wall` seconds, the mean of all ranks, largest first."""
        names = dict.fromkeys(name for seconds in self.ranks for name in seconds)
        share = {name: 100.0 * self.seconds(name) / max(self.wall, 1e-9) for name in names}
        share["other"] = max(0.0, 100.0 - sum(share.values()))
        largest = sorted(share.items(), key=lambda item: -item[1])
        parts = ", ".join(f"{name} {value:.0f} %" for name, value in largest if value >= 0.5)
        return f"time: {parts} of {self.wall:.1f} s" + (", mean of the ranks" if len(self.ranks) > 1 else "")

    def _floor(self) -> str:
        floor, measured = self.per_atom_step("potential"), self.per_atom_step(*STEPPING)
        return (
            f"floor: the potential alone takes {floor:.3g} µs per atom and step, all parts of the steps together "
            f"{measured:.3g}, without the start"
        )


# --- rules ------------------------------------------------------------------------------------------------------------

Advice = tuple[float, str] | None
"""The share of the time that a sentence is about, and the sentence; None: the rule does not apply."""


def _crowded(work: TimeAccount) -> Advice:
    """Ranks share cores, with each other or with other programs; nothing else can be judged before."""
    if work.complaints:
        return 3.0, work.complaints[0]
    if not work.is_crowded:
        return None
    least = min(work.cpu_shares)
    whose = "the run" if len(work.ranks) == 1 else f"rank {list(work.cpu_shares).index(least)}"
    return 3.0, f"{whose} had its core for {100 * least:.0f} % of the time only: other programs or ranks ran there"


def _start(work: TimeAccount) -> Advice:
    """Most of the time went into the start."""
    start = work.wall - work.seconds(*STEPPING)
    if start < 0.5 * work.wall:
        return None
    compiling = work.seconds("compile")
    digits = 0 if start >= 10.0 else 1
    took = f"the start took {start:.{digits}f} s of {work.wall:.{digits}f} s"
    sentence = f"{took}: a longer run spends a smaller part on it"
    if compiling > 0.2 * start:
        sentence += f", and the {compiling:.{digits}f} s of compiling come once per machine"
    return start / work.wall, sentence


def _output(work: TimeAccount) -> Advice:
    """Output takes long."""
    share = work.share("output", "checkpoint")
    if share < 0.15:
        return None
    if work.share("checkpoint") > work.share("output"):
        return share, f"checkpoints take {100 * share:.0f} % of the steps: raise output.checkpoint.every"
    return share, (
        f"output takes {100 * share:.0f} % of the steps: raise the intervals of trajectory, thermo and observe"
    )


def _frequent_rebuilds(work: TimeAccount) -> Advice:
    """The skin is too thin."""
    share = work.share("rebuild")
    if share < 0.15 or work.steps_per_rebuild > 25:
        return None
    return share, (
        f"neighbor lists are rebuilt every {work.steps_per_rebuild:.1f} steps, which takes {100 * share:.0f} % of the "
        f"time: a skin above {work.skin:g} Å may help (allegro-md tune)"
    )


def _rare_rebuilds(work: TimeAccount) -> Advice:
    """The skin is too thick."""
    share = work.share("potential")
    if share < 0.4 or work.steps < 200 or work.steps_per_rebuild < 100 or work.skin < 0.2:
        return None
    return 0.1 * share, (
        f"neighbor lists last for {work.steps_per_rebuild:.0f} steps: a skin below {work.skin:g} Å makes them shorter "
        "(allegro-md tune)"
    )


def _waiting(work: TimeAccount) -> Advice:
    """Ranks wait for each other or for messages."""
    share = work.share(*WAITING)
    if len(work.ranks) == 1 or share < 0.2 or work.is_crowded:
        return None
    start = f"messages between ranks and waiting for them take {100 * share:.0f} % of the steps"
    if work.imbalance is not None and work.imbalance > UNEVEN:
        remedy = 'set parallel.balance = "auto"' if work.balance_off else "try another grid (allegro-md tune)"
        return share, f"{start}; the slowest rank takes {work.imbalance:.2f} times the mean: {remedy}"
    if work.atoms_per_rank < FEW_ATOMS:
        few = f"{work.atoms_per_rank:.0f} atoms per rank"
        return share, f"{start}, with {few}: try fewer ranks (allegro-md scale strong)"
    return share, f"{start}: fewer ranks would use their cores better (allegro-md scale strong)"


def _small(work: TimeAccount) -> Advice:
    """The system is so small that the program around the potential counts."""
    share = 1.0 - work.share("potential", "output", "checkpoint", "rebuild")
    if len(work.ranks) > 1 or work.atoms_per_rank >= FEW_ATOMS or share < 0.4:
        return None
    return share, (
        f"{100 * share:.0f} % of the steps does not depend on the number of atoms, since {work.atoms} are few: several "
        "runs side by side use cores better ([replicas])"
    )


def _bound(work: TimeAccount) -> Advice:
    """The potential is all."""
    share = work.share("potential")
    if share < 0.8:
        return None
    return 0.05, f"the potential takes {100 * share:.0f} % of the steps: more ranks or a cheaper model, little else"


RULES: tuple[Callable[[TimeAccount], Advice], ...] = (
    _crowded, _start, _output, _frequent_rebuilds, _rare_rebuilds, _waiting, _small, _bound,
)  # fmt: skip
