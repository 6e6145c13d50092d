"""``allegro-md eval`` on two ranks: the errors of one rank, and one refusal."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import ase.io
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

MODEL = Path(__file__).resolve().parents[2] / "inputs" / "models" / "silver.allegro"

MpiRun = Callable[..., "CompletedProcess[str]"]


def numbers(document: Any) -> list[float]:
    """All numbers of a JSON document, in order."""
    if isinstance(document, dict):
        return [number for value in document.values() for number in numbers(value)]
    return [document] if isinstance(document, int | float) else []


@pytest.mark.parallel
def test_ranks_divide_the_frames(mpirun: MpiRun, tmp_path: Path) -> None:
    frames = []
    for seed in range(3):  # one rank has two of them
        frames.append(bulk("Ag", cubic=True))
        frames[-1].rattle(0.1, seed=seed)
        frames[-1].calc = EMT()
        frames[-1].get_forces()
    ase.io.write(tmp_path / "frames.extxyz", frames)
    command = ["-m", "allegro_md", "eval", MODEL, tmp_path / "frames.extxyz", "--json", "-"]
    one, two = (json.loads(mpirun(ranks, command).stdout)["errors"] for ranks in (1, 2))
    assert two["frames"] == 3 and two["forces_meV_per_A"]["rmse"] > 1.0
    assert numbers(two) == pytest.approx(numbers(one), rel=1e-9)


@pytest.mark.parallel
def test_refused_once(mpirun: MpiRun, tmp_path: Path) -> None:
    atoms = bulk("Cu", cubic=True)
    atoms.calc = EMT()
    atoms.get_forces()
    ase.io.write(tmp_path / "copper.extxyz", atoms)
    done = mpirun(2, ["-m", "allegro_md", "eval", MODEL, tmp_path / "copper.extxyz"], check=False)
    assert done.returncode == 2 and done.stderr.count("does not know Cu") == 1 and not done.stdout
