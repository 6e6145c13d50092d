"""Where ranks run, how much memory is left, and what is complained about."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from allegro_md.comm import Comm
from allegro_md.simulation import host_info as module
from allegro_md.simulation.host_info import available_memory, host_info, lines, resident_memory, siblings, warnings


def place(rank: int, host: str = "a", cores: int | list[int] = 4, threads: int = 1, device: str = "cpu") -> Any:
    cores = list(range(cores)) if isinstance(cores, int) else cores
    return {"rank": rank, "host": host, "cores": cores, "threads": threads, "device": device, "memory": None}


def test_this_process() -> None:
    (here,) = host_info(Comm.serial())
    assert here["rank"] == 0 and here["cores"] == sorted(os.sched_getaffinity(0))
    assert here["threads"] >= 1 and here["host"]
    assert warnings([{**here, "threads": 1}]) == []


@pytest.mark.parametrize(
    ("places", "words"),
    [
        ([place(r) for r in range(4)], None),
        ([place(r, cores=[r]) for r in range(4)], None),
        ([place(r, host="ab"[r // 4]) for r in range(8)], None),
        ([place(r) for r in range(5)], ["5 ranks share 4 cores on a", "mpirun -n 4"]),
        ([place(r, host="ab"[r > 1], cores=2) for r in range(5)], ["3 ranks share 2 cores on b"]),
        ([place(r, threads=2) for r in range(4)], ["8 threads", "OMP_NUM_THREADS=1"]),
        (
            [place(0, cores=[0]), place(1, cores=[0]), place(2, cores=[1]), place(3, cores=[2, 3])],
            ["2 ranks at least", "same core"],
        ),
        ([place(r, cores=[0, 1]) for r in range(3)] + [place(3, cores=[2, 3])], ["2 ranks at least", "same core"]),
        ([place(r, cores=[r, r + 1]) for r in range(3)], None),
        ([{**place(r, cores=8), "siblings": [0, 1, 2, 3] * 2} for r in range(4)], None),
        ([{**place(r, cores=8), "siblings": [0, 1, 2, 3] * 2} for r in range(7)], ["3 of 7 ranks", "4 ranks would be"]),
        ([{**place(r, cores=[2 * r]), "siblings": [0]} for r in range(2)], ["1 of 2 ranks", "hyperthread"]),
        ([place(0, cores=[0]), place(1, cores=[0])], ["2 ranks share 1 cores"]),
    ],
)
def test_warnings(places: Any, words: Any) -> None:
    found = warnings(places)
    assert len(found) == (words is not None)
    assert all(word in found[0] for word in words or [])


def test_hyperthreads_of_one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Linux lists them: a pair of numbers, a range, or nothing in some containers."""
    told = {"0": "0,64", "64": "0,64", "5": "4-5", "7": ""}
    monkeypatch.setattr(module, "_read", lambda path: told[str(path).split("/cpu")[-1].split("/")[0]])
    assert siblings([0, 64, 5, 7]) == [0, 0, 4, 7]


def test_a_line_per_host() -> None:
    places = [place(r, host="ab"[r // 2], cores=[r % 2], device="cpu" if r else "H200") for r in range(4)]
    assert lines(places) == [
        "a: ranks 0-1, 2 cores, 1 thread per rank, H200, cpu", "b: ranks 2-3, 2 cores, 1 thread per rank, cpu",
    ]  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_of_this_process() -> None:
    before, _ = resident_memory()
    held = np.ones(30_000_000)
    now, most = resident_memory()
    assert 0.8 < (now - before) / held.nbytes < 1.2
    del held
    after, most_later = resident_memory()
    assert after < now - 1e8 and now <= most and most == pytest.approx(most_later, rel=0.01)
    left = available_memory()
    assert left is not None and 1e7 < left < 1e14


GROUPS = {  # what the system's files hold: a limit of the group of this process, or of one around it
    "version 2": ("0::/jobs/7\n", {"jobs/7/memory.max": "max", "jobs/7/memory.current": "5",
                                   "jobs/memory.max": "3000", "jobs/memory.current": "1000"}, 2000),
    "file cache": ("0::/jobs\n", {"jobs/memory.max": "3000", "jobs/memory.current": "2900",
                                  "jobs/memory.stat": "anon 3\ninactive_file 700\n"}, 800),
    "version 1": ("4:memory:/slurm/9\n2:cpu:/x\n", {"memory/slurm/9/memory.limit_in_bytes": "900",
                                                    "memory/slurm/9/memory.usage_in_bytes": "100"}, 800),
    "none": ("4:cpu:/\n", {}, 5000 * 1024),
}  # fmt: skip


@pytest.mark.parametrize("kind", GROUPS)
def test_limits_of_control_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    groups, files, left = GROUPS[kind]
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content + "\n")
    system = {"/proc/self/cgroup": groups, "/proc/meminfo": "MemTotal: 9000 kB\nMemAvailable:    5000 kB\n"}
    read = module._read
    monkeypatch.setattr(module, "_CGROUPS", tmp_path)
    monkeypatch.setattr(module, "_read", lambda path: system.get(str(path)) or read(path))
    assert available_memory() == left


def test_where_nothing_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_read", lambda path: "")
    assert available_memory() is None and resident_memory() == (0, 0)
