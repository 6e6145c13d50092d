"""Hosts, cores, threads, devices and memory of the ranks, and warnings about them."""

from __future__ import annotations

import os
import platform
import re
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching

from allegro_md.comm import Comm

_CGROUPS = Path("/sys/fs/cgroup")
_SIBLINGS = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"


def host_info(comm: Comm) -> list[dict[str, Any]]:
    """Per rank: host, cores it may use, threads it starts, its device, memory its host can still give (collective).

    Returns:
        Per rank ``rank``, ``host``, ``cores`` (list of their numbers; a hyperthread counts as one), ``siblings`` (see
        `siblings`), ``threads``, ``device``, ``memory`` (bytes, None where the system does not tell) and ``resident``
        (bytes this process has already).
    """
    cores = usable_cores()
    torch = sys.modules.get("torch")  # where no model has loaded it, it would cost a second to do so
    here = {
        "rank": comm.rank,
        "host": socket.gethostname(),
        "cores": cores,
        "siblings": siblings(cores),
        "threads": 1 if torch is None else torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if torch is not None and torch.cuda.is_available() else "cpu",
        "memory": available_memory(),
        "resident": resident_memory()[0],
    }
    return comm.allgather(here)


def warnings(places: Sequence[dict[str, Any]]) -> list[str]:
    """Lists the properties of the hosts that make a run slow, one sentence with its remedy each."""
    found = []
    for host, ranks in by_host(places).items():
        cores = cores_of(ranks)
        threads = sum(place["threads"] for place in ranks)
        if len(ranks) > len(cores):
            found.append(
                f"{len(ranks)} ranks share {len(cores)} cores on {host}: use mpirun -n {len(cores)}, or more hosts"
            )
        elif threads > len(cores):
            found.append(
                f"{len(ranks)} ranks with {threads} threads in all share {len(cores)} cores on {host}: "
                "set OMP_NUM_THREADS=1"
            )
        elif shared := len(ranks) - most_placed([place["cores"] for place in ranks]):
            found.append(
                f"{shared + 1} ranks at least are bound to one and the same core of {host}: bind each to a core of its "
                "own (mpirun -bind-to core, srun --cpu-bind=cores)"
            )
        elif shared := len(ranks) - most_placed([place.get("siblings", place["cores"]) for place in ranks]):
            found.append(
                f"{shared} of {len(ranks)} ranks on {host} share a core with another one, as its second hyperthread: "
                f"{len(ranks) - shared} ranks would be about as fast (srun --hint=nomultithread)"
            )
    return found


def most_placed(cores: Sequence[Sequence[int]]) -> int:
    """Counts the ranks that can have a core each, for themselves.

    Args:
        cores: of each rank, those it may run on.
    """
    numbers = {core: index for index, core in enumerate(sorted({core for each in cores for core in each}))}
    allowed = np.zeros((len(cores), len(numbers)), dtype=np.int8)
    for rank, each in enumerate(cores):
        allowed[rank, [numbers[core] for core in each]] = 1
    return int((maximum_bipartite_matching(csr_matrix(allowed), perm_type="column") >= 0).sum())


def processor() -> str:
    """Name of this host's processor."""
    names = re.findall(r"model name\s*:\s*(.*)", _read("/proc/cpuinfo"))
    return names[0] if names else platform.processor() or platform.machine()


def siblings(cores: Sequence[int]) -> list[int]:
    """The first hyperthread of the physical core of each hyperthread; the same numbers where the system tells none."""
    told = [_read(_SIBLINGS.format(core)) for core in cores]
    return [int(re.split(r"[,-]", text)[0]) if text.strip() else core for core, text in zip(cores, told, strict=True)]


def lines(places: Sequence[dict[str, Any]]) -> list[str]:
    """The placement for people, a line per host."""
    found = []
    for host, ranks in by_host(places).items():
        numbers = [place["rank"] for place in ranks]
        whole = numbers == list(range(numbers[0], numbers[-1] + 1))
        named = f"{numbers[0]}-{numbers[-1]}" if whole and len(numbers) > 1 else ", ".join(map(str, numbers))
        cores = len(cores_of(ranks))
        threads = max(place["threads"] for place in ranks)
        devices = ", ".join(sorted({place["device"] for place in ranks}))
        found.append(
            f"{host}: rank{'s'[: len(numbers) > 1]} {named}, {cores} core{'s'[: cores > 1]}, "
            f"{threads} thread{'s'[: threads > 1]} per rank, {devices}"
        )
    return found


def by_host(places: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The ranks of each host."""
    hosts: dict[str, list[dict[str, Any]]] = {}
    for place in places:
        hosts.setdefault(place["host"], []).append(place)
    return hosts


def cores_of(places: Sequence[dict[str, Any]]) -> set[int]:
    """Numbers of the cores that some ranks of one host may use together."""
    return {core for place in places for core in place["cores"]}


def usable_cores() -> list[int]:
    """Numbers of the cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def available_memory() -> int | None:
    """Bytes that this host, or the control group this process is in, can still give; None where nothing tells."""
    told = [limit for limit in (_meminfo("MemAvailable"), *_group_limits()) if limit is not None]
    return min(told, default=None)


def resident_memory() -> tuple[int, int]:
    """Bytes of this process in memory now, and the most there ever were; (0, 0) where the system does not tell."""
    text = _read("/proc/self/status")
    found = [re.search(rf"^{key}:\s+(\d+) kB", text, re.MULTILINE) for key in ("VmRSS", "VmHWM")]
    now, most = (int(match[1]) * 1024 if match else 0 for match in found)
    return now, most


def _meminfo(key: str) -> int | None:
    found = re.search(rf"^{key}:\s+(\d+) kB", _read("/proc/meminfo"), re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def _group_limits() -> list[int]:
    """Lists the free memory within the limits of this process's control groups and their parents, bytes."""
    left = []
    for line in _read("/proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        names = ("memory.max", "memory.current") if not controllers else (
            "memory.limit_in_bytes", "memory.usage_in_bytes")  # fmt: skip
        if controllers and "memory" not in controllers.split(","):
            continue
        root = _CGROUPS if not controllers else _CGROUPS / "memory"
        group = root / path.lstrip("/")
        for folder in (group, *group.parents):
            if not folder.is_relative_to(root):
                break
            limit, used = (_read(folder / name).strip() for name in names)
            if limit.isdigit() and used.isdigit():
                left.append(int(limit) - int(used) + _reclaimable(folder))
    return left


def _reclaimable(folder: Path) -> int:
    """Bytes of a control group that are file cache and go when memory is asked for."""
    found = re.search(r"^(?:total_)?inactive_file (\d+)", _read(folder / "memory.stat"), re.MULTILINE)
    return int(found[1]) if found else 0


def _read(path: str | Path) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
