"""Results of a study: one row per number of ranks, from the turns it has made."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, NonNegativeInt, PositiveFloat, PositiveInt, ValidationError

from allegro_md.errors import InputError
from allegro_md.io.disk import damage
from allegro_md.scaling.launching import last_words
from allegro_md.scaling.study import STUDY

DAY = 86400.0
"""Seconds."""


class _Size(BaseModel):
    """In every result; `error` where there is no other."""

    ranks: PositiveInt
    atoms: PositiveInt | None = None
    error: str | None = None


class _SizeOfStudy(_Size):
    atoms: PositiveInt


class _Settings(BaseModel):
    """Entries of `study.json` that are read."""

    kind: str
    input: str
    sizes: list[_SizeOfStudy]
    steps: PositiveInt
    with_output: bool


class _Turn(BaseModel):
    """See `turns.described`."""

    seconds_per_step: PositiveFloat
    rebuilds: NonNegativeInt
    cpu_share: float
    imbalance: float
    slowest: dict[str, float]
    mean: dict[str, float]


class _Machine(BaseModel):
    cores: PositiveInt


class _Result(BaseModel):
    """Entries of the result of a size that are read."""

    ranks: PositiveInt
    atoms: PositiveInt
    system: str
    timestep_fs: float
    steps: PositiveInt
    grid: list[int] | None
    machine: _Machine
    notes: list[str]
    turns: list[_Turn]
    peak_memory_MB: float  # noqa: N815  the entry's name


@dataclass(frozen=True)
class Row:
    """One number of ranks. Times are medians of its turns.

    Attributes:
        ranks: number of them.
        atoms: of the system.
        seconds_per_step: of the slowest rank.
        us_per_atom_step: µs per atom and step, of all ranks together.
        us_rank_per_atom_step: the same times the number of ranks: the cost.
        ns_per_day: simulated time per day; NaN where steps have no length.
        efficiency: cost on the fewest ranks over the cost here.
        efficiency_range: lowest and highest of single turns, each against the turn of the fewest ranks beside it.
        spread: largest less smallest time of a turn, over the median.
        turns: number of them.
        steps_per_rebuild: of the neighbor list; NaN without any.
        peak_memory_MB: of the rank with the most.
        imbalance: largest over mean time of the potential.
        cpu_share: processor time over real time, of the rank with the least.
        slowest: share of a step by phase, of the rank that works longest; the mean of the turns. They add up to one.
        mean: seconds per step by phase, mean of the ranks. They add up to `seconds_per_step`.
        grid: ranks along the axes.
    """

    ranks: int
    atoms: int
    seconds_per_step: float
    us_per_atom_step: float
    us_rank_per_atom_step: float
    ns_per_day: float
    efficiency: float
    efficiency_range: tuple[float, float]
    spread: float
    turns: int
    steps_per_rebuild: float
    peak_memory_MB: float  # noqa: N815  the entry's name
    imbalance: float
    cpu_share: float
    slowest: Mapping[str, float]
    mean: Mapping[str, float]
    grid: tuple[int, ...]


@dataclass(frozen=True)
class Failure:
    """A number of ranks without a result."""

    ranks: int
    atoms: int
    reason: str


@dataclass(frozen=True)
class Results:
    """All that a study has found.

    Attributes:
        settings: content of ``study.json``.
        about: entries that all sizes share: system, date, machine, versions; of the most ranks.
        rows: sizes with a result, ascending in ranks.
        failures: sizes without.
        notes: about the machine, each once.
    """

    settings: Mapping[str, Any]
    about: Mapping[str, Any]
    rows: list[Row]
    failures: list[Failure]
    notes: list[str]

    @property
    def kind(self) -> str:
        """Kind of the study."""
        return str(self.settings["kind"])

    def document(self, advice: Sequence[str]) -> dict[str, Any]:
        """The content of ``scaling.json``; NaN is null there."""
        about = {key: self.about[key] for key in ("system", "date", "machine", "versions") if key in self.about}
        settings = {key: value for key, value in self.settings.items() if key not in ("kind", "sizes")}
        document = {
            "kind": self.kind, **about, **settings, "rows": [asdict(row) for row in self.rows],
            "failed": [asdict(failure) for failure in self.failures], "notes": self.notes, "advice": list(advice),
        }  # fmt: skip
        finite: dict[str, Any] = _without_nan(document)
        return finite


def read_results(folder: Path) -> Results:
    """Reads what a study has left in its folder, complete or not.

    Raises:
        InputError: it is not the folder of a study, or a file is damaged.
    """
    if not (folder / STUDY).is_file():
        raise InputError(f"holds no {STUDY}", str(folder), "give the folder that allegro-md scale has made")
    settings = _read(folder / STUDY, _Settings)
    documents, failures = [], []
    for size in settings["sizes"]:
        ranks, atoms = size["ranks"], size["atoms"]
        path = folder / f"ranks-{ranks}.json"
        found = _read_result(path) if path.exists() else {"error": _without_result(folder / f"ranks-{ranks}.log")}
        if "error" in found or not found["turns"]:
            failures.append(Failure(ranks, atoms, found.get("error", "it has made no turn")))
        else:
            documents.append(found)
    documents.sort(key=lambda document: document["ranks"])
    rows = [_row(document, documents[0]) for document in documents]
    notes = dict.fromkeys(note for document in documents for note in document["notes"])
    return Results(settings, documents[-1] if documents else {}, rows, failures, list(notes))


def _without_result(log: Path) -> str:
    """Tells from its log why a job has left no result."""
    last = last_words(log)
    return f"its job failed or still runs; the last line of {log.name}: {last}" if last else "its job has not run yet"


def _row(document: Mapping[str, Any], base: Mapping[str, Any]) -> Row:
    """The row of a size.

    Args:
        document: its result.
        base: the result of the fewest ranks.
    """
    turns, atoms, ranks = document["turns"], document["atoms"], document["ranks"]
    seconds = [turn["seconds_per_step"] for turn in turns]
    median = statistics.median(seconds)
    gain = atoms / base["atoms"] * base["ranks"] / ranks  # efficiency per ratio of times, base over here
    of_base = [turn["seconds_per_step"] for turn in base["turns"]]
    paired = [gain * there / here for there, here in zip(of_base, seconds, strict=False)]
    rebuilds = sum(turn["rebuilds"] for turn in turns)
    timestep = document["timestep_fs"]
    return Row(
        ranks=ranks, atoms=atoms, seconds_per_step=median,
        us_per_atom_step=1e6 * median / atoms,
        us_rank_per_atom_step=1e6 * median / atoms * ranks,
        ns_per_day=1e-6 * timestep * DAY / median if timestep else math.nan,
        efficiency=gain * statistics.median(of_base) / median,
        efficiency_range=(min(paired), max(paired)),
        spread=(max(seconds) - min(seconds)) / median,
        turns=len(turns),
        steps_per_rebuild=document["steps"] * len(turns) / rebuilds if rebuilds else math.nan,
        peak_memory_MB=document["peak_memory_MB"],
        imbalance=statistics.median(turn["imbalance"] for turn in turns),
        cpu_share=statistics.median(turn["cpu_share"] for turn in turns),
        slowest=_shares(turns, "slowest"),
        mean={name: share * median for name, share in _shares(turns, "mean").items()},
        grid=tuple(document["grid"] or ()),
    )  # fmt: skip


def _shares(turns: Sequence[Mapping[str, Any]], whose: str) -> dict[str, float]:
    """Share of a step by phase, the mean of the turns; "other" is what no phase has. They add up to one."""
    names = sorted({name for turn in turns for name in turn[whose]})
    total = dict.fromkeys((*names, "other"), 0.0)
    for turn in turns:
        spent = sum(turn[whose].values())
        whole = max(spent, turn["seconds_per_step"])
        for name, seconds in (turn[whose] | {"other": whole - spent}).items():
            total[name] += seconds / whole / len(turns)
    return total


def _read_result(path: Path) -> dict[str, Any]:
    """The result of a size, or why it has none."""
    document = _read(path, _Size)
    return document if "error" in document else _read(path, _Result)


def _read(path: Path, kind: type[BaseModel]) -> dict[str, Any]:
    """The content of a file, which has all entries of `kind`, and maybe others.

    Raises:
        InputError: it has not.
    """
    again = "make the measurement again"
    with damage(path, again):
        document: dict[str, Any] = json.loads(path.read_text())
    try:
        kind.model_validate(document, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        reason = f"{where}: {first['msg']}" if where else "it holds no table of results"
        raise InputError(f"damaged ({reason})", str(path), again) from None
    return document


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nan(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
