"""Warnings in plain words: everything about a run that its user should know before using its numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from allegro_md.report.averages import late_temperature
from allegro_md.report.numbers import integer, number, with_error
from allegro_md.report.observables import Shown
from allegro_md.report.record import Certificate, Record
from allegro_md.report.series import Drift, Series, single_reading_std, target_temperature
from allegro_md.report.status import Status

USUAL_DRIFT = 1.0
"""meV per atom and ns. Copper with a trained model: 0.1 with a time step of 2 fs, 0.3 with 4 fs, 2 with 8 fs; see
docs/first-run.md."""

SIGNIFICANT = 3.5
"""Standard errors beyond which a deviation is no accident."""

SMALLEST_DEVIATION = 0.005
"""Part of the target temperature below which a deviation is not worth a warning."""

LARGE_PRESSURE = 0.5
"""GPa, in a cell of fixed size."""

FIXED_CELL = ("nve", "nvt")
"""Ensembles whose names begin so keep the cell."""

_WARNINGS = ("warning:", "passed over:")


@dataclass(frozen=True)
class Complaint:
    """A warning.

    Attributes:
        level: "bad": the run or a check failed; "warning": numbers may be wrong; "note": good to know.
        text: whole sentences.
    """

    level: str
    text: str


def complaints(
    record: Record, status: Status, series: Series | None, observables: Sequence[Shown], unread: Sequence[str],
    log: Sequence[str],
) -> list[Complaint]:
    """All warnings about a run, the worst first.

    Args:
        record: of the run.
        status: how it ended.
        series: its rows of ``thermo.csv``.
        observables: what it has measured.
        unread: messages about files that cannot be read.
        log: the lines of ``log.txt``.
    """
    found = []
    if status.is_complaint:
        found.append(Complaint("bad" if status.kind in ("failed", "killed") else "warning", status.text))
    found += [Complaint("warning", text) for text in _rollbacks(record)]
    if series is not None and len(series.since(record.first_row)):
        series = series.since(record.first_row)
        found += [Complaint("warning", text) for text in _of_series(record, series)]
    found += [Complaint("warning", f"{text}.") for text in unread]
    found += [Complaint("warning", line) for line in dict.fromkeys(log) if line.startswith(_WARNINGS)]
    found += [_of_note(shown.title, note) for shown in observables for note in shown.notes]
    found += _of_certificate(record.verify)
    order = ("bad", "warning", "note")
    return sorted(found, key=lambda complaint: order.index(complaint.level))


def _of_note(title: str, note: str) -> Complaint:
    """A note of an observable, which is a warning if it begins with that word."""
    text = note.removeprefix("Warning: ")
    return Complaint("note" if text == note else "warning", f"{title}: {text}")


def _rollbacks(record: Record) -> Iterator[str]:
    for rollback in record.rollbacks:
        timestep = record.dynamics.timestep / rollback.parts
        yield (
            f"The run went back from step {integer(rollback.step)} to step {integer(rollback.to)} and repeated the "
            f"steps with a time step of {timestep:g} fs: {rollback.fault}."
        )


def _of_series(record: Record, series: Series) -> Iterator[str]:
    drift = series.drift()
    if drift is not None and _is_unusual(drift):
        slope, error = with_error(drift.slope, drift.error)
        yield (
            f"The conserved quantity drifts by {slope} ± {error} meV per atom and ns; usual is less than "
            f"{USUAL_DRIFT:g}. The time step may be too long, or the forces may not be the derivative of the energy."
        )
    yield from _temperature(record, series)
    yield from _pressure(record, series)
    faulty = [name for name, values in series.columns.items() if series.has(name) and not np.isfinite(values).all()]
    if faulty:
        yield f"Some rows of thermo.csv hold no number in {', '.join(faulty)}; the means leave them out."


def _is_unusual(drift: Drift) -> bool:
    """Tells if a drift is larger than usual, and no accident."""
    certain = math.isfinite(drift.error) and abs(drift.slope) > SIGNIFICANT * drift.error
    return certain and abs(drift.slope) > USUAL_DRIFT


def _temperature(record: Record, series: Series) -> Iterator[str]:
    """A mean temperature in the second half that differs from the target by more than the number of atoms explains.

    Where the rows are too few for an error of the mean, its error is taken to be that of a single reading.
    """
    target = target_temperature(record.parts, series.step)
    away = late_temperature(series, target)
    if target is None or away is None or away.n_rows == 0 or not math.isfinite(target[-1]):
        return
    aim = float(target[-1])
    single = single_reading_std(record, aim)
    error = away.error if away.converged else max(single, away.error if math.isfinite(away.error) else 0.0)
    if abs(away.mean) > max(SIGNIFICANT * error, SMALLEST_DEVIATION * aim):
        yield (
            f"The mean temperature of the second half of the run is {number(abs(away.mean), 3)} K "
            f"{'above' if away.mean > 0.0 else 'below'} its target; its statistical error is {number(error, 2)} K "
            f"(a single reading of {integer(record.n_atoms)} atoms scatters by {number(single, 2)} K). The system may "
            "not be in equilibrium yet."
        )


def _pressure(record: Record, series: Series) -> Iterator[str]:
    if not series.has("pressure_GPa") or not record.dynamics.ensemble.startswith(FIXED_CELL):
        return
    late = series.second_half()
    mean = late.average(late.columns["pressure_GPa"])
    certain = not mean.converged or not math.isfinite(mean.error) or abs(mean.mean) > SIGNIFICANT * mean.error
    if abs(mean.mean) > LARGE_PRESSURE and certain:
        value, _ = with_error(mean.mean, mean.error)
        way = "small" if mean.mean > 0.0 else "large"
        yield (
            f"The mean pressure of the second half of the run is {value} GPa. The cell keeps its size, which is too "
            f"{way} for a material at zero pressure and this temperature."
        )


def _of_certificate(certificate: Certificate | None) -> Iterator[Complaint]:
    """Checks that failed, remarks, and checks that could not be made."""
    if certificate is None:
        yield Complaint("note", "The checks of the start have not been made, or their results were not written.")
        return
    for check in certificate.checks:
        if not check.passed:
            remedy = f" {check.remedy[0].upper()}{check.remedy[1:]}." if check.remedy else ""
            yield Complaint("bad", f"The check '{check.name}' failed: {check.meaning}; {check.explanation}.{remedy}")
    for remark in certificate.remarks:
        yield Complaint("note", f"Checks of the start: {remark}.")
    for check in certificate.checks:
        if check.passed and check.compared == 0:
            reason = (check.explanation.partition("left out: ")[2] or check.explanation).removesuffix(" (1)")
            yield Complaint("note", f"The check '{check.name}' was not made: {reason}.")
