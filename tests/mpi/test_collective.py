"""Communication, ownership, halos on several ranks; the checks themselves are in drivers/collective.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from collective import CHECKS
from once import once

DRIVER = Path(__file__).resolve().parents[1] / "drivers" / "collective.py"


@pytest.fixture(scope="module")
def printed(mpirun: Any) -> Any:
    return once(lambda ranks: mpirun(ranks, [DRIVER], timeout=200).stdout)


@pytest.mark.parametrize("check", [check.__name__ for check in CHECKS])
@pytest.mark.parametrize("ranks", [1, pytest.param(2, marks=pytest.mark.parallel)])
def test_holds(printed: Any, ranks: int, check: str) -> None:
    text = printed(ranks)
    assert f"holds: {check}\n" in text, text


@pytest.mark.long
@pytest.mark.parallel
@pytest.mark.parametrize("check", [check.__name__ for check in CHECKS])
@pytest.mark.parametrize("ranks", [3, 4, 7, 8])
def test_holds_on_more(printed: Any, ranks: int, check: str) -> None:
    test_holds(printed, ranks, check)
