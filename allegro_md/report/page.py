"""The page of a run: reads the run directory and fills in the template, one section after the other."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from allegro_md.errors import InputError
from allegro_md.io.disk import write_whole
from allegro_md.io.thermo import NAME as THERMO
from allegro_md.io.thermo import read_thermo
from allegro_md.report import viewer
from allegro_md.report.averages import UNSURE, averages, drift_sentence
from allegro_md.report.complaints import USUAL_DRIFT, complaints
from allegro_md.report.facts import facts
from allegro_md.report.input_text import as_toml
from allegro_md.report.observables import Shown, read_observables
from allegro_md.report.plots import MOST_POINTS, thermo_plots
from allegro_md.report.record import Record, read_record
from allegro_md.report.series import Series, target_temperature
from allegro_md.report.status import Status, status_of
from allegro_md.report.structure import read_structure
from allegro_md.report.template import data_address, render
from allegro_md.report.timing import MOST_RANKS, RANK_HEADINGS, phases, rank_rows
from allegro_md.report.verification import HEADINGS, verification

NAME = "report.html"
"""In the run directory."""


@dataclass(frozen=True)
class Run:
    """Everything that is read of a run directory, but the atoms.

    Attributes:
        directory: of the run.
        record: its ``run.json``.
        series: rows of ``thermo.csv``; None where there is none.
        observables: results of ``observe/``.
        log: lines of ``log.txt``.
        unread: messages about files that cannot be read.
        last_step: the last one of which something is known.
        status: how it ended, or that it goes on.
    """

    directory: Path
    record: Record
    series: Series | None
    observables: list[Shown]
    log: list[str]
    unread: list[str]
    last_step: int
    status: Status


def read_run(directory: Path) -> Run:
    """Reads a run directory; nothing in it is locked or changed.

    Raises:
        InputError: it is no run directory, or its record is damaged.
    """
    record = read_record(directory)
    observables, unread = read_observables(directory)
    series = None
    if (directory / THERMO).is_file():
        try:
            series = Series(read_thermo(directory / THERMO).columns, record.n_atoms)
        except InputError as error:
            unread.append(str(error))
    last_step = max(record.step, int(series.step[-1]) if series is not None and len(series) else 0)
    log = _log(directory / "log.txt")
    status = status_of(record, directory, last_step)
    return Run(directory, record, series, observables, log, unread, last_step, status)


@dataclass(frozen=True)
class Live:
    """A page that follows its run.

    Attributes:
        version: of the files that the page shows.
        seconds: between the questions to its server whether there is another one.
    """

    version: str
    seconds: float


def build_page(directory: Path, live: Live | None = None) -> str:
    """Makes the page of a run.

    Args:
        directory: of the run.
        live: None makes a page that needs no server.

    Raises:
        InputError: it is no run directory, or its record is damaged.
    """
    run = read_run(directory)
    record, series = run.record, run.series
    return render(
        "run.html.j2",
        title=f"Run {directory.absolute().name}",
        status=run.status,
        complaints=complaints(record, run.status, series, run.observables, run.unread, run.log),
        facts=facts(record, series, run.last_step),
        thermo=None if series is None or not len(series) else _thermo(record, series),
        observables=run.observables,
        certificate=record.verify,
        checks=None if record.verify is None else (HEADINGS, verification(record.verify)),
        phases=phases(record.ranks),
        time=record.time,
        ranks=(RANK_HEADINGS, rank_rows(record.ranks), max(0, len(record.ranks) - MOST_RANKS)),
        structure=_structure(run),
        input=as_toml(record.raw_input),
        library=viewer.library(),
        live=live,
    )


def write_report(directory: Path, page: Path) -> None:
    """Writes the page of a run.

    Args:
        directory: of the run.
        page: the file, replaced as a whole.

    Raises:
        InputError: the directory is no run directory, or its record is damaged.
        ResourceError: the page cannot be written.
    """
    write_whole(page, build_page(directory).encode())


def _thermo(record: Record, series: Series) -> dict[str, Any]:
    """The values of the template's section on ``thermo.csv``."""
    last = series.since(record.first_row)
    last = last if len(last) else series
    rows = averages(last)
    plots = thermo_plots(series, target_temperature(record.parts, series.step))
    return {
        "plots": [(title, data_address(picture, "image/svg+xml")) for title, picture in plots],
        "rows": rows,
        "unsure": any(UNSURE in row.error + row.late_error for row in rows),
        "drift": drift_sentence(last.drift()),
        "usual": f"{USUAL_DRIFT:g}",
        "count": len(last),
        "stage": record.stages[-1].name if record.stages else "",
        "thinned": len(series) > MOST_POINTS,
    }


def _structure(run: Run) -> dict[str, Any]:
    """The values of the template's section on the atoms."""
    structure, reason = read_structure(run.directory, run.record.dynamics.timestep)
    if structure is None:
        return {"reason": reason}
    scene = viewer.scene(structure)
    return {
        "caption": structure.caption,
        "legend": viewer.legend(structure),
        "scene": json.dumps(scene, separators=(",", ":")).replace("<", "\\u003c"),  # within a script element
        "has_cell": bool(scene["edges"]),
        "has_bonds": bool(scene["bonds"]),
        "tolerance": viewer.TOLERANCE,
    }


def _log(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
