"""Memory of a running program with all its processes, from outside: Linux's /proc, once a second."""

from __future__ import annotations

import os
import re
import subprocess
import time
from pathlib import Path
from typing import TextIO

INTERVAL = 1.0
"""Seconds between looks."""

PSS_SHARE = 0.01
"""Of a core may go into adding up shared pages by their share: the kernel walks through every page for it."""

HEADER = "seconds,resident_MB,proportional_MB,available_MB"

PAGE = os.sysconf("SC_PAGE_SIZE")


def watch(process: subprocess.Popen[bytes], path: Path) -> None:
    """Waits for a program to end and writes a row per second.

    Columns: resident memory of it and all its descendants; the same with shared pages divided among those who share
    them, where there was time for it; what the whole machine has left. MB are 2²⁰ bytes.

    Args:
        process: just started.
        path: the table.
    """
    began, next_pss = time.monotonic(), 0.0
    with path.open("w") as table:
        print(HEADER, file=table)
        while process.poll() is None:
            now = time.monotonic() - began
            pids = descendants(process.pid)
            pss = None
            if now >= next_pss:
                before = time.process_time()
                pss = sum(map(proportional, pids))
                next_pss = now + (time.process_time() - before) / PSS_SHARE
            _row(table, now, sum(map(resident, pids)), pss, available())
            time.sleep(INTERVAL)


def _row(table: TextIO, now: float, rss: float, pss: float | None, left: float) -> None:
    print(f"{now:.1f},{rss:.1f},{'' if pss is None else round(pss, 1)},{left:.1f}", file=table, flush=True)


def descendants(pid: int) -> list[int]:
    """A process and all that come from it."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (stat := _read(entry / "stat")):
            parent = int(stat.rpartition(")")[2].split()[1])
            parents.setdefault(parent, []).append(int(entry.name))
    found = [pid]
    for one in found:  # grows while it is gone through
        found += parents.get(one, [])
    return found


def resident(pid: int) -> float:
    """MB of a process in memory; 0 when it has ended."""
    return int((_read(Path(f"/proc/{pid}/statm")) or "0 0").split()[1]) * PAGE / 2**20


def proportional(pid: int) -> float:
    """MB of a process with pages it shares counted by its share."""
    kilobytes = re.findall(r"^Pss:\s+(\d+)", _read(Path(f"/proc/{pid}/smaps_rollup")), re.MULTILINE)
    return sum(map(int, kilobytes)) / 1024


def available() -> float:
    """MB the machine can still give."""
    return int(re.findall(r"MemAvailable:\s+(\d+)", _read(Path("/proc/meminfo")))[0]) / 1024


def _read(path: Path) -> str:
    """Content of a file of /proc, empty when its process has ended."""
    try:
        return path.read_text()
    except OSError:
        return ""
