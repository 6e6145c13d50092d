"""The keys of nvt-langevin: a friction with its unit, and no thermostat time beside it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from allegro_md.cell import Cell
from allegro_md.comm import Comm
from allegro_md.evaluation import PotentialInfo
from allegro_md.integrators.base import Setting
from allegro_md.integrators.nvt_langevin import Langevin, NvtLangevinConfig


def table(**keys: Any) -> NvtLangevinConfig:
    return NvtLangevinConfig(ensemble="nvt-langevin", timestep=2.0, steps=9, temperature=300.0, **keys)


@pytest.mark.parametrize(
    ("friction", "rate"), [("1/ps", 1e-3), ("0.5/ps", 5e-4), ("0.5 1/ps", 5e-4), (0.01, 0.01), ("20/ns", 2e-5)]
)
def test_units(friction: str | float, rate: float) -> None:
    assert table(friction=friction).friction == pytest.approx(rate, rel=1e-12)
    assert table().friction == 1e-3


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"friction": 0.5}, "below 1/timestep"), ({"friction": 0.0}, "positive"),
        ({"friction": "1 ps"}, "unknown unit"),
        ({"friction": "2 THz"}, "unknown unit"), ({"thermostat_time": 100.0}, "unknown key"),
    ],
)  # fmt: skip
def test_refusals(keys: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        table(**keys)


@pytest.mark.parametrize(("removed", "held"), [(True, 0), (False, 0), (True, 2)])
def test_all_degrees_of_freedom_count(removed: bool, held: int) -> None:
    """Noise gives the total momentum its share, whatever it is at the start."""
    setting = Setting(PotentialInfo("any", 1.0), 10, Cell(np.eye(3)), Comm.serial(), held)
    assert Langevin(table(remove_momentum=removed), setting).degrees_of_freedom == 3 * (10 - held)
