"""Files of a result: ``KIND[-NAME].csv``, ``.json``, ``.png`` and ``.svg``."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path

from allegro_md.analysis.plots import draw
from allegro_md.analysis.result import Analyzed, Column
from allegro_md.analysis.table import QuantityTable
from allegro_md.io.disk import write_json, write_whole
from allegro_md.versions import installed


def paths(label: str) -> tuple[str, ...]:
    """Names and patterns of the files of a result."""
    return tuple(f"{label}{ending}" for ending in (".csv", ".json", ".png", ".svg")) + (f"{label}--*.csv",)


def write_result(directory: Path, table: QuantityTable, found: Analyzed, picture: bool) -> list[Path]:
    """Writes the files of a result, each whole or not at all.

    Args:
        directory: where to; it exists.
        table: the settings, whose label is the common name of the files.
        found: what to write.
        picture: also draws it.

    Returns:
        The files written.

    Raises:
        ResourceError: one cannot be written.
    """
    program = f"allegro-md {installed()['allegro-md']}"
    date = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    label, result = table.label, found.result
    basis = f"{found.samples} samples, steps {found.first_step} to {found.last_step}, {found.source}"
    remarks = [f"{result.title}, {program}, {date}", basis]
    tables = {f"{label}.csv": result.columns}
    tables |= {f"{label}--{ending}.csv": columns for ending, columns in result.more.items()}
    written = []
    for name, columns in tables.items():
        write_whole(directory / name, _csv(columns, [*remarks, *result.notes]).encode())
        written.append(directory / name)
    if picture and result.panels:
        for ending, content in draw(result).items():
            write_whole(directory / f"{label}.{ending}", content)
            written.append(directory / f"{label}.{ending}")
    document = {
        "kind": table.kind, "name": label, "title": result.title, "settings": table.model_dump(mode="json"),
        "samples": found.samples, "first_step": found.first_step, "last_step": found.last_step,
        "values": [
            {"name": v.name, "label": v.label, "value": _number(v.value), "error": _number(v.error), "unit": v.unit}
            for v in result.values
        ],
        "notes": result.notes,
        "files": [path.name for path in written],
        "provenance": {"program": program, "date": date, "source": found.source},
    }  # fmt: skip
    write_json(directory / f"{label}.json", document)
    return [*written, directory / f"{label}.json"]


def _csv(columns: Sequence[Column], remarks: Sequence[str]) -> str:
    """The text of a table: remarks behind #, names with units, and numbers with all their digits."""
    lines = [f"# {remark}" for remark in remarks]
    lines.append(",".join(column.name for column in columns))
    rows = zip(*(_cells(column) for column in columns), strict=True)
    return "\n".join([*lines, *(",".join(row) for row in rows)]) + "\n"


def _cells(column: Column) -> list[str]:
    if isinstance(column.values, Sequence):
        return [str(value) for value in column.values]
    return [repr(value) for value in column.values.tolist()]


def _number(value: float) -> float | None:
    """A number as JSON can hold it: None for NaN and infinity."""
    return float(value) if math.isfinite(value) else None
