"""The checks of the start as a table."""

from __future__ import annotations

from allegro_md.report.numbers import integer, number
from allegro_md.report.record import Certificate, Check

HEADINGS = ("check", "result", "largest deviation", "allowed", "unit", "compared", "of what")


def verification(certificate: Certificate) -> list[tuple[str, ...]]:
    """The rows below `HEADINGS`."""
    return [_row(check) for check in certificate.checks]


def _row(check: Check) -> tuple[str, ...]:
    result = "failed" if not check.passed else "passed" if check.compared else "not made"
    measured, allowed = ("–", "–") if not check.compared else (number(check.measured, 2), _allowed(check))
    where = "" if check.atom is None or not check.compared else f", worst at atom {check.atom}"
    return (check.name, result, measured, allowed, check.unit, integer(check.compared),
            f"{check.meaning}; {check.explanation}{where}")


def _allowed(check: Check) -> str:
    return "equal bits" if check.tolerance == 0.0 else number(check.tolerance, 2)
