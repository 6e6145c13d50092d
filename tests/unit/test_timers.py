from __future__ import annotations

import time

import pytest

from allegro_md.timers import Timers


def test_phases_add_up_and_do_not_overlap() -> None:
    timers = Timers()
    began = time.perf_counter()
    for _ in range(2):
        with timers.phase("outer"):
            time.sleep(0.01)
            with timers.phase("inner"):
                time.sleep(0.03)
    elapsed = time.perf_counter() - began
    assert timers.seconds["inner"] >= 0.06 and timers.seconds["outer"] >= 0.02
    assert timers.seconds["inner"] + timers.seconds["outer"] <= elapsed


def test_counts_what_fails() -> None:
    timers = Timers()
    with pytest.raises(RuntimeError), timers.phase("bad"):
        time.sleep(0.01)
        raise RuntimeError
    assert timers.seconds["bad"] >= 0.01
