"""Tables that ``allegro-md analyze`` writes, and how far two of them are apart."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import launch
import numpy as np
from numpy.typing import NDArray

Table = dict[str, NDArray[np.float64]]


def analyzed(kind: str, source: Path, out: Path, *options: str) -> Table:
    """The columns of ``KIND.csv`` by name, computed unless the file is there.

    Raises:
        ValueError: the file is of another source.
    """
    if not (out / f"{kind}.json").exists():
        words = [sys.executable, "-m", "allegro_md", "analyze", kind, str(source), "--out", str(out), *options]
        subprocess.run(words, env=launch.environment(), check=True, stdout=subprocess.DEVNULL)
    of = result(kind, out)["provenance"]["source"]
    if not of.startswith(f"{source}"):
        raise ValueError(f"{out} holds {kind} of {of}, not of {source}")
    return columns(kind, out)


def columns(kind: str, out: Path) -> Table:
    """The columns of ``KIND.csv`` by name, of a quantity that was analyzed or observed before."""
    lines = [line for line in (out / f"{kind}.csv").read_text().splitlines() if not line.startswith("#")]
    values = np.array([[float(word) if word else np.nan for word in line.split(",")] for line in lines[1:]])
    return dict(zip(lines[0].split(","), values.T, strict=True))


def result(kind: str, out: Path) -> dict[str, Any]:
    """What ``KIND.json`` holds, of a quantity that was analyzed before: values, errors, notes."""
    found: dict[str, Any] = json.loads((out / f"{kind}.json").read_text())
    return found


def distance(a: Table, b: Table, column: str) -> float:
    """Integral of the absolute difference of a column of two tables on the same grid."""
    x = next(iter(a.values()))
    return float(np.abs(a[column] - b[column]).sum() * (x[1] - x[0]))
