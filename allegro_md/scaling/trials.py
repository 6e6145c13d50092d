"""Short trials of settings that change no result: skin and rank grid, in one simulation that goes on meanwhile."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from allegro_md.config import Input
from allegro_md.domain.balance import build_balancer
from allegro_md.domain.decomposition import Grid
from allegro_md.scaling.turns import make_steps
from allegro_md.simulation import Simulation
from allegro_md.simulation.forces import ForceEvaluator

SKINS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0)
"""Å; those near the present one are tried."""

NEAR = (0.4, 3.0)
"""Smallest and largest skin that is tried, over the present one."""

MOST_GRIDS = 4
"""Grids that are tried, those with the least surface."""

DROP_RATIO = 1.25
"""Time over that of the best beyond which a setting is not tried a second time."""

GAIN = 0.02
"""What a change must save at least to be worth a line in the input."""

LEAST_ROUNDS = 3
"""Rounds below which no change is proposed."""

MANY = 5
"""Rounds from which on one may go the other way."""

TURN_SECONDS = 1.0
"""Of a trial, about; there are at least `FEWEST` steps in it and at most `MOST`."""

FEWEST, MOST = 40, 1000


@dataclass(frozen=True)
class Setting:
    """Values to be tried."""

    skin: float
    grid: Grid


@dataclass
class Tried:
    """A setting with its trials.

    Attributes:
        setting: the values.
        seconds: per step, of each trial.
        interval: steps from rebuild to rebuild in the latest trial, at least.
        dropped: it was far from the best in the first round, and not tried again.
    """

    setting: Setting
    seconds: list[float] = field(default_factory=list)
    interval: float = 0.0
    dropped: bool = False

    @property
    def median(self) -> float:
        """Seconds per step."""
        return statistics.median(self.seconds)


class Trials:
    """A simulation whose skin and grid change from trial to trial; no bit of its trajectory depends on them.

    Attributes:
        atoms: number of all atoms.
        present: the values of the input.
        steps: of a trial.
    """

    def __init__(self, simulation: Simulation) -> None:
        """Evaluates the first forces, and finds how many steps a trial has (collective).

        Raises:
            InputError: the dynamics end by themselves.
        """
        self._loop, self._comm, self._config = simulation.loop, simulation.comm, simulation.config
        self._loop.start()
        self.atoms = self._loop.state.n_total
        decomposition = self._loop.forces.decomposition
        assert decomposition is not None
        self.present = Setting(self._config.parallel.skin, decomposition.grid)
        self.steps = FEWEST
        taken, _ = self._seconds(self.present)
        self.steps = int(self._comm.bcast(min(MOST, max(FEWEST, round(TURN_SECONDS / taken)))))

    def compare(self, settings: Sequence[Setting], rounds: int, say: Callable[[str], None]) -> list[Tried]:
        """Tries settings in turns; those that are far from the best after the first round are left out (collective).

        Args:
            settings: the present one first.
            rounds: that count.
            say: prints a line about the progress.

        Returns:
            All of them, in the order given.
        """
        tried = [Tried(setting) for setting in settings]
        for turn in range(rounds + 1):
            going_on = [each for each in tried if not each.dropped]
            which = f"turn {turn} of {rounds}" if turn else "a first look that does not count"
            say(f"trials of {self.steps} steps, {which}: {len(going_on)} settings")
            for each in going_on:
                seconds, each.interval = self._seconds(each.setting)
                each.seconds.append(seconds)
            if turn == 0:
                best = min(each.seconds[0] for each in tried)
                for each in tried:
                    each.dropped = each is not tried[0] and each.seconds[0] >= DROP_RATIO * best
                    if not each.dropped:
                        each.seconds.clear()  # the round in which memory is allocated
        return tried

    def _seconds(self, setting: Setting) -> tuple[float, float]:
        """Seconds per step with some values, the same on all ranks, and steps from rebuild to rebuild (collective).

        A trial begins with a rebuild and ends somewhere between two. Of its R rebuilds R − 1/2 belong to its steps on
        average, so half of one is taken off.
        """
        loop, old = self._loop, self._loop.forces
        balancer = build_balancer(self._config.parallel.balance, self._comm.size)
        forces = ForceEvaluator(old.potential, self._comm, setting.skin, setting.grid, loop.timers, balancer)
        forces.applied = old.applied
        loop.use(forces)
        before = loop.timers.seconds["rebuild"]
        self._comm.max(0.0)  # all ranks begin together
        began = time.perf_counter()
        make_steps(loop, self.steps)
        took = time.perf_counter() - began
        rebuilding = self._comm.allgather(loop.timers.seconds["rebuild"] - before)
        whole = self._comm.max(took) - 0.5 * statistics.mean(rebuilding) / forces.rebuilds
        return whole / self.steps, self.steps / max(forces.rebuilds - 0.5, 0.5)


def skins(config: Input) -> Iterable[float]:
    """The skins to try, Å: the present one first."""
    now = config.parallel.skin
    return [now, *(skin for skin in SKINS if skin != now and NEAR[0] * now <= skin <= (NEAR[1] * now or 1.0))]


def tried_grids(by_surface: Sequence[Grid], present: Grid) -> list[Grid]:
    """The grids to try: the present one first, then those with the least surface.

    Args:
        by_surface: all of them, see `planes.grids_by_surface`.
        present: grid of the input.
    """
    return [present, *[grid for grid in by_surface if grid != present][: MOST_GRIDS - 1]]


def chosen(tried: Sequence[Tried]) -> tuple[Tried, int]:
    """The fastest setting, if it is faster than the present one beyond the noise; else the present one.

    Its times over those of the present one in the same rounds must have a median below one by `GAIN` and by twice the
    median deviation, and be below one in all rounds, or all but one of at least `MANY`. With fewer rounds than
    `LEAST_ROUNDS` the noise is not known, and the present one stays.

    Returns:
        The setting, and the number of rounds in which it was faster than the present one.
    """
    present, best = tried[0], min((each for each in tried if not each.dropped), key=lambda each: each.median)
    if len(present.seconds) < LEAST_ROUNDS:
        return present, 0
    ratios = [there / here for there, here in zip(best.seconds, present.seconds, strict=True)]
    middle = statistics.median(ratios)
    noise = 2.0 * statistics.median(abs(ratio - middle) for ratio in ratios)
    wins = sum(ratio < 1.0 for ratio in ratios)
    if 1.0 - middle < max(GAIN, noise) or wins < len(ratios) - (len(ratios) >= MANY):
        return present, 0
    return best, wins
