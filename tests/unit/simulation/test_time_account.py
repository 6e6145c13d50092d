"""The last lines of a run, from times whose answer is known by hand; one test per rule."""

from __future__ import annotations

from typing import Any

import pytest

from allegro_md.simulation.time_account import TimeAccount


def account(*ranks: dict[str, float], **changed: Any) -> TimeAccount:
    """A run of 1,000 steps with 100,000 atoms."""
    given: dict[str, Any] = {"wall": 100.0, "steps": 1000, "atoms": 100_000, "rebuilds": 21, "skin": 0.5}
    return TimeAccount(ranks, **(given | changed))


def only(work: TimeAccount) -> str:
    """The one sentence of advice."""
    (sentence,) = work.advice()
    return sentence


def test_time_by_phase() -> None:
    """By hand: 4 s of two ranks; the second one waits while the first computes."""
    ranks = {"potential": 3.0, "halo": 0.4}, {"potential": 1.0, "wait": 2.0, "halo": 0.4, "guard": 0.01}
    line = account(*ranks, wall=4.0).lines()[0]
    assert line == "time: potential 50 %, wait 25 %, other 15 %, halo 10 % of 4.0 s, mean of the ranks"
    assert account({"potential": 1.0}, wall=2.0).lines()[0] == "time: potential 50 %, other 50 % of 2.0 s"


def test_three_lines() -> None:
    """60 s of potential and 30 s of the rest in 1,000 steps of 100,000 atoms: 0.6 and 0.9 µs per atom and step."""
    work = account({"potential": 60.0, "rebuild": 10.0, "integrate": 20.0, "verify": 5.0})
    lines = work.lines()
    assert len(lines) == 3
    assert lines[1] == (
        "floor: the potential alone takes 0.6 µs per atom and step, all parts of the steps together 0.9, "
        "without the start"
    )
    assert lines[2] == "advice: nothing stands out; allegro-md tune tries other skins and grids"
    entry = work.as_dict()
    assert entry["floor_us_per_atom_step"] == pytest.approx(0.6)
    assert entry["measured_us_per_atom_step"] == pytest.approx(0.9)


def test_hardly_a_step() -> None:
    work = account({"potential": 1.0}, steps=0)
    assert len(work.lines()) == 1 and work.as_dict() == {"steps": 0, "advice": []}


def test_a_long_start() -> None:
    work = account({"potential": 5.0, "integrate": 5.0, "compile": 40.0})
    assert "the start took 90 s of 100 s" in only(work) and "40 s of compiling come once per machine" in only(work)


def test_a_short_start_is_not_zero() -> None:
    assert "the start took 0.6 s of 1.0 s" in account({"potential": 0.4}, wall=1.0).advice()[0]


def test_output() -> None:
    work = account({"potential": 60.0, "output": 30.0, "integrate": 10.0})
    assert only(work).startswith("output takes 30 % of the steps")
    work = account({"potential": 60.0, "checkpoint": 30.0, "output": 10.0})
    assert "raise output.checkpoint.every" in only(work)


def test_rebuilds() -> None:
    phases = {"potential": 60.0, "rebuild": 25.0, "integrate": 15.0}
    assert "rebuilt every 3.0 steps, which takes 25 %" in only(account(phases, rebuilds=334))
    assert "a skin above 0.5 Å" in only(account(phases, rebuilds=334))
    assert "nothing stands out" in only(account(phases, rebuilds=26))  # every 40 steps: the skin is not what is wrong
    assert "a skin below 0.5 Å" in only(account({"potential": 60.0, "integrate": 40.0}, rebuilds=2))


def test_waiting() -> None:
    idle, busy = {"potential": 40.0, "wait": 60.0}, {"potential": 80.0, "wait": 20.0}
    uneven = only(account(idle, busy, imbalance=1.33))
    assert "40 % of the steps; the slowest rank takes 1.33 times the mean: try another grid" in uneven
    assert 'parallel.balance = "auto"' in only(account(idle, busy, imbalance=1.33, balance_off=True))
    even = {"potential": 60.0, "halo": 40.0}
    assert "fewer ranks would use their cores better" in only(account(even, even))
    assert "432 atoms per rank: try fewer ranks" in only(account(even, even, atoms=864))


def test_ranks_without_a_core_of_their_own_come_first() -> None:
    """No other number of ranks is advised then: the waiting comes from the cores."""
    even = {"potential": 60.0, "halo": 40.0}
    told = account(even, even, atoms=864, cpu_shares=(0.99, 0.5)).advice()
    assert told == ["rank 1 had its core for 50 % of the time only: other programs or ranks ran there"]
    complaint = "4 ranks share 2 cores on node: use mpirun -n 2, or more hosts"
    assert account(even, even, atoms=864, complaints=[complaint]).advice() == [complaint]


def test_account_of_a_record() -> None:
    """By hand: 50 s of a run, 10 of them output; 38 s of CPU time in the other 40."""
    ranks = [{"seconds": {"potential": 30.0, "output": 10.0}, "cpu_s": 38.0}] * 2
    balance = {"even": 1.5, "first": 1.4, "latest": 1.3, "moves": 0, "seconds": 0.0, "off": True}
    story = {"ranks": ranks, "balance": balance, "rebuilds": 4, "system": {"atoms": 500}}
    work = TimeAccount.of(story, 50.0, 5.0, 100, 0.5, [])
    assert work.wall == 55.0 and work.imbalance == 1.3 and work.balance_off
    assert work.cpu_shares == pytest.approx([0.95, 0.95]) and not work.is_crowded
    crowded = story | {"ranks": [ranks[0], {"seconds": {}, "cpu_s": 20.0}]}
    assert TimeAccount.of(crowded, 50.0, 5.0, 100, 0.5, []).is_crowded
    assert not TimeAccount.of(crowded, 13.0, 5.0, 100, 0.5, []).is_crowded  # too short to tell


def test_a_small_system() -> None:
    phases = {"potential": 30.0, "integrate": 40.0, "guard": 30.0}
    assert "70 % of the steps does not depend on the number of atoms, since 500 are few" in only(
        account(phases, atoms=500)
    )
    assert "nothing stands out" in only(account(phases))


def test_nothing_but_the_potential() -> None:
    assert "the potential takes 90 %" in only(account({"potential": 90.0, "integrate": 10.0}))


def test_the_log_has_two_sentences_about_the_most_time() -> None:
    more = account({"potential": 5.0, "output": 7.0, "rebuild": 6.0}, rebuilds=334)
    assert len(more.advice()) == 3 and more.lines()[2].count(";") == 1
    assert more.advice()[0].startswith("the start took")
