"""The checks of `allegro-md doctor`: each returns findings, none raises."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from allegro_md.cache_folder import cache_folder
from allegro_md.cli.mpi_check import round_trip
from allegro_md.comm import Comm
from allegro_md.io.layout import Column, lay_out, placements
from allegro_md.kernel_cache import kept_kernels
from allegro_md.simulation.host_info import warnings

PACKAGES = ("allegro-md", "torch", "numpy", "scipy", "numba", "h5py", "e3nn", "ase", "pydantic", "safetensors")
LAUNCHER_SECONDS = 30.0
"""Seconds that two ranks of the launcher get to answer."""

SCRATCH_BYTES = 1e9
"""Room that temporary files should have."""

_NO_FOLDER = "there is no cache folder that only this user can write"
_OWN_FOLDER = "set XDG_CACHE_HOME to a folder of your own that others cannot write"
_DRIVER = Path("/proc/driver/nvidia/version")
_WHEEL = "pip install 'allegro-md[mpi]' and use the mpirun beside this Python"


@dataclass(frozen=True)
class Finding:
    """One line of the table.

    Attributes:
        verdict: "ok", "warning" or "wrong".
        what: was looked at.
        found: was found.
        remedy: what to do about it; empty when all is well.
    """

    verdict: str
    what: str
    found: str
    remedy: str = ""


def diagnose(comm: Comm, places: Sequence[dict[str, Any]]) -> list[Finding]:
    """All findings (collective; those of rank 0 count)."""
    exchanged = round_trip(comm) if comm.size > 1 else {}
    if comm.rank > 0:
        return []
    message = ranks_found(comm.library, comm.size, exchanged) if comm.size > 1 else launcher()
    folders = [kernel_cache(), table_cache(), scratch(), locking(Path.cwd())]
    return [*versions(), *message, *cores(places), gpu(), hdf5(), *folders]


def versions() -> list[Finding]:
    """Python and the packages."""
    found = [Finding("ok", "Python", platform.python_version())]
    for package in PACKAGES:
        try:
            found.append(Finding("ok", package, version(package)))
        except PackageNotFoundError:
            found.append(Finding("wrong", package, "not installed", "pip install allegro-md"))
    try:
        found.append(Finding("ok", "mpi4py", version("mpi4py")))
    except PackageNotFoundError:
        found.append(Finding("warning", "mpi4py", "not installed: one rank only", _WHEEL))
    return found


def launcher(find: Callable[[str], str | None] = shutil.which) -> list[Finding]:
    """Checks that the launcher on the path starts ranks that know of each other; two are started."""
    beside = Path(sys.executable).parent / "mpirun"
    path = find("mpirun") or (str(beside) if beside.exists() else None)
    if path is None:
        return [Finding("warning", "launcher", "no mpirun: one rank only", _WHEEL)]
    environment = {
        name: value for name, value in os.environ.items() if not re.match(r"PMI|OMPI_|PRTE_|SLURM_", name)
    } | {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "PRTE_MCA_rmaps_default_mapping_policy":
         ":oversubscribe", "OMPI_MCA_rmaps_base_oversubscribe": "1"}
    command = [path, "-n", "2", sys.executable, "-m", "allegro_md.cli.mpi_check"]
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=LAUNCHER_SECONDS, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        what = f"cannot be started ({error.strerror})" if isinstance(error, OSError) else "no answer"
        return [Finding("wrong", "launcher", f"{path}: {what}", f"does `{path} -n 2 hostname` work? else {_WHEEL}")]
    return answers(path, [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")], done.stderr)


def answers(path: str, told: Sequence[dict[str, Any]], complaints: str) -> list[Finding]:
    """Interprets the output of the ranks that a launcher has started."""
    good = [line for line in told if line.get("size") == 2]
    if len(good) == 2:
        return [Finding("ok", "launcher", path), *ranks_found(good[0]["library"], 2, good[0])]
    errors = [line["error"] for line in told if "error" in line]
    if errors or len(told) == 2:
        found = errors[0] if errors else "every process takes itself for the only rank"
        remedy = (
            f"use the mpirun of the MPI that mpi4py is built for, or {_WHEEL}, or build mpi4py for this one: "
            "pip install --no-binary mpi4py mpi4py"
        )
        return [Finding("wrong", "launcher", f"{path} does not fit the MPI in use: {found}", remedy)]
    last = (complaints.strip().splitlines() or ["no answer"])[-1]
    return [Finding("wrong", "launcher", f"{path}: {last}", f"does `{path} -n 2 hostname` work? else {_WHEEL}")]


def ranks_found(library: str, size: int, exchanged: dict[str, float]) -> list[Finding]:
    """MPI, and how messages travel."""
    if not exchanged["intact"]:
        return [Finding("wrong", "messages", f"arrive damaged ({library}, {size} ranks)", "install another MPI")]
    speed = f"{exchanged['latency']:.1f} µs, {exchanged['bandwidth']:.2f} GB/s around {size} ranks"
    return [Finding("ok", "MPI", library), Finding("ok", "messages", speed)]


def cores(places: Sequence[dict[str, Any]]) -> list[Finding]:
    """Ranks and threads against the cores there are."""
    complaints = [text.split(": ", 1) for text in warnings(places)]
    available = len(places[0]["cores"])
    threads = ", ".join(f"{n}={os.environ[n]}" for n in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS") if n in os.environ)
    fine = Finding("ok", "cores", f"{available} for {len(places)} ranks" + (f", {threads}" if threads else ""))
    return [Finding("warning", "cores", *complaint) for complaint in complaints] or [fine]


def gpu() -> Finding:
    """Checks that torch finds the GPU of this machine, if it has one."""
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())]
        return Finding("ok", "GPU", f"{', '.join(names)}; CUDA {torch.version.cuda}")
    if not _DRIVER.exists():
        return Finding("ok", "GPU", "none; runs on the CPU")
    if torch.version.cuda is None:
        return Finding("warning", "GPU", "there is one, but this torch is built for the CPU only",
                       "install a torch for CUDA: https://pytorch.org/get-started")
    return Finding("warning", "GPU", f"there is one, but torch (CUDA {torch.version.cuda}) cannot use it",
                   "is CUDA_VISIBLE_DEVICES set? is the driver new enough for this CUDA?")


def hdf5() -> Finding:
    """Checks that HDF5 can write a file of the kind that runs write."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            columns = (Column("position", (3,), "float64"),)
            lay_out(Path(folder) / "a.h5", columns, 10, 1, 1)
            placements(Path(folder) / "a.h5", columns)
    except Exception as error:  # HDF5 raises anything
        return Finding("wrong", "HDF5", f"cannot write a file ({error})", "pip install --force-reinstall h5py")
    return Finding("ok", "HDF5", "writes files")


def kernel_cache() -> Finding:
    """Checks that compiled kernels can be kept on disk."""
    folder = kept_kernels()
    if folder is None:
        return Finding("warning", "kernel cache", f"{_NO_FOLDER}; every start compiles the kernels anew", _OWN_FOLDER)
    if error := _cannot_write(folder):
        return Finding("warning", "kernel cache", f"{folder}: {error}; every start compiles the kernels anew",
                       "set NUMBA_CACHE_DIR to a folder you can write to")
    return Finding("ok", "kernel cache", str(folder))


def table_cache() -> Finding:
    """Checks that tables of models can be kept on disk."""
    folder = cache_folder()
    if folder is None:
        found = f"{_NO_FOLDER}; every start makes tables of models anew"
        return Finding("warning", "table cache", found, _OWN_FOLDER)
    return Finding("ok", "table cache", f"{folder} (run --no-cache neither reads nor keeps tables)")


def scratch() -> Finding:
    """Room for temporary files."""
    try:
        folder = Path(tempfile.gettempdir())
    except FileNotFoundError as error:
        return Finding("wrong", "temporary files", str(error), "set TMPDIR to a folder you can write to")
    free = shutil.disk_usage(folder).free
    if free < SCRATCH_BYTES:
        return Finding("warning", "temporary files", f"{free / 1e6:.0f} MB free in {folder}",
                       "free space, or set TMPDIR to another folder")
    return Finding("ok", "temporary files", f"{free / 1e9:.1f} GB free in {folder}")


def locking(folder: Path) -> Finding:
    """Checks that run directories in a folder can be locked."""
    if error := _cannot_write(folder):
        return Finding("warning", "this folder", f"{folder}: {error}", "work in a folder you can write to")
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as refused:
        return Finding("warning", "file locking", f"{folder}: {refused.strerror}",
                       "take care that no two runs use one run directory")
    return Finding("ok", "file locking", str(folder))


def _cannot_write(folder: Path) -> str:
    """Returns the reason why nothing can be written into a folder; empty if it is writable."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x")
    except OSError as error:
        return error.strerror or str(error)
    return ""
