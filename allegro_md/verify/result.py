"""Results of checks: on one rank, on all ranks, and of all checks together."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from allegro_md.comm import Comm
from allegro_md.errors import PhysicsError


@dataclass(frozen=True)
class Result:
    """Result of one check, equal on all ranks.

    Attributes:
        name: of the check, as in the manual.
        passed: false also where a number was NaN.
        measured: the largest deviation, relative to what is allowed; zero where nothing could be compared.
        tolerance: what is allowed there; zero where bits must agree.
        unit: of both.
        atom: id of the worst atom, where the check is about atoms.
        meaning: what is compared with what, a phrase.
        compared: how often.
        explanation: one line: what was worst, and what was left out.
        remedy: what to do where it did not pass; empty where nothing general can be said.
    """

    name: str
    passed: bool
    measured: float
    tolerance: float
    unit: str
    atom: int | None
    meaning: str
    compared: int
    explanation: str
    remedy: str = ""

    def as_dict(self) -> dict[str, Any]:
        """JSON-like; what is no number is null."""
        numbers = {"measured": self.measured, "tolerance": self.tolerance}
        return {**vars(self), **{key: value if math.isfinite(value) else None for key, value in numbers.items()}}


@dataclass(frozen=True)
class _Worst:
    ratio: float
    measured: float
    tolerance: float
    unit: str
    atom: int | None
    what: str


class CheckStats:
    """Collects the comparisons of one check on one rank."""

    def __init__(self, name: str, meaning: str, remedy: str = "") -> None:
        """`meaning`: what is compared with what, a phrase; `remedy`: what to do where it does not pass."""
        self.name, self._meaning, self._remedy = name, meaning, remedy
        self._worst: _Worst | None = None
        self._compared = 0
        self._left_out: Counter[str] = Counter()

    def add(self, what: str, deviation: ArrayLike, tolerance: float, unit: str, atom: int | None = None) -> None:
        """Compares the largest of some deviations, which belong to one atom, with what is allowed."""
        table = np.abs(np.asarray(deviation, dtype=np.float64))
        measured = float(table.max(initial=0.0))  # NaN stays NaN
        self._compared += 1
        self._keep(_Worst(float(_ratio(measured, tolerance)), measured, tolerance, unit, atom, what))

    def add_atoms(self, what: str, deviation: ArrayLike, tolerance: ArrayLike, unit: str, ids: ArrayLike) -> None:
        """Compares deviations (n, …) of atoms with what is allowed, (n,) or one number for all."""
        ids = np.asarray(ids)
        table = np.abs(np.asarray(deviation, dtype=np.float64)).reshape(len(ids), -1)
        measured = table.max(axis=1, initial=0.0)
        allowed = np.broadcast_to(np.asarray(tolerance, dtype=np.float64), measured.shape)
        self._compared += len(ids)
        if len(ids):
            ratios = _ratio(measured, allowed)
            k = int(np.argmax(ratios))
            self._keep(_Worst(float(ratios[k]), float(measured[k]), float(allowed[k]), unit, int(ids[k]), what))

    def leave_out(self, reason: str, count: int = 1) -> None:
        """Notes comparisons that could not be made, and why."""
        self._left_out[reason] += count

    def result(self, comm: Comm) -> Result:
        """The worst of all ranks (collective)."""
        parts = comm.allgather((self._worst, self._compared, self._left_out))
        compared = sum(part[1] for part in parts)
        left_out = sum((part[2] for part in parts), Counter[str]())
        found = [part[0] for part in parts if part[0] is not None]
        remarks = "".join(f"; left out: {reason} ({count})" for reason, count in sorted(left_out.items()))
        if not found:
            explanation = f"nothing to compare{remarks}"
            return Result(self.name, True, 0.0, 0.0, "", None, self._meaning, compared, explanation, self._remedy)
        worst = min(found, key=lambda w: (-w.ratio, -1 if w.atom is None else w.atom))
        explanation = f"{worst.what}{remarks}"
        return Result(
            self.name, worst.ratio <= 1.0, worst.measured, worst.tolerance, worst.unit, worst.atom, self._meaning,
            compared, explanation, self._remedy,
        )  # fmt: skip

    def _keep(self, other: _Worst) -> None:
        if self._worst is None or other.ratio > self._worst.ratio:
            self._worst = other


def _ratio(measured: ArrayLike, tolerance: ArrayLike) -> NDArray[np.float64]:
    """Deviations in units of what is allowed; infinite where a number is none."""
    measured, tolerance = np.asarray(measured, dtype=np.float64), np.asarray(tolerance, dtype=np.float64)
    usable = np.isfinite(measured) & np.isfinite(tolerance) & (tolerance > 0.0)
    beyond = np.where(measured == 0.0, 0.0, np.inf)
    return np.divide(measured, tolerance, out=beyond, where=usable)


@dataclass(frozen=True)
class VerifyReport:
    """All checks of a system.

    Attributes:
        results: in the order of the checks.
        samples: atoms whose environments were looked at.
        seconds: it took.
        remarks: what a reader should know.
    """

    results: Sequence[Result]
    samples: int
    seconds: float
    remarks: Sequence[str] = ()

    @property
    def failed(self) -> list[Result]:
        """The checks that did not pass."""
        return [result for result in self.results if not result.passed]

    def as_dict(self) -> dict[str, Any]:
        """JSON-like, for ``run.json``."""
        return {
            "passed": not self.failed,
            "seconds": round(self.seconds, 3),
            "samples": self.samples,
            "checks": [result.as_dict() for result in self.results],
            "remarks": list(self.remarks),
        }

    def lines(self) -> list[str]:
        """For the log: the checks that passed, without those that had nothing to compare."""
        names = ", ".join(result.name for result in self.results if result.compared)
        head = f"verify: {self.samples} sampled atoms, {self.seconds:.1f} s; passed: {names}"
        return [*map(complaint, self.failed)] or [head, *(f"verify: {remark}" for remark in self.remarks)]

    def require(self) -> None:
        """Nothing where all passed.

        Raises:
            PhysicsError: names the first check that failed and its worst atom.
        """
        if self.failed:
            first = self.failed[0]
            raise PhysicsError(complaint(first), () if first.atom is None else (first.atom,))


def complaint(result: Result) -> str:
    """One line on a check that failed."""
    where = "" if result.atom is None else f" at atom {result.atom}"
    allowed = f"{result.tolerance:.2g} {result.unit} is allowed" if result.tolerance else "the bits must agree"
    remedy = f" — {result.remedy}" if result.remedy else ""
    return (
        f"verify: the check '{result.name}' failed{where}: off by {result.measured:.3g} {result.unit}, {allowed} "
        f"({result.meaning}; {result.explanation}){remedy}"
    )


def results_of(all_stats: Iterable[CheckStats], comm: Comm) -> list[Result]:
    """The results of several checks (collective)."""
    return [stats.result(comm) for stats in all_stats]
