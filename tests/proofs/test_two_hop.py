"""A potential of two hops is one file: on any number of ranks it has the same bits, and the EAM kernel's forces."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from allegro_md.exact import FORCE_SCALE

DRIVER = Path(__file__).parent / "two_hop.py"
MpiRun = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.mark.parallel
def test_equals_the_kernel_on_any_number_of_ranks(tmp_path: Path, mpirun: MpiRun) -> None:
    runs: list[dict[str, Any]] = []
    for ranks in (1, 2, 3, 4):
        mpirun(ranks, [DRIVER, tmp_path / f"{ranks}.npz"], timeout=100)
        runs.append(dict(np.load(tmp_path / f"{ranks}.npz")))
    one = runs[0]
    for other in runs[1:]:
        assert all(np.array_equal(one[name], other[name]) for name in one)
    for step in range(3):
        force, kernel = one[f"force-{step}"] / FORCE_SCALE, one[f"kernel-force-{step}"] / FORCE_SCALE
        assert np.abs(kernel).max() > 0.5
        np.testing.assert_allclose(force, kernel, rtol=0, atol=1e-11)
        np.testing.assert_allclose(one[f"energy-{step}"], one[f"kernel-energy-{step}"], rtol=0, atol=1e-11)
