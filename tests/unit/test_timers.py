from __future__ import annotations

import time

import pytest

from allegro_md.timers import Timers


def test_phases_add_up_and_nest() -> None:
    timers = Timers()
    for _ in range(2):
        with timers.phase("outer"), timers.phase("inner"):
            time.sleep(0.01)
    assert timers.seconds["outer"] >= timers.seconds["inner"] >= 0.02


def test_counts_what_fails() -> None:
    timers = Timers()
    with pytest.raises(RuntimeError), timers.phase("bad"):
        time.sleep(0.01)
        raise RuntimeError
    assert timers.seconds["bad"] >= 0.01
