"""Everything that is to be seen on a machine with a GPU, in one command of at most ten minutes.

    python benchmarks/gpu_check.py [--only PART ...] [--seconds 540] [--host]

Each part runs in a process of its own, within a share of the time; what fails, or finds no time, is listed with its
error, and the others go on. Needs torch, numpy, numba, cuda-bindings and what the package itself asks for; what else is
not there (pytest, mpirun, compute-sanitizer, nequip-allegro) is skipped by name. Writes
``results/gpu-check-MACHINE.json`` after each part; with ``--only`` other parts that are there stay. What the figures
should be is in `gpu_predictions.md`.

``--host`` tries the script without a GPU: the host build of the tests runs the kernels, systems are small, and the
figures go to the folder of temporary files.
"""

from __future__ import annotations

import argparse
import functools
import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import gpu_measure
import gpu_same
import launch
import torch

HOST_SIZES, SIZES = (500,), (10**4, 10**5, 10**6, 10**7, 10**8)
LARGE, LARGE_GB = 5 * 10**7, 60.0
"""Systems of more atoms need so much free memory."""


class Part(NamedTuple):
    """A part of the check.

    Attributes:
        seconds: its share, at most.
        function: called with `host` and the seconds it has.
    """

    seconds: float
    function: Callable[[bool, float], dict[str, Any]]


def compiled(host: bool, seconds: float) -> dict[str, Any]:
    """Compiles every instance that the tests name, for this GPU, or for sm_90; and keeps what runs will ask for."""
    import gpu_code
    from gpu_instances import INSTANCES

    from allegro_md.kernels.gpu import nvrtc

    architecture = "sm_90" if host else "sm_{}{}".format(*torch.cuda.get_device_capability())
    ends, found, spills = time.perf_counter() + seconds, {}, []
    for file, instances in INSTANCES.items():
        for instance in instances[:1] if host else instances:
            if time.perf_counter() > ends - 5.0:
                return {"architecture": architecture, "error": f"no time left at {instance}", "kernels": found}
            try:
                found[instance] = gpu_code.described(file, instance, architecture)
                nvrtc.compiled(file, instance, architecture)
                if any(found[instance]["stack_and_spills_bytes"] or ()):
                    spills.append(instance)
            except RuntimeError as error:
                found[instance] = {"error": str(error)[-800:]}
    return {"architecture": architecture, "spills": spills, "kernels": found}


def tests(host: bool, seconds: float) -> dict[str, Any]:
    """The unit tests of kernels, each of which compares with the CPU engine by ``==``, run by the GPU."""
    if importlib.util.find_spec("pytest") is None:
        return {"skipped": "pytest is not installed"}
    folders = [str(launch.ROOT / "benchmarks"), str(launch.ROOT / "tests" / "drivers"), str(launch.ROOT)]
    environment = launch.environment() | {"PYTHONPATH": os.pathsep.join(folders)}
    chosen = ["tests/unit/gpu/test_steps.py", "tests/unit/gpu/test_matrix.py"] if host else ["tests/unit/gpu"]
    command = [sys.executable, "-m", "pytest", "-p", "gpu_mirror", "-q", "--deselect", "tests/unit/gpu/test_sources.py"]
    if host:
        environment["ALLEGRO_MD_MIRROR"] = "host"
    try:
        done = subprocess.run(
            [*command, *chosen], env=environment, cwd=launch.ROOT, capture_output=True, text=True, timeout=seconds - 2
        )
    except subprocess.TimeoutExpired as late:
        return {"error": f"not finished in {seconds:.0f} s", "said": (late.stdout or b"")[-1500:].decode()}
    return {"equal": done.returncode == 0, "said": done.stdout.splitlines()[-40:]}


def nequip(host: bool, seconds: float) -> dict[str, Any]:
    """A call of nequip-allegro, and one of this program, on the weights of ``ag-dense``, silver of 4,000 atoms."""
    if importlib.util.find_spec("allegro") is None or importlib.util.find_spec("nequip") is None:
        return {"skipped": "nequip-allegro is not installed"}
    import gpu_nequip

    return gpu_nequip.compared("ag-dense", host, seconds)


def record(host: bool, seconds: float) -> dict[str, Any]:
    """``inputs/record-ag.toml`` for as many steps as fit; it writes no frames, and is ended when time is up."""
    changes = ["output.trajectory.every=0", "dynamics.steps=100000", 'potential.device="cuda"']
    program = [sys.executable, "-m", "allegro_md"]
    if host:
        program = [sys.executable, str(launch.ROOT / "tests" / "drivers" / "gpu_run.py")]
        changes[-1] = "system.repeat=[2,2,2]"
    elif torch.cuda.mem_get_info()[0] < 1e9 * LARGE_GB:
        changes.append("system.repeat=[52,52,52]")
    least = 0.0 if host else torch.cuda.mem_get_info()[0] / 1e9
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder) / "run"
        words = [word for each in (*changes, f'output.directory="{where}"') for word in ("--set", each)]
        ends = time.perf_counter() + min(seconds - 5.0, 15.0 if host else seconds)
        before = least
        with (Path(folder) / "said").open("w+") as said:
            process = subprocess.Popen(
                [*program, str(launch.ROOT / "inputs" / "record-ag.toml"), *words], env=launch.environment(),
                stdout=said, stderr=subprocess.STDOUT,
            )  # fmt: skip
            while time.perf_counter() < ends and process.poll() is None:
                time.sleep(0.25)
                least = least if host else min(least, torch.cuda.mem_get_info()[0] / 1e9)
            process.kill()
            process.wait()
            said.seek(0)
            rows = (where / "thermo.csv").read_text().splitlines() if (where / "thermo.csv").exists() else []
            if len(rows) < 3:
                return {"error": "not two steps were made", "said": said.read()[-1500:]}
    names, *values = (row.split(",") for row in rows)
    table = [dict(zip(names, map(float, row), strict=True)) for row in values if len(row) == len(names)]
    step, wall = ([row[key] for row in table] for key in ("step", "wall_s"))
    return {
        "changes": changes, "steps": int(step[-1]), "seconds_per_step": (wall[-1] - wall[1]) / (step[-1] - step[1]),
        "GPU_memory_GB": round(before - least, 2), "temperature_K": [row["temperature_K"] for row in table],
        "conserved_eV": [row["conserved_eV"] for row in table], "wall_s": wall,
    }  # fmt: skip


def timed(name: str, atoms: int, host: bool, seconds: float) -> dict[str, Any]:
    """Times of one system; large ones only where there is memory."""
    if not host and atoms > LARGE and torch.cuda.mem_get_info()[0] < 1e9 * LARGE_GB:
        return {"skipped": f"less than {LARGE_GB:.0f} GB of memory are free"}
    return gpu_measure.times(name, atoms, host, seconds)


def parts(host: bool) -> dict[str, Part]:
    """All parts by name, the most important first."""
    found = {
        "machine": Part(30, gpu_measure.machine),
        "compile": Part(90, compiled),
        "potentials": Part(150, gpu_same.potentials),  # kernels of the CPU are compiled, too
        "runs": Part(90, gpu_same.runs),
        "atomics": Part(20, gpu_measure.atomics),
    }
    for atoms in HOST_SIZES if host else SIZES:
        for name in gpu_measure.SYSTEMS:
            if atoms <= LARGE or name == "silver":
                share = 15 if atoms < 10**6 else 20 if atoms < 10**7 else 30 if atoms < LARGE else 100
                found[f"{name} {atoms:.0e}"] = Part(share, functools.partial(timed, name, atoms))
    found |= {
        "record": Part(120, record),
        "ranks": Part(60, gpu_same.ranks),
        "tests": Part(120, tests),
        "sanitizer": Part(90, gpu_same.sanitizer),
        "nequip": Part(60, nequip),
        "lj 1e+08": Part(100, functools.partial(timed, "lj", SIZES[-1])),
    }
    if host:
        del found["lj 1e+08"]
    return found


def run_part(name: str, host: bool, seconds: float) -> dict[str, Any]:
    """Runs a part in another process; its figures, or what went wrong."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        words = ["--part", name, str(result), "--seconds", f"{seconds:.1f}", *(["--host"] if host else [])]
        began = time.perf_counter()
        with (Path(folder) / "said").open("w+") as said:
            process = subprocess.Popen(
                [sys.executable, __file__, *words], env=launch.environment(), stdout=said, stderr=subprocess.STDOUT
            )
            try:
                process.wait(timeout=seconds + 2.0)
                ended = f"ended with status {process.returncode}"
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                ended = f"not finished in {seconds:.0f} s"
            said.seek(0)
            found = json.loads(result.read_text()) if result.exists() else {"error": ended, "said": said.read()[-2000:]}
    return {"took_s": round(time.perf_counter() - began, 1), **found}


def versions() -> dict[str, str]:
    """Of the packages that are there."""
    names = ("torch", "numpy", "numba", "cuda-bindings", "nvidia-cuda-nvrtc", "nequip-allegro")
    found = launch.versions()
    for name in names:
        try:
            found |= launch.versions(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def main() -> None:
    """Runs the parts one after the other; prints a line for each, and keeps what there is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", metavar="PART", help=f"of {', '.join(parts(False))}")
    parser.add_argument("--seconds", type=float, default=540.0)
    parser.add_argument("--host", action="store_true")
    parser.add_argument("--part", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    known, ends = parts(options.host), time.perf_counter() + options.seconds
    if options.part:
        name, path = options.part
        figures = known[name].function(options.host, options.seconds)
        Path(path).write_text(json.dumps(figures))
        return
    unknown = [name for name in options.only or () if name not in known]
    if unknown:
        raise SystemExit(f"no part {', '.join(unknown)}; there are {', '.join(known)}")
    if options.host:
        launch.RESULTS = Path(tempfile.gettempdir())
    path = launch.result_file("gpu-check")
    found: dict[str, Any] = json.loads(path.read_text())["parts"] if options.only and path.exists() else {}
    for name in options.only or known:
        left = ends - time.perf_counter()
        if left < 6.0:
            found[name] = {"error": "no time left"}
        else:
            found[name] = run_part(name, options.host, min(known[name].seconds, left - 2.0))
        print(f"{name}: {summary(found[name])}", flush=True)
        launch.save("gpu-check", {"parts": found}, versions())
    print(path)
    sys.exit(int(any("error" in each or each.get("equal") is False for each in found.values())))


def summary(figures: dict[str, Any]) -> str:
    """The figures that fit on a line."""
    short = {key: value for key, value in figures.items() if not isinstance(value, dict | list)}
    return ", ".join(f"{key} {str(value)[:200]}" for key, value in short.items())


if __name__ == "__main__":
    main()
