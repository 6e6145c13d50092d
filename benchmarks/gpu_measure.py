"""What `gpu_check.py` measures: the machine, atomic operations, times of steps by phase and kernel."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import launch
import torch

sys.path.insert(0, str(launch.ROOT / "tests" / "drivers"))  # host_build, gpu_instances, runs

OFF = ["output.trajectory.every=0", "output.thermo.every=0", "output.checkpoint.every=0"]

SYSTEMS: dict[str, tuple[str, Callable[[int], str], int]] = {
    "lj": (
        "argon-lj",
        lambda n: f'system.crystal={{symbol="Ar",lattice="fcc",a=5.7802,repeat={[n] * 3},rattle=0.05}}',
        4,
    ),
    "silver": ("record-ag", lambda n: f"system.repeat={[n] * 3}", 71),
    "copper": ("quickstart", lambda n: f"system.repeat={[n] * 3}", 496),
}  # fmt: skip
"""Name → input, the assignment that repeats its cell n times along each axis, and atoms of the cell."""


def settings(name: str, atoms: int) -> tuple[Path, list[str]]:
    """The input of a system of about so many atoms, and what is changed in it: it writes nothing."""
    source, repeated, of_cell = SYSTEMS[name]
    engine = [] if name == "lj" else ['potential.engine="fused"']
    copies = max(1, round((atoms / of_cell) ** (1 / 3)))
    return launch.ROOT / "inputs" / f"{source}.toml", [repeated(copies), *engine, *OFF]


@contextlib.contextmanager
def on_device(host: bool) -> Iterator[str]:
    """Atoms are held on the GPU meanwhile; with `host`, in tensors of the host, by the host build. Gives the device."""
    if not host:
        yield "cuda:0"
        return
    from host_build import DEVICE, on_host

    from allegro_md.backends import BACKENDS

    BACKENDS[DEVICE] = "allegro_md.backends.cuda"
    with on_host(), mock.patch("allegro_md.simulation.build.device_of_atoms", lambda terms, potential: DEVICE):
        yield DEVICE


def loop_of(name: str, atoms: int, device: str) -> Any:
    """The loop of a system, before its first evaluation; `device` is a value of ``potential.device``."""
    from allegro_md.comm import Comm
    from allegro_md.config import load_input
    from allegro_md.simulation import Simulation

    source, assignments = settings(name, atoms)
    config = load_input(source, [*assignments, f'potential.device="{device}"'])
    return Simulation.from_config(config, Comm.serial(), overwrite=True).loop


def machine(host: bool, seconds: float) -> dict[str, Any]:
    """Versions, driver, NVRTC, architecture, memory, and what a copy in the device's memory achieves."""
    from cuda.bindings import nvrtc

    found: dict[str, Any] = {
        "torch": torch.__version__, "nvrtc": list(nvrtc.nvrtcVersion()[1:]), "host_build": host,
        "copy_GB_per_s": round(bandwidth(host) / 1e9, 2),
    }  # fmt: skip
    if host:
        return found
    wanted = "driver_version,clocks.max.sm,clocks.max.mem,power.limit"
    query = ["nvidia-smi", f"--query-gpu={wanted}", "--format=csv,noheader"]
    with contextlib.suppress(OSError):
        found["driver"] = subprocess.run(query, capture_output=True, text=True).stdout.strip()
    about, memory = torch.cuda.get_device_properties(0), torch.cuda.mem_get_info()
    return found | {
        "gpu": about.name, "multiprocessors": about.multi_processor_count, "level_2_MB": about.L2_cache_size / 1e6,
        "architecture": "sm_{}{}".format(*torch.cuda.get_device_capability()), "cuda_of_torch": torch.version.cuda,
        "memory_free_GB": round(memory[0] / 1e9, 1), "memory_GB": round(memory[1] / 1e9, 1),
    }  # fmt: skip


def bandwidth(host: bool) -> float:
    """Bytes per second of a copy, read and written."""
    source = torch.ones(2**22 if host else 2**28, dtype=torch.float64, device="cpu" if host else "cuda")
    out = torch.empty_like(source)
    return 2 * source.nbytes / median(lambda: out.copy_(source), host)


def atomics(host: bool, seconds: float) -> dict[str, Any]:
    """Additions to 64-bit integers per second, for several patterns of addresses, beside plain stores there.

    The addresses: all different and in order; those of a neighbor list of the silver crystal; all different and in no
    order; one for all.
    """
    from allegro_md.kernels.gpu.launch import kernel

    device, n_atoms, found = "cpu" if host else "cuda", 10**4 if host else 10**7, {}
    file = str(Path(__file__).with_name("gpu_atomics.cuh"))
    of_list = _neighbors(n_atoms, host)
    n = len(of_list)
    patterns = {
        "neighbors": lambda: of_list,
        "in order": lambda: torch.arange(n, dtype=torch.int32, device=device),
        "in no order": lambda: torch.randperm(n, device=device).int(),
        "one address": lambda: torch.zeros(n, dtype=torch.int32, device=device),
    }
    for pattern, rows_of in patterns.items():
        rows = rows_of()
        sums = torch.zeros((n, 3), dtype=torch.int64, device=device)
        with on_device(host):
            for name in ("add_at", "store_at"):
                run = kernel(file, name)
                spent = median(lambda run=run, rows=rows, sums=sums: run.over(n, n, rows, sums), host, 3)
                found.setdefault(pattern, {})[f"{name}_per_ns"] = round(3 * n / spent / 1e9, 4)
    return {"additions": 3 * n, "patterns": found}


def _neighbors(n_atoms: int, host: bool) -> torch.Tensor:
    """The neighbors of all atoms of a silver crystal, list after list, as int32."""
    with on_device(host) as device:
        loop = loop_of("silver", n_atoms, "cpu" if host else "cuda")
        loop.forces(loop.state)
        assert loop.state.device == device
        return loop.forces.neighbors.neighbors


def times(name: str, atoms: int, host: bool, seconds: float) -> dict[str, Any]:
    """Time of a step, of its phases and kernels, and floors.

    Three runs follow each other: as it is; with the device waited for at the borders of phases; with CUDA events
    around kernels. A floor is the time that the bytes of a kernel's arrays take at the speed of a copy, each once.
    """
    began = time.perf_counter()
    with on_device(host):
        loop = loop_of(name, atoms, "cpu" if host else "cuda")
        loop.start()
        loop.advance(2)
        wait(host)
        first, ready = time.perf_counter(), time.perf_counter() - began
        loop.advance(4)
        wait(host)
        step = (time.perf_counter() - first) / 2
        peak = 0 if host else torch.cuda.max_memory_allocated()
        steps = max(4, min(200, int((seconds - ready) / 4 / step)))
        plain, rebuilds = _steps(loop, steps, host)
        with _waiting(loop.timers, host):
            before = dict(loop.timers.seconds)
            waited, _ = _steps(loop, steps, host)
            phases = {key: value - before.get(key, 0.0) for key, value in loop.timers.seconds.items()}
        speed = bandwidth(host) if host or torch.cuda.mem_get_info()[0] > 5e9 else 0.0
        with observed(host) as kernels:
            with_events, _ = _steps(loop, steps, host)
            table = kernels(steps, speed)
        n = loop.state.n_local
        pairs = len(loop.forces.neighbors.neighbors) / n
    return {
        "atoms": n, "ghosts": loop.state.n_ghost, "listed_per_atom": round(pairs, 2), "steps": steps,
        "rebuilds_per_step": round(rebuilds / steps, 4), "seconds_until_ready": round(ready, 2),
        "ms_per_step": round(1e3 * plain / steps, 4), "ns_per_atom_step": round(1e9 * plain / steps / n, 4),
        "ms_per_step_waiting": round(1e3 * waited / steps, 4),
        "ms_per_step_with_events": round(1e3 * with_events / steps, 4),
        "ms_by_phase": {key: round(1e3 * value / steps, 4) for key, value in phases.items() if value > 0.0},
        "peak_GB": None if host else round(peak / 1e9, 3),
        "reserved_GB": None if host else round(torch.cuda.max_memory_reserved() / 1e9, 3),
        **table,
    }  # fmt: skip


def _steps(loop: Any, steps: int, host: bool) -> tuple[float, int]:
    """Makes steps; seconds, and rebuilds."""
    rebuilds, began = loop.forces.rebuilds, time.perf_counter()
    loop.advance(loop.step + steps)
    wait(host)
    return time.perf_counter() - began, loop.forces.rebuilds - rebuilds


@contextlib.contextmanager
def _waiting(timers: Any, host: bool) -> Iterator[None]:
    """Clocks of phases stop when the device has finished."""
    enter, leave = timers.enter, timers.leave

    def entered(name: str) -> None:
        wait(host)
        enter(name)

    def left() -> None:
        wait(host)
        leave()

    with mock.patch.object(timers, "enter", entered), mock.patch.object(timers, "leave", left):
        yield


@contextlib.contextmanager
def observed(host: bool) -> Iterator[Callable[[int, float], dict[str, Any]]]:
    """Counts launches and operations of torch, and takes the time of kernels.

    Gives a function of the number of steps and the speed of a copy (bytes/s), that makes the table.
    """
    from torch.utils._python_dispatch import TorchDispatchMode

    from allegro_md.kernels.gpu.launch import Kernel

    plain, calls = Kernel.__call__, defaultdict(list)
    operations: dict[str, int] = defaultdict(int)

    class Operations(TorchDispatchMode):
        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if not function.is_view:
                operations[str(function)] += 1
            return function(*args, **(kwargs or {}))

    def called(self: Any, blocks: int, *arguments: Any, **shape: Any) -> None:
        marks = [time.perf_counter() if host else torch.cuda.Event(enable_timing=True) for _ in range(2)]
        if not host:
            marks[0].record()
        plain(self, blocks, *arguments, **shape)
        if host:
            marks[1] = time.perf_counter()
        else:
            marks[1].record()
        calls[self.instance].append((*marks, sum(a.nbytes for a in arguments if isinstance(a, torch.Tensor))))

    def table(steps: int, speed: float) -> dict[str, Any]:
        wait(host)
        rows = {}
        for name, found in calls.items():
            spent = sum(1e3 * (b - a) if host else a.elapsed_time(b) for a, b, _ in found)
            bytes_of = sum(size for _, _, size in found) / steps
            rows[name] = {
                "launches": round(len(found) / steps, 3), "ms": round(spent / steps, 5), "GB": round(bytes_of / 1e9, 6),
                "floor_ms": round(1e3 * bytes_of / speed, 5) if speed else None,
            }  # fmt: skip
        return {
            "launches_per_step": round(sum(len(found) for found in calls.values()) / steps, 2),
            "operations_of_torch_per_step": round(sum(operations.values()) / steps, 2),
            "kernels_per_step": dict(sorted(rows.items(), key=lambda row: -row[1]["ms"])),
            "operations_of_torch": {key: round(count / steps, 2) for key, count in operations.items()},
        }

    with mock.patch.object(Kernel, "__call__", called), Operations():
        yield table


def median(body: Callable[[], Any], host: bool, repeats: int = 7) -> float:
    """Seconds of a call, the first one left out."""
    seconds = []
    for _ in range(repeats + 1):
        wait(host)
        began = time.perf_counter()
        body()
        wait(host)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[1:])


def wait(host: bool) -> None:
    """Returns when the device has finished."""
    if not host:
        torch.cuda.synchronize()
