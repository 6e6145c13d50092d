"""The measurements of `benchmarks/` as tests: minutes to an hour."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import balance
import conservation
import host_build
import memory_per_rank
import pytest

pytestmark = [pytest.mark.long, pytest.mark.parallel]


@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize("engine", ["reference", "fused"])
def test_long_conservation(engine: str, tmp_path: Path) -> None:
    figures = conservation.measure(tmp_path, engine, cells=10, ranks=2, length=2.0, rest=1.0)
    assert figures["atoms"] == 4000
    assert figures["fluctuation"]["mean_temperature_K"]["1 fs"] == pytest.approx(600.0, abs=30.0)
    assert figures["fluctuation"]["order"] == pytest.approx(2.0, abs=0.1)
    drift = figures["drift"]
    assert abs(drift["drift_eV_per_atom_ps"]) < 1e-6
    assert drift["standard_error"] < 1e-6


@pytest.mark.timeout(1800)
def test_memory_per_rank(tmp_path: Path) -> None:
    figures = memory_per_rank.measure(tmp_path, cells=50)
    assert {run["atoms"] for run in figures["runs"]} == {1_000_000, 2_000_000}
    for run in figures["runs"]:
        assert set(run["atoms_per_rank"]) == {500_000}
    assert max(figures["spread"].values()) < 0.05


@pytest.mark.timeout(900)
@pytest.mark.parametrize("grid", ['"auto"', "[1, 1, 4]"])
@pytest.mark.parametrize("system", balance.SYSTEMS)
@pytest.mark.parametrize("kind", balance.MATTER)
def test_balance(kind: str, system: str, grid: str, tmp_path: Path) -> None:
    """On 4 ranks, from whatever start; no bit of the results depends on it."""
    figures = balance.compare(tmp_path, kind, system, grid)
    assert figures["auto"]["slowest_over_mean"] <= 1.15
    assert figures["same_bits"]


@pytest.mark.timeout(900)
@pytest.mark.skipif(not host_build.available(), reason="there is no C++ compiler")
def test_the_check_of_gpus_without_a_gpu() -> None:
    script = Path(memory_per_rank.__file__).with_name("gpu_check.py")
    done = subprocess.run([sys.executable, str(script), "--host"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
