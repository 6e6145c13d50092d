"""Observables of a run: the files ``observe/*.json`` with their tables and pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from allegro_md.errors import InputError
from allegro_md.io.disk import damage
from allegro_md.report.numbers import integer, with_error
from allegro_md.report.plots import table_plot
from allegro_md.report.record import first_fault
from allegro_md.report.template import data_address
from allegro_md.reporting import OBSERVE

MOST_ROWS = 5_000
"""Of a table that is plotted; of longer ones every k-th row is."""

_MEDIA = {".svg": "image/svg+xml", ".png": "image/png"}


class Value(BaseModel):
    """A number that an observable has found."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    label: str
    value: float | None
    error: float | None = None
    unit: str = ""


class Observable(BaseModel):
    """The results of an observable, as in its JSON file."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    kind: str
    name: str
    title: str
    settings: dict[str, Any] = {}
    samples: int
    first_step: int
    last_step: int
    values: list[Value] = []
    notes: list[str] = []
    files: list[str] = []


@dataclass(frozen=True)
class Shown:
    """An observable as the page shows it.

    Attributes:
        title: a phrase.
        basis: samples and steps, a sentence.
        rows: label, value, error and unit of each value.
        notes: sentences.
        picture: the address of its picture; empty where there is none.
        files: names of its files in the run directory.
    """

    title: str
    basis: str
    rows: list[tuple[str, str, str, str]]
    notes: list[str]
    picture: str
    files: list[str]


def read_observables(directory: Path) -> tuple[list[Shown], list[str]]:
    """Reads all observables of a run directory.

    Returns:
        The observables in the order of their paths, and a complaint for each file that cannot be read.
    """
    found, complaints = [], []
    for path in sorted((directory / OBSERVE).rglob("*.json")):
        try:
            found.append(_shown(path, directory))
        except InputError as error:
            complaints.append(str(error))
    return found, complaints


def _shown(path: Path, directory: Path) -> Shown:
    """Reads one observable of a run directory; those of a stage lie in a folder of its name.

    Raises:
        InputError: a file of it is damaged.
    """
    try:
        with damage(path):
            found = Observable.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except InputError as error:
        if isinstance(error.__cause__, ValidationError):
            raise InputError(f"damaged ({first_fault(error.__cause__)})", str(path)) from None
        raise
    files = [path.parent / name for name in found.files if _is_beside(name)]
    name = "" if found.name == found.kind else f" ({found.name.removeprefix(found.kind + '-')})"
    basis = f"{integer(found.samples)} samples, steps {integer(found.first_step)} to {integer(found.last_step)}"
    rows = [(v.label, *with_error(v.value, v.error), _unit(v.unit)) for v in found.values]
    names = [file.relative_to(directory).as_posix() for file in files if file.is_file()]
    stage = path.parent.relative_to(directory / OBSERVE).as_posix()
    name += "" if stage == "." else f", stage {stage}"
    return Shown(found.title + name, basis + ".", rows, found.notes, _picture(files), names)


def _is_beside(name: str) -> bool:
    """Tells if a name is that of a file in the same folder; others are not followed."""
    return Path(name).name == name


def _picture(files: Sequence[Path]) -> str:
    """The address of the picture: the SVG file, else the PNG file, else the curves of the CSV file."""
    for suffix, media in _MEDIA.items():
        for file in files:
            if file.suffix == suffix and file.is_file():
                with damage(file):
                    return data_address(file.read_bytes(), media)
    for file in files:
        if file.suffix == ".csv" and file.is_file():
            picture = _plotted(file)
            return "" if picture is None else data_address(picture, _MEDIA[".svg"])
    return ""


def _plotted(path: Path) -> bytes | None:
    """The curves of a CSV file; None where there are fewer than two rows or columns of numbers.

    Raises:
        InputError: it is damaged.
    """
    with damage(path):
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
        names = lines[0].split(",") if lines else []
        rows = [line.split(",") for line in lines[1 :: max(1, len(lines) // MOST_ROWS)]]
        columns = list(zip(*rows, strict=True))
        numeric = [k for k, column in enumerate(columns) if all(map(_is_number, column))]
        if len(numeric) < 2 or len(rows) < 2:
            return None
        return table_plot([names[k] for k in numeric], np.array([columns[k] for k in numeric], dtype=np.float64).T)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _unit(unit: str) -> str:
    """The unit with raised powers: "cm2/s" becomes "cm²/s"."""
    for power, raised in (("^", ""), ("-1", "⁻¹"), ("2", "²"), ("3", "³")):
        unit = unit.replace(power, raised)
    return unit
