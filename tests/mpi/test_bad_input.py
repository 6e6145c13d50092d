"""Bad input: the right status, one helpful line, nothing written, soon; the table is in drivers/bad_input_table.py.

By default all cases are tried on one rank in this process, on two in one launch (drivers/refusals.py), and a few are
launched the way a user does; behind the marker `long` that is done with all of them, on four ranks as well.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from bad_input_table import CASES
from bad_inputs import Case, make_good
from once import once
from refusals import PATIENCE, attempt, complaints, copy, listing, unannounced
from runs import unhurried

from allegro_md.cli import main
from allegro_md.comm import Comm

DRIVER = Path(__file__).resolve().parents[1] / "drivers" / "refusals.py"
BY_NAME = {case.name: case for case in CASES}
LAUNCHED = {
    "typo in a key": 1, "NaN coordinate": 2, "atoms closer than 0.3 Å": 1, "model cut short": 2,
    "run directory exists": 1, "crystal larger than memory": 2,
}  # fmt: skip
"""Case → number of ranks it is started on by default, as a user does."""

MpiRun = Callable[..., "CompletedProcess[str]"]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bad-input") / "good"
    make_good(folder)
    words = ["--set", f'output.directory="{folder.parent / "warm"}"', "--set", "dynamics.steps=0"]
    assert main([str(folder / "model.toml"), *words]) == 0  # kernels are compiled: a refusal does not take that long
    return folder


@pytest.fixture(scope="module")
def found(mpirun: MpiRun, good: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Complaints per case, for a number of ranks."""

    def run(ranks: int) -> dict[str, list[str]]:
        folder = tmp_path_factory.mktemp(f"on-{ranks}")
        done = mpirun(ranks, [DRIVER, good, folder], timeout=200, check=False)
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        result = {line["case"]: line.get("complaints", [f"ended the program: {done.stderr}"]) for line in lines}
        assert result, done.stderr
        return result

    return once(run)


@pytest.mark.parametrize("case", BY_NAME)
def test_refused(good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    monkeypatch.chdir(tmp_path)
    assert attempt(BY_NAME[case], good, tmp_path, Comm.serial()) == []


@pytest.mark.parallel
@pytest.mark.parametrize("case", BY_NAME)
def test_refused_on_ranks(found: Any, case: str, ranks: int = 2) -> None:
    assert found(ranks).get(case, ["never tried"]) == []


@pytest.mark.long
@pytest.mark.parallel
@pytest.mark.parametrize("case", BY_NAME)
def test_refused_on_four_ranks(found: Any, case: str) -> None:
    test_refused_on_ranks(found, case, 4)


def launch(mpirun: MpiRun, ranks: int, case: Case, good: Path, folder: Path) -> list[str]:
    """Complaints about a case that is started as a user does."""
    place = copy(good, folder, case)
    before = listing(place)
    began = time.perf_counter()
    done = mpirun(ranks, ["-m", "allegro_md", *case.arguments], cwd=place, check=False, timeout=60, fresh=True)
    seconds = unhurried(time.perf_counter() - began, PATIENCE, ranks)
    found = complaints(case, done.returncode, done.stderr, listing(place) != before, seconds)
    printed = unannounced(done.stdout) if case.arguments[0] != "check" else ""
    return [*found, *([f"said: {done.stderr}{done.stdout}"] if found or printed else [])]


@pytest.mark.parametrize(
    ("case", "ranks"),
    [pytest.param(*each, marks=pytest.mark.parallel if each[1] > 1 else []) for each in LAUNCHED.items()],
)
def test_refused_when_launched(mpirun: MpiRun, good: Path, tmp_path: Path, ranks: int, case: str) -> None:
    assert launch(mpirun, ranks, BY_NAME[case], good, tmp_path) == []


@pytest.mark.long
@pytest.mark.parallel
@pytest.mark.parametrize("case", BY_NAME)
@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_every_one_when_launched(mpirun: MpiRun, good: Path, tmp_path: Path, ranks: int, case: str) -> None:
    test_refused_when_launched(mpirun, good, tmp_path, ranks, case)


def test_no_case_hides_another() -> None:
    assert len(BY_NAME) == len(CASES)
