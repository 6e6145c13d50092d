"""The report of a training: one self-contained page, and its plots as files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from allegro_md.io.disk import write_whole
from allegro_md.report.template import data_address, render
from allegro_md.training import plots
from allegro_md.training.calibration import calibrate
from allegro_md.training.evaluation import Evaluation
from allegro_md.training.metrics import Error, Metrics
from allegro_md.training.progress import HISTORY, read_history

REPORT, CURVE = "report.html", "learning-curve.png"

_HEADINGS = ("energy, meV", "energy, meV/atom", "forces, meV/Å", "stress, MPa")


def write_report(directory: Path, document: Mapping[str, Any], evaluations: Mapping[str, Evaluation]) -> Path:
    """Writes ``learning-curve.png``, ``parity-SET.png``, ``histogram-SET.png`` and ``report.html``.

    Args:
        directory: of the training; it, or its folders ``seed-N``, hold a ``history.csv``.
        document: what there is to tell, plain values: each table in it becomes a section, the rest the last one.
        evaluations: of each set of frames, by its name.

    Returns:
        The page.

    Raises:
        InputError: a history cannot be read.
        ResourceError: a file cannot be written.
    """
    curves = list(_curves(directory))
    sets = []
    for name, evaluation in evaluations.items():
        pictures = {"parity": plots.parity(evaluation, name), "histogram": plots.histogram(evaluation, name)}
        found = calibrate(evaluation) if len(evaluation.member_forces) > 1 else None
        if found is not None:
            pictures["calibration"] = plots.calibration(found, name)
        for kind, picture in pictures.items():
            write_whole(directory / f"{kind}-{name}.png", picture)
        sets.append((name, [data_address(picture, "image/png") for picture in pictures.values()]))
    page = render(
        "report.html.j2",
        "allegro_md.training",
        title=f"Training in {directory.absolute().name}",
        headings=_HEADINGS,
        errors=[row for name, evaluation in evaluations.items() for row in _errors(name, evaluation.metrics)],
        committee=max((len(e.member_forces) for e in evaluations.values() if len(e.member_forces) > 1), default=0),
        curves=[(name, data_address(picture, "image/png")) for name, picture in curves],
        sets=sets,
        sections=_sections(document),
    )
    write_whole(directory / REPORT, page.encode())
    return directory / REPORT


def _curves(directory: Path) -> Iterator[tuple[str, bytes]]:
    """Learning curves of the training, or of each member of a committee, written beside their histories."""
    for path in sorted([directory / HISTORY, *directory.glob(f"seed-*/{HISTORY}")]):
        rows = read_history(path) if path.is_file() else []
        if rows:
            picture = plots.learning_curve(rows)
            write_whole(path.with_name(CURVE), picture)
            yield ("" if path.parent == directory else f", {path.parent.name}"), picture


def _errors(name: str, metrics: Metrics) -> Iterator[list[str]]:
    """A row of the table, then those of its elements and config types."""
    errors = (metrics.energy, metrics.energy_per_atom, metrics.forces, metrics.stress)
    yield [name, str(metrics.frames), str(metrics.atoms), *map(_cell, errors)]
    if len(metrics.forces_by_species) > 1:
        for symbol, error in metrics.forces_by_species.items():
            yield [f"\N{EM SPACE}{symbol}", "", "", "", "", _cell(error), ""]
    for kind, each in metrics.by_kind.items():
        yield from _errors(f"\N{EM SPACE}{kind or '(no config_type)'}", replace(each, forces_by_species={}))


def _cell(error: Error | None) -> str:
    return "–" if error is None else f"{error.mae:.4g} / {error.rmse:.4g}"


def _sections(document: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Tables of names and values: one per table of the document, then what is in none."""
    tables = {key: value for key, value in document.items() if isinstance(value, Mapping)}
    rest = {key: value for key, value in document.items() if key not in tables}
    sections = [(key.replace("_", " "), list(_rows(table))) for key, table in (*tables.items(), ("provenance", rest))]
    return [(name, rows) for name, rows in sections if rows]


def _rows(table: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _rows(value, f"{above}{key}.")
        elif value is not None and value not in ([], ()):
            yield above + str(key), _text(value)


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return ", ".join(map(_text, value)) if isinstance(value, list | tuple) else str(value)
