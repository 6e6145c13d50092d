"""Triggers against the definition, step by step."""

from __future__ import annotations

import pytest

from allegro_md.triggers import After, Before, Every, Trigger


@pytest.mark.parametrize(
    ("trigger", "due"),
    [
        (Every(5), [0, 5, 10]),
        (Every(0), []),
        (After(9), [9, 10, 11]),
        (Before(2), [0, 1]),
        (Every(3) & After(4), [6, 9]),
        (Every(6) | Before(2), [0, 1, 6]),
        (Every(2) & After(3) & Before(9) | Every(11), [0, 4, 6, 8, 11]),
    ],
)
def test_due(trigger: Trigger, due: list[int]) -> None:
    assert [step for step in range(12) if trigger(step)] == due
    for first in range(12):
        for last in range(first - 1, 12):
            assert trigger.count(first, last) == sum(first <= step <= last for step in due)
