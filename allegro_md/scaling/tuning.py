"""The best skin and rank grid, found by trials, as a fragment of an input."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from allegro_md.comm import Comm
from allegro_md.config import Input
from allegro_md.domain.planes import grids_by_surface
from allegro_md.launcher import ranks_named
from allegro_md.potentials import descriptions
from allegro_md.scaling.measure import Timing, machine, studied
from allegro_md.scaling.stage import remarks
from allegro_md.scaling.trials import LEAST_ROUNDS, Setting, Trials, Tried, chosen, skins, tried_grids
from allegro_md.simulation import Simulation
from allegro_md.simulation.host_info import host_info


def tune(config: Input, source: Path, rounds: int, comm: Comm, say: Callable[[str], None]) -> str:
    """Tries skins, then grids, and returns a fragment of an input with what is faster (collective).

    Args:
        config: the input.
        source: its file.
        rounds: trials of each setting that count.
        comm: all ranks.
        say: prints a line about the progress.

    Raises:
        InputError: the input cannot be run on these ranks.
    """
    place = config.output.directory.with_name(f"{config.output.directory.name}.tune")  # never made
    timing = Timing(steps=0, warmup=0, turns=0, with_output=False)
    one = studied(config, source, place, timing)
    for line in remarks(config):
        say(line)
    simulation = Simulation.from_config(one, comm, overwrite=True)
    trials = Trials(simulation)
    now = trials.present
    of_skins = trials.compare([Setting(skin, now.grid) for skin in skins(config)], rounds, say)
    skin = chosen(of_skins)[0].setting.skin
    of_grids: list[Tried] = []
    if comm.size > 1:
        by_surface = grids_by_surface(simulation.state, comm)
        candidates = [Setting(skin, grid) for grid in tried_grids(by_surface, now.grid)]
        of_grids = trials.compare(candidates, rounds, say)
    processor = machine(host_info(comm))["processor"]
    head = [
        f"# allegro-md tune {source}: {trials.atoms} atoms, {ranks_named(comm.size)}, {processor}, "
        f"{datetime.now(UTC):%Y-%m-%d}",
        f"# µs per atom and step in trials of {trials.steps} steps, medians of {rounds} (least to largest), near the "
        "start",
        f"# to use it: put the keys into [parallel] of {source.name}, or start the run with --set parallel.KEY=VALUE",
    ]
    blocks = block_lines(descriptions(simulation.loop.forces.potential))
    return "\n".join([*head, *fragment(trials.atoms, of_skins, of_grids), *blocks]) + "\n"


def fragment(atoms: int, of_skins: Sequence[Tried], of_grids: Sequence[Tried]) -> Iterator[str]:
    """Lines of TOML: what was measured as comments, and the keys to change.

    Args:
        atoms: of the system.
        of_skins: trials of skins, the present one first.
        of_grids: trials of grids, likewise; empty on one rank.
    """
    keys = []
    rounds = len(of_skins[0].seconds)
    for tried, name in ((of_skins, "skin"), (of_grids, "grid")):
        if name == "grid" and tried:
            yield f"# grids, at skin {tried[0].setting.skin:g} Å:"
        for each in tried:
            yield _trial(each, atoms, name, each is tried[0])
        if not tried:
            continue
        best, wins = chosen(tried)
        if rounds < LEAST_ROUNDS:
            yield f"# {name}: no proposal from so few trials, give --repeats {LEAST_ROUNDS} or more"
            continue
        if best is tried[0]:
            yield f"# {name}: none is faster than the present one beyond the noise"
            continue
        saved = 100.0 * (1.0 - best.median / tried[0].median)
        value = f"{best.setting.skin:g}" if name == "skin" else str(list(best.setting.grid))
        keys.append(f"{name} = {value:20s} # {saved:.0f} % less time; faster in {wins} of {len(best.seconds)} turns")
    if keys:
        yield "[parallel]"
        yield from keys
    else:
        yield "# nothing to change"


def block_lines(models: dict[str, str]) -> Iterator[str]:
    """A comment on the blocks of each fused model: they are no key of the input.

    Args:
        models: description by name.
    """
    for name, description in models.items():
        if found := re.search(r"blocks of [^;]*", description):
            yield f"# block: {name} has {found[0]}, found by a trial at each start; there is no key for it"


def _trial(tried: Tried, atoms: int, name: str, is_present: bool) -> str:
    """The comment about one setting."""
    low, middle, high = (1e6 * s / atoms for s in (min(tried.seconds), tried.median, max(tried.seconds)))
    what = f"skin {tried.setting.skin:g} Å" if name == "skin" else f"grid {list(tried.setting.grid)}"
    if tried.dropped:
        return f"# {what}: {1e6 * tried.seconds[0] / atoms:.4f} in a first look, too slow to be tried again"
    every = f", a rebuild every {tried.interval:.0f} steps" if name == "skin" else ""
    return f"# {what}{' (now)' if is_present else ''}: {middle:.4f} ({low:.4f} to {high:.4f}){every}"
