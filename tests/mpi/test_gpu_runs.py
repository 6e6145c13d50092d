"""Whole runs by kernels of GPUs over tensors in host memory: the bits of the CPU engine, on any number of ranks."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import host_build
import pytest
from runs import assert_same, assigned, write_input

from allegro_md.cli import main

ROOT = Path(__file__).resolve().parents[2]
DRIVER = ROOT / "tests" / "drivers" / "gpu_run.py"
MODELS = ROOT / "inputs" / "models"

SILVER = [
    'system.crystal={symbol="Ag", lattice="fcc", a=4.2, repeat=[5, 4, 4], rattle=0.1, seed=3}',
    f'potential={{model="{MODELS / "silver.allegro"}"}}', "dynamics.timestep=2.0", "output.observe=[]",
    "dynamics.temperature=[300.0, 400.0]",
]  # fmt: skip
COPPER = [
    'system.crystal={symbol="Cu", lattice="fcc", a=3.7, repeat=[4, 4, 4], rattle=0.1, seed=3}',
    f'potential={{model="{MODELS / "cu.allegro"}"}}', "dynamics.timestep=1.0", "dynamics.temperature=[300.0, 400.0]",
    "output.observe=[]", "dynamics.steps=20", "output.checkpoint.every=10",
]  # fmt: skip
LANGEVIN = ['dynamics.ensemble="nvt-langevin"', 'dynamics.friction="5/ps"']

pytestmark = pytest.mark.skipif(not host_build.available(), reason="there is no C++ compiler")


@pytest.mark.parallel
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("ranks", "settings"),
    [
        pytest.param((4,), [], id="lj"),
        pytest.param((1, 2, 3), [], id="lj, other ranks", marks=pytest.mark.long),
        pytest.param((2,), LANGEVIN, id="langevin", marks=pytest.mark.long),
        pytest.param((2,), SILVER, id="bilinear"),
        pytest.param((1, 4), SILVER, id="bilinear, other ranks", marks=pytest.mark.long),
        pytest.param((2,), COPPER, id="single-layer"),
        pytest.param((1, 4), COPPER, id="single-layer, other ranks", marks=pytest.mark.long),
    ],
)
def test_bits_of_the_cpu(
    ranks: tuple[int, ...], settings: list[str], tmp_path: Path,
    mpirun: Callable[..., subprocess.CompletedProcess[str]],
) -> None:  # fmt: skip
    steps = 20 if settings is COPPER else 120
    words = assigned(settings)
    assert main([str(write_input(tmp_path, "cpu")), *words]) == 0
    for n in ranks:
        mpirun(n, [DRIVER, write_input(tmp_path, f"gpu-{n}"), *words])
        assert_same(tmp_path / f"gpu-{n}", tmp_path / "cpu", steps)


@pytest.mark.parallel
@pytest.mark.timeout(300)
def test_resumed_on_another_device_and_other_ranks(
    tmp_path: Path, mpirun: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """Begun on a GPU by two ranks, continued on the CPU by one, and the other way round."""
    assert main([str(write_input(tmp_path, "whole"))]) == 0
    program = ["-m", "allegro_md"]
    for name, first, second in (("there", [DRIVER], program), ("back", program, [DRIVER])):
        broken = write_input(tmp_path, name)
        mpirun(2, [*first, broken])
        for later in ("checkpoint-80.h5", "checkpoint-120.h5"):
            (tmp_path / name / later).unlink()
        mpirun(1, [*second, broken, "--resume"])
        assert_same(tmp_path / name, tmp_path / "whole", 120)
