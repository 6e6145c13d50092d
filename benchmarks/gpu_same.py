"""Whether a GPU gives the bits of the CPU: lists, forces, energies, virials and whole runs; see `gpu_check.py`."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gpu_measure
import launch
import numpy as np

INPUTS = launch.ROOT / "inputs"
WHOLE = [
    'output.trajectory={every=10, fields=["position", "image", "velocity", "force"], dtype="float64"}',
    "output.thermo.every=5", "output.checkpoint.every=0",
]  # fmt: skip
RUNS: dict[str, list[str]] = {
    "quickstart": ['potential.engine="fused"'],
    "argon-lj": [],
    "record-ag": ["system.repeat=[3,3,4]"],
}
"""Input → what is changed in it."""

SANITIZED = [
    ("memcheck", "argon-lj"), ("memcheck", "record-ag"), ("racecheck", "record-ag"), ("memcheck", "quickstart"),
]  # fmt: skip
"""Tools, and the inputs they look at."""


def potentials(host: bool, seconds: float) -> dict[str, Any]:
    """First evaluation and 20 steps of the three systems on both: what differs, by system.

    Lists are made anew on the CPU from the atoms of the GPU, in their order, and compared entry for entry.
    """
    size = 500 if host else 20_000
    found: dict[str, Any] = {}
    for name in gpu_measure.SYSTEMS:
        on_cpu = list(_states(gpu_measure.loop_of(name, size, "cpu")))
        with gpu_measure.on_device(host) as device:
            loop = gpu_measure.loop_of(name, size, "cpu" if host else "cuda")
            on_gpu = list(_states(loop))
            lists = _lists(loop)
        assert loop.state.device == device
        differ = [
            f"{moment}: {key}"
            for moment, wanted, got in zip(("first evaluation", "after 20 steps"), on_cpu, on_gpu, strict=True)
            for key in wanted
            if not same(wanted[key], got[key])
        ]
        found[name] = {"atoms": loop.state.n_local, "compared": sorted(on_cpu[0]), "differ": differ + lists}
    return {"equal": not any(each["differ"] for each in found.values()), "systems": found}


def _states(loop: Any) -> Iterator[dict[str, Any]]:
    """Per-atom fields in the order of ids, and the virial, after the first evaluation and after 20 steps."""
    from allegro_md.evaluation import Evaluation
    from allegro_md.state import on_host

    loop.start()
    for step in (0, 20):
        loop.advance(step)
        needs = frozenset({"virial", "virial_per_atom"})
        result: Evaluation = loop.forces(loop.state, needs)
        order = np.argsort(loop.state.host_local("id"))
        fields = {name: loop.state.host_local(name)[order] for name in ("position", "velocity", "force", "shift")}
        fields |= {name: on_host(values)[order] for name, values in result.per_atom.items()}
        yield fields | {f"total {name}": total.value() for name, total in result.totals.items()}


def _lists(loop: Any) -> list[str]:
    """Names of the arrays of the neighbor list that differ from those which the CPU makes of the same atoms."""
    from allegro_md.backends import backend_for
    from allegro_md.state import AtomState, on_host

    loop.forces.invalidate()
    loop.forces(loop.state)
    state, lists = loop.state, loop.forces.neighbors
    twin = AtomState(state.cell, state.species_table, state.n_total)
    twin.resize(state.n_local, state.n_ghost)
    for name in ("position", "shift", "id", "species"):
        twin.array_all(name)[...] = state.host_all(name)
    made = backend_for("cpu").lists.find_pairs(twin, len(lists.offsets) - 1, lists.cutoff + lists.skin)
    pairs = zip(("offsets", "neighbors"), made, (lists.offsets, lists.neighbors), strict=True)
    return [name for name, wanted, got in pairs if not same(wanted, on_host(got)[: len(wanted)])]


def same(a: Any, b: Any) -> bool:
    """Whether two arrays have the same bits."""
    a, b = np.asarray(a), np.asarray(b)
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def runs(host: bool, seconds: float) -> dict[str, Any]:
    """Whole runs of inputs, 100 steps, on the CPU and on the GPU: their frames and rows of thermo.csv."""
    with tempfile.TemporaryDirectory() as folder:
        found = {}
        for name in RUNS:
            try:
                wanted, got = (run(Path(folder), name, where, 1, host) for where in ("cpu", "gpu"))
                found[name] = {"differ": differing(wanted, got)}
            except (subprocess.SubprocessError, OSError) as error:
                found[name] = {"error": _said(error)}
    return {"equal": all(each.get("differ") == [] for each in found.values()), "runs": found}


def ranks(host: bool, seconds: float) -> dict[str, Any]:
    """Runs by two ranks that share the GPU, beside those by one."""
    with tempfile.TemporaryDirectory() as folder:
        found = {}
        for name in RUNS:
            try:
                wanted, got = (run(Path(folder), name, "gpu", n, host) for n in (1, 2))
                found[name] = {"differ": differing(wanted, got)}
            except (subprocess.SubprocessError, OSError) as error:
                found[name] = {"error": _said(error)}
    return {"equal": all(each.get("differ") == [] for each in found.values()), "runs": found}


def run(folder: Path, name: str, where: str, n: int, host: bool, steps: int = 100, by: tuple[str, ...] = ()) -> Path:
    """Runs an input into a directory of `folder`, which is returned; `by`: a program that runs it."""
    directory = folder / f"{name}-{where}-{n}"
    steps = 20 if host and name == "quickstart" else steps
    chosen = [*WHOLE, *RUNS[name], f"dynamics.steps={steps}", f'output.directory="{directory}"']
    program = ["-m", "allegro_md"]
    if where == "cpu":
        chosen.append('potential.device="cpu"')
    elif host:
        program = [str(launch.ROOT / "tests" / "drivers" / "gpu_run.py")]
    else:
        chosen.append('potential.device="cuda"')
    started = launch.on_ranks(n) if n > 1 else [*by, sys.executable]
    words = [word for assignment in chosen for word in ("--set", assignment)]
    command = [*started, *program, str(INPUTS / f"{name}.toml"), *words]
    subprocess.run(command, env=launch.environment(), check=True, capture_output=True, text=True)
    return directory


def differing(one: Path, other: Path) -> list[str]:
    """What differs between two run directories: fields of the frames, rows of thermo.csv."""
    from runs import frames, rows

    wanted, got = frames(one), frames(other)
    found = [name for name in wanted if not same(wanted[name], got[name])]
    return found + ([] if rows(one) == rows(other) else ["thermo.csv"])


def sanitizer(host: bool, seconds: float) -> dict[str, Any]:
    """Two steps of small systems under compute-sanitizer."""
    packaged = Path("/usr/local/cuda/bin/compute-sanitizer")
    program = shutil.which("compute-sanitizer") or (str(packaged) if packaged.exists() else None)
    if host or program is None:
        return {"skipped": "no compute-sanitizer" if program is None else "needs a GPU"}
    found, ends = {}, time.perf_counter() + seconds
    for tool, name in SANITIZED:
        if time.perf_counter() > ends - 20.0:
            found[f"{tool} {name}"] = "no time left"
            continue
        by = (program, "--tool", tool, "--error-exitcode", "9", "--target-processes", "all")
        with tempfile.TemporaryDirectory() as folder:
            try:
                run(Path(folder), name, "gpu", 1, host, steps=2, by=by)
                found[f"{tool} {name}"] = "no errors"
            except subprocess.CalledProcessError as error:
                found[f"{tool} {name}"] = _said(error)
    return {"found": found}


def _said(error: Exception) -> str:
    """An error and the end of what the program has said."""
    said = f"{getattr(error, 'stdout', '') or ''}\n{getattr(error, 'stderr', '') or ''}".strip()
    return f"{type(error).__name__}: {said[-1500:] or error}"
