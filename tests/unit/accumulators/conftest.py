"""A check that every accumulator has to pass: the same state for any division of samples and any order of merging."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest


def plain(state: Any) -> str:
    """A state as text, so that equal text means equal bits."""
    return json.dumps(state, default=lambda array: [array.shape, array.tobytes().hex()])


@pytest.fixture
def same_in_any_order() -> Callable[[Callable[[], Any], Sequence[Callable[[Any], None]], Any], None]:
    """Checks that parts give the state of `whole`, one accumulator for each, merged in many orders."""

    def check(make: Callable[[], Any], parts: Sequence[Callable[[Any], None]], whole: Any) -> None:
        random = np.random.default_rng(0)
        for _ in range(12):
            made = []
            for fill in parts:
                made.append(make())
                fill(made[-1])
            while len(made) > 1:  # a random tree of merges
                a, b = random.choice(len(made), 2, replace=False)
                made[a].merge(made[b])
                del made[b]
            assert plain(made[0].state_dict()) == plain(whole.state_dict())

    return check
