"""Conclusions from studies whose answer is known."""

from __future__ import annotations

from pathlib import Path

from studies import turn, write_study

from allegro_md.scaling.advice import advice
from allegro_md.scaling.results import read_results

BUSY = {"potential": 0.9, "halo": 0.1}


def told(folder: Path, turns: dict[int, list[object]], kind: str = "strong", atoms: int = 100_000) -> str:
    """The advice on a study, in one text."""
    sizes = {n: atoms * n if kind == "weak" else atoms for n in turns}
    return "\n".join(advice(read_results(write_study(folder, turns, sizes, kind=kind))))


def test_the_optimum(tmp_path: Path) -> None:
    """From 4 to 8 ranks 1.1 times as fast: twice the ranks for 1.8 times the cost."""
    turns = {n: [turn(s, BUSY)] * 5 for n, s in ((1, 1.0), (2, 0.51), (4, 0.27), (8, 0.27 / 1.1))}
    text = told(tmp_path, turns)
    assert "4 ranks are the optimum for this system: 8 ranks are 1.1 times as fast at 1.8 times the cost" in text


def test_no_optimum_among_those_tried(tmp_path: Path) -> None:
    text = told(tmp_path, {1: [turn(1.0)] * 5, 2: [turn(0.51)] * 5})
    assert "efficiency is 0.98 on 2 ranks, the most that were tried" in text


def test_the_cause_of_a_loss(tmp_path: Path) -> None:
    """By hand: two ranks spend 40 % of 0.8 s waiting, one rank nothing, so that is what is lost."""
    turns = {1: [turn(1.0)] * 5, 2: [turn(0.8, {"potential": 0.6, "wait": 0.3, "halo": 0.1})] * 5}
    text = told(tmp_path, turns)
    assert "efficiency is 0.62 on 2 ranks: 40 % of the time there goes into messages between ranks" in text
    assert "a rank has 50,000 atoms there" in text
    uneven = {1: turns[1], 2: [turn(0.8, {"potential": 0.6, "wait": 0.4}, even=1.5)] * 5}
    assert "the busiest rank has 1.50 times the mean work" in told(tmp_path, uneven)
    slower = {1: [turn(1.0)] * 5, 2: [turn(0.9)] * 5}
    assert "goes into the potential itself" in told(tmp_path, slower)


def test_a_weak_study(tmp_path: Path) -> None:
    text = told(tmp_path, {1: [turn(1.0)] * 5, 4: [turn(1.04)] * 5}, "weak")
    assert "400,000 atoms on 4 ranks take 1.04 times as long as 100,000 on 1 rank: efficiency 0.96" in text


def test_doubts(tmp_path: Path) -> None:
    noisy = told(tmp_path, {1: [turn(1.0), turn(1.5)], 2: [turn(0.5)] * 2})
    assert "the turns differ by 40 % on 1 rank" in noisy and "fewer than 3 turns" in noisy
    shared = told(tmp_path, {1: [turn(1.0)] * 3, 2: [turn(1.0, cpu=0.5)] * 3})
    assert "had its core for 50 % of the time on 2 ranks only" in shared and "goes into" not in shared
    quiet = told(tmp_path, {1: [turn(1.0)] * 3, 2: [turn(0.5)] * 3})
    assert "differ" not in quiet and "only" not in quiet and "core" not in quiet


def test_all_disturbed_numbers_of_ranks_are_named(tmp_path: Path) -> None:
    turns = [turn(1.0, cpu=0.5), turn(1.5, cpu=0.5), turn(1.0, cpu=0.5)]
    text = told(tmp_path, {1: [turn(1.0)] * 3, 2: turns, 4: turns})
    assert "the turns differ by 50 % on 2 ranks and 50 % on 4 ranks" in text
    assert "for 50 % of the time on 2 ranks and 50 % of the time on 4 ranks only" in text


def test_more_ranks_than_cores_are_no_optimum(tmp_path: Path) -> None:
    """The studies are of a machine with 8 cores."""
    text = told(tmp_path, {8: [turn(1.0)] * 3, 16: [turn(65.0)] * 3})
    assert "8 cores: the times of 16 ranks tell nothing" in text and "optimum" not in text
    text = told(tmp_path, {1: [turn(1.0)] * 3, 8: [turn(0.13)] * 3, 16: [turn(65.0)] * 3})
    assert "on 8 ranks, the most with a core each" in text and "optimum" not in text


def test_large_ratios_are_written_out(tmp_path: Path) -> None:
    assert "no faster at 130 times the cost" in told(tmp_path, {1: [turn(1.0)] * 3, 2: [turn(65.0)] * 3})


def test_short_turns(tmp_path: Path) -> None:
    """1,000 steps of 20 µs: 20 ms. 5,000 of them would make 0.1 s."""
    text = told(tmp_path, {1: [turn(2e-5)] * 3, 2: [turn(1e-3)] * 3})
    assert "a turn of 1 rank takes 20 ms only: give more steps, for example --steps 10000" in text


def test_one_number_of_ranks(tmp_path: Path) -> None:
    assert "tells nothing about scaling" in told(tmp_path, {2: [turn(1.0)] * 3})
