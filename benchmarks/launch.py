"""What the benchmark scripts share: starting runs of the program on several ranks, and naming the machine."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"
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
        command = [mpirun(), "-n", str(ranks), sys.executable, "-m", "allegro_md", str(source)]
        resume = ["--resume"] if directory.exists() else []
        environment = os.environ | dict.fromkeys(SINGLE_THREAD, "1")
        subprocess.run([*command, *resume], env=environment, check=True)
    return json.loads(record.read_text())


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


def save(kind: str, figures: dict[str, Any], versions: dict[str, str]) -> Path:
    """Writes ``results/KIND-MACHINE.json`` and returns its path."""
    here = machine()
    slug = re.sub(r"\W+", "-", re.sub(r"\(\w+\)|CPU|@.*", "", here["processor"])).strip("-").lower()
    path = RESULTS / f"{kind}-{slug}-{here['cores']}-cores.json"
    path.parent.mkdir(exist_ok=True)
    date = datetime.now(UTC).isoformat(timespec="seconds")
    document = {"date": date, "machine": here, "versions": versions, **figures}
    path.write_text(json.dumps(document, indent=2) + "\n")
    return path


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
