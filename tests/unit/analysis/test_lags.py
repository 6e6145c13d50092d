"""Lags and origins: every comparison is with the sample that it claims, and nothing is missing."""

from __future__ import annotations

import numpy as np
import pytest

from allegro_md.analysis.lags import Lags, Logarithmic, Window


def followed(lags: Lags, n: int) -> dict[int, list[int]]:
    """Lag → origins, found by keeping the numbers of samples in place of samples."""
    rings: list[list[int]] = []
    found: dict[int, list[int]] = {}
    table = lags.table(n)
    for number in range(n):
        for slots in lags.slots(number)[len(rings) :]:
            rings.append([rings[-1][0] if rings else -1] + [-1] * (slots - 1))
        for level, slot in lags.stored(number):
            rings[level][slot] = number
        for level, slot, index in lags.compared(number):
            origin = rings[level][slot]
            assert origin >= 0 and number - origin == table[index], (number, level, slot, index)
            found.setdefault(number - origin, []).append(origin)
    return found


@pytest.mark.parametrize(("points", "factor"), [(16, 4), (4, 4), (8, 4), (8, 2)])
@pytest.mark.parametrize("n", [1, 3, 17, 64, 65, 700])
def test_logarithmic_lags(points: int, factor: int, n: int) -> None:
    """A lag of level l has all origins at multiples of the level's step."""
    lags = Logarithmic(points, factor)
    found, table = followed(lags, n), lags.table(n)
    assert sorted(found) == table.tolist() and (np.diff(table) > 0).all()
    for lag, origins in found.items():
        step = 1
        while lag >= points * step:
            step *= factor
        assert origins == list(range(0, n - lag, step)), lag


@pytest.mark.parametrize(("longest", "stride"), [(10, 1), (10, 3), (7, 7), (5, 9)])
def test_all_lags_of_a_window(longest: int, stride: int) -> None:
    lags, n = Window(longest, stride), 60
    found = followed(lags, n)
    assert sorted(found) == lags.table(n).tolist() == list(range(longest))
    for lag, origins in found.items():
        assert origins == list(range(0, n - lag, stride))


def test_memory_grows_with_the_logarithm() -> None:
    assert len(Logarithmic(16, 4).slots(10**6)) == 10
