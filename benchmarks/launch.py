"""What the benchmark scripts share: starting runs of the program on several ranks, and naming the machine."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
SHARED = Path(os.environ.get("ALLEGRO_MD_SHARED", ROOT.parent / "shared"))
"""The larger reference data, beside the checkout."""

SINGLE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


def run_input(text: str, name: str, folder: Path, ranks: int) -> dict[str, Any]:
    """Runs an input on several ranks, unless it is done already; one that was broken off goes on.

    Args:
        text: the input without ``directory``, ending in its ``[output]`` section.
        name: of the input file and of the run directory.
        folder: holds both.
        ranks: number of ranks.

    Returns:
        The run's run.json; its run directory is ``folder / name``.
    """
    directory = folder / name
    record = directory / "run.json"
    if not record.exists() or json.loads(record.read_text())["status"] != "done":
        folder.mkdir(parents=True, exist_ok=True)
        source = folder / f"{name}.toml"
        source.write_text(f'{text}\ndirectory = "{name}"\n')
        resume = ["--resume"] if directory.exists() else []
        subprocess.run([*on_ranks(ranks), "-m", "allegro_md", str(source), *resume], env=environment(), check=True)
    return json.loads(record.read_text())


def program(source: Path, directory: Path, ranks: int, assignments: Sequence[str]) -> list[str]:
    """The command that runs an input, some of its keys changed as by ``--set``, into a run directory."""
    chosen = [*assignments, f"output.directory={json.dumps(str(directory))}"]
    words = [word for assignment in chosen for word in ("--set", assignment)]
    return [*on_ranks(ranks), "-m", "allegro_md", str(source), *words]


def on_ranks(ranks: int) -> list[str]:
    """This Python, started by the launcher."""
    return [mpirun(), "-n", str(ranks), sys.executable]


def environment() -> dict[str, str]:
    """One thread per rank."""
    return os.environ | dict.fromkeys(SINGLE_THREAD, "1")


def mpirun() -> str:
    """The launcher beside this Python (the wheel's), else the one on the path."""
    beside = Path(sys.executable).parent / "mpirun"
    found = str(beside) if beside.exists() else shutil.which("mpirun")
    if found is None:
        raise SystemExit("no mpirun: install the mpi extra")
    return found


def machine() -> dict[str, Any]:
    """Processor, number of cores and operating system."""
    names = re.findall(r"model name\s*:\s*(.*)", _read("/proc/cpuinfo"))
    processor = names[0] if names else platform.processor() or platform.machine()
    return {"processor": processor, "cores": os.cpu_count(), "system": f"{platform.system()} {platform.machine()}"}


def versions(*packages: str) -> dict[str, str]:
    """Of this Python and of installed packages."""
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in packages}}


def save(kind: str, figures: dict[str, Any], versions: dict[str, str]) -> Path:
    """Writes ``results/KIND-MACHINE.json`` and returns its path."""
    here, path = machine(), result_file(kind)
    path.parent.mkdir(exist_ok=True)
    date = datetime.now(UTC).isoformat(timespec="seconds")
    document = {"date": date, "machine": here, "versions": versions, **figures}
    path.write_text(json.dumps(document, indent=2) + "\n")
    return path


def result_file(kind: str) -> Path:
    """The file ``results/KIND-MACHINE.json`` of this machine."""
    here = machine()
    slug = re.sub(r"\W+", "-", re.sub(r"\(\w+\)|CPU|@.*", "", here["processor"])).strip("-").lower()
    return RESULTS / f"{kind}-{slug}-{here['cores']}-cores.json"


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
