"""What `tune` tries, when it proposes a change, and what it writes."""

from __future__ import annotations

import tomllib

import numpy as np

from allegro_md.cell import Cell
from allegro_md.domain.decomposition import grids
from allegro_md.scaling.trials import Setting, Tried, chosen, tried_grids
from allegro_md.scaling.tuning import block_lines, fragment


def tried(skin: float, seconds: list[float]) -> Tried:
    return Tried(Setting(skin, (1, 1, 1)), seconds, interval=10.0)


NOW = tried(0.5, [1.0, 1.1, 1.0, 1.05, 1.0])


def test_a_change_beyond_the_noise() -> None:
    better = tried(0.8, [0.9, 0.95, 0.9, 0.95, 0.9])
    assert chosen([NOW, better]) == (better, 5)
    lines = "\n".join(fragment(1000, [NOW, better], []))
    assert tomllib.loads(lines) == {"parallel": {"skin": 0.8}}
    assert "# skin 0.5 Å (now): 1000.0000 (1000.0000 to 1100.0000), a rebuild every 10 steps" in lines
    assert "10 % less time; faster in 5 of 5 turns" in lines


def test_no_change_within_the_noise() -> None:
    for seconds in (
        [0.99, 1.09, 0.99, 1.04, 0.99],  # one per cent
        [0.8, 1.3, 0.9, 1.2, 0.95],  # now faster, now slower
        [0.9, 0.5, 1.01, 0.95, 1.02],  # slower in two
    ):
        assert chosen([NOW, tried(0.8, seconds)]) == (NOW, 0)
    lines = "\n".join(fragment(1000, [NOW, tried(0.8, seconds)], []))
    assert tomllib.loads(lines) == {} and "nothing to change" in lines


def test_all_that_was_tried_is_listed() -> None:
    """One that was too slow in the first look was tried once; it is never proposed."""
    slow = Tried(Setting(0.1, (1, 1, 1)), [0.5], dropped=True)
    assert chosen([NOW, slow]) == (NOW, 0)
    lines = list(fragment(1000, [NOW, slow], []))
    assert "# skin 0.1 Å: 500.0000 in a first look, too slow to be tried again" in lines


def test_few_trials_make_no_proposal() -> None:
    now, better = tried(0.5, [1.0, 1.0]), tried(0.8, [0.5, 0.5])
    assert chosen([now, better]) == (now, 0)
    lines = "\n".join(fragment(1000, [now, better], []))
    assert tomllib.loads(lines) == {} and "give --repeats 3 or more" in lines


def test_a_grid_is_proposed_for_itself() -> None:
    now, better = Tried(Setting(0.5, (1, 1, 4)), [1.0] * 5), Tried(Setting(0.5, (1, 2, 2)), [0.9] * 5)
    lines = "\n".join(fragment(1000, [NOW], [now, better]))
    assert tomllib.loads(lines) == {"parallel": {"grid": [1, 2, 2]}} and "# grids, at skin 0.5 Å:" in lines


def test_grids_with_the_least_surface_come_first() -> None:
    """A long box is cut across its long edge, a slab with vacuum along that edge is not."""
    long = Cell(np.diag([10.0, 10.0, 100.0]))
    found = tried_grids(grids(4, long, np.zeros(3), np.ones(3)), (4, 1, 1))
    assert found[:2] == [(4, 1, 1), (1, 1, 4)] and len(set(found)) == len(found) == 4
    slab = tried_grids(grids(4, long, np.array([0.0, 0.0, 0.49]), np.array([1.0, 1.0, 0.51])), (4, 1, 1))
    assert slab[1] == (2, 2, 1) and (1, 1, 4) not in slab[:3]


def test_blocks_are_no_key() -> None:
    assert list(block_lines({"cu.allegro": "fused engine; blocks of 2 x 192 edges"})) == [
        "# block: cu.allegro has blocks of 2 x 192 edges, found by a trial at each start; there is no key for it"
    ]
    assert not list(block_lines({"cu.allegro": "reference engine"}))
