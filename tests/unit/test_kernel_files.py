"""Processes that compile the same function at the same time keep one good file for each of its signatures."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

KERNEL = """
import numba, numpy as np
from allegro_md.kernel_files import one_file_per_kernel
one_file_per_kernel()
@numba.njit(cache=True)
def twice(x):
    return x + x
"""
MAIN = """
import sys
from kernel import np, twice
value = np.dtype(sys.argv[1]).type(21)
found = twice(value)
assert found == 42 and np.asarray(found).dtype.kind == np.asarray(value + value).dtype.kind
print(sum(twice.stats.cache_hits.values()), sum(twice.stats.cache_misses.values()))
"""
TYPES = ("int64", "float64")


def at_once(folder: Path, copies: int, processor: str = "") -> list[str]:
    """Hits and misses of some processes for each type, all begun together."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(folder / "cache"), "PYTHONPATH": os.pathsep.join(sys.path)}
    if processor:
        environment |= {"NUMBA_CPU_NAME": processor, "NUMBA_CPU_FEATURES": ""}
    script = [sys.executable, str(folder / "main.py")]
    processes = [
        subprocess.Popen([*script, kind], env=environment, stdout=subprocess.PIPE, text=True)
        for kind in TYPES for _ in range(copies)
    ]  # fmt: skip
    told = [process.communicate(timeout=120)[0].strip() for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes)
    return told


def test_a_file_for_each_signature_and_processor(tmp_path: Path) -> None:
    (tmp_path / "kernel.py").write_text(KERNEL)
    (tmp_path / "main.py").write_text(MAIN)
    at_once(tmp_path, 2)
    kept = {path: path.read_bytes() for path in tmp_path.rglob("*.nbc")}
    assert len(kept) == len(TYPES) and not list(tmp_path.rglob("*.tmp*"))
    assert set(at_once(tmp_path, 1)) == {"1 0"}
    # Those for another processor leave the files as they are.
    at_once(tmp_path, 1, "x86-64" if os.uname().machine == "x86_64" else "generic")
    assert len(list(tmp_path.rglob("*.nbc"))) == 2 * len(TYPES)
    assert {path: path.read_bytes() for path in kept} == kept


def test_damaged_file_is_compiled_anew(tmp_path: Path) -> None:
    (tmp_path / "kernel.py").write_text(KERNEL)
    (tmp_path / "main.py").write_text(MAIN)
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": os.pathsep.join(sys.path)}
    for damage in (None, b"", b"\x80\x05nothing"):
        for path in tmp_path.rglob("*.nbc") if damage is not None else ():
            path.write_bytes(damage or b"")
        done = subprocess.run([sys.executable, str(tmp_path / "main.py"), "int64"], env=environment, text=True,
                              capture_output=True, timeout=120)  # fmt: skip
        assert done.stdout.strip() == "0 1", done.stderr
