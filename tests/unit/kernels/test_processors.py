"""Kernels compiled for processors with narrower vectors than this one: they compile, and give the same bits.

A newer processor runs the code of an older one, so that one machine can tell.
"""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[3]

KERNELS = """
import hashlib, pair_systems, test_activation
for name in test_activation.NAMES:
    for real in test_activation.REALS:
        found = test_activation.applied(name, test_activation.covering(real))
        print(name, hashlib.sha256(b"".join(array.tobytes() for array in found)).hexdigest())
for name in pair_systems.KERNELS:
    found = pair_systems.evaluate(name, *pair_systems.system(3))
    print(name, hashlib.sha256(b"".join(array.tobytes() for array in found)).hexdigest())
"""

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="names processors of x86-64")


def compiled_for(processor: str | None, arguments: list[str]) -> str:
    """What Python prints where numba compiles for a processor; None for the one at hand."""
    folders = (ROOT, ROOT / "tests" / "drivers", Path(__file__).parent)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, folders))}
    if processor:
        environment |= {"NUMBA_CPU_NAME": processor, "NUMBA_CPU_FEATURES": ""}
    done = subprocess.run([sys.executable, *arguments], env=environment, text=True, capture_output=True, timeout=400)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("processor", ["x86-64-v3", pytest.param("x86-64", marks=pytest.mark.long)])
def test_kernels(processor: str) -> None:
    """With AVX2, which has no instruction that moves chosen lanes together, and with SSE2, which has no fma either."""
    here = compiled_for(None, ["-c", KERNELS])
    assert len(here.splitlines()) == 9 and compiled_for(processor, ["-c", KERNELS]) == here


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", ["quickstart", "silver"])
def test_runs(name: str, tmp_path: Path) -> None:
    ends = []
    for processor in (None, "x86-64-v3", "x86-64"):
        folder = tmp_path / str(processor)
        changes = ["--set", "dynamics.steps=10", "--set", f'output.directory="{folder}"']
        compiled_for(processor, ["-m", "allegro_md", str(ROOT / "inputs" / f"{name}.toml"), *changes])
        with h5py.File(folder / "checkpoint-10.h5") as file:
            fields = [np.asarray(file[field]).tobytes() for field in ("position", "velocity")]
        ends.append(hashlib.sha256(b"".join(fields)).hexdigest())
    assert len(set(ends)) == 1
