"""Warnings appear exactly where they should."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pages import Page

from allegro_md.io.thermo import HEADER as COMMON
from allegro_md.io.thermo import WALL_COLUMN
from allegro_md.report.page import build_page
from allegro_md.report.record import Record
from allegro_md.report.series import single_reading_std

HEADER = f"{COMMON},{WALL_COLUMN}"

CopyRun = Callable[..., Path]

QUIET = np.random.default_rng(7)


def rows(directory: Path, **changed: np.ndarray) -> None:
    """Replaces ``thermo.csv`` by 400 rows at 30 K without pressure and drift, except for what is `changed`."""
    n = 400
    columns = {
        "step": np.arange(n) / 2.0, "time_fs": 2.0 * np.arange(n), "potential_eV": np.full(n, -20.0),
        "conserved_eV": -19.0 + 1e-5 * QUIET.normal(size=n), "temperature_K": 30.0 + 1.5 * QUIET.normal(size=n),
        "pressure_GPa": 0.02 * QUIET.normal(size=n), "volume_A3": np.full(n, 9313.0), "wall_s": 0.01 * np.arange(n),
    } | changed  # fmt: skip
    table = np.column_stack([columns.get(name, np.zeros(n)) for name in HEADER.split(",")])
    np.savetxt(directory / "thermo.csv", table, delimiter=",", header=HEADER, comments="", fmt="%.17g")


def warnings(directory: Path) -> list[str]:
    """The warnings of a page, without the note that a potential without a model has no test vector."""
    text = build_page(directory)
    page = Page(text)
    assert page.faults == []
    items = [item.split("</li>")[0].split(">", 1)[1] for item in text.split("<li ")[1:]]
    return [item for item in items if "test vector" not in item]


def test_none_for_a_good_run(copy_run: CopyRun) -> None:
    directory = copy_run()
    rows(directory)
    assert warnings(directory) == []


def test_drift(copy_run: CopyRun) -> None:
    directory = copy_run()
    time = 2.0 * np.arange(400) * 1e-6  # ns
    noise = 1e-5 * QUIET.normal(size=400)
    rows(directory, conserved_eV=-19.0 + 256 * 5e-3 * time + noise)  # 5 meV per atom and ns
    (found,) = warnings(directory)
    told = re.match(r"The conserved quantity drifts by ([\d.]+) ± ([\d.]+) meV per atom and ns", found)
    assert told is not None and float(told[1]) == pytest.approx(5.0, abs=3.0 * float(told[2]))
    assert "usual is less than 1" in found
    rows(directory, conserved_eV=-19.0 + 256 * 0.5e-3 * time + noise)
    assert warnings(directory) == []


@pytest.mark.parametrize(("away", "expected"), [(0.0, False), (0.1, False), (3.0, True), (-3.0, True)])
def test_temperature(copy_run: CopyRun, away: float, expected: bool) -> None:
    directory = copy_run()
    rows(directory, temperature_K=30.0 + away + 1.5 * QUIET.normal(size=400))
    found = warnings(directory)
    assert len(found) == expected
    if expected:
        assert f"{'above' if away > 0 else 'below'} its target" in found[0]


def test_temperature_of_few_correlated_rows_is_not_judged_by_their_scatter(copy_run: CopyRun) -> None:
    """A few rows that happen to lie together 1 K away: a single reading of 256 atoms scatters by as much."""
    directory = copy_run()
    rows(directory, temperature_K=31.0 + 0.01 * np.linspace(0.0, 1.0, 400))
    assert warnings(directory) == []
    record = Record.model_validate({**(found := json.loads((directory / "run.json").read_text())),
                                    "raw_input": found["input"]})
    assert single_reading_std(record, 30.0) == pytest.approx(30.0 * np.sqrt(2.0 / (3 * 256 - 3)))
    langevin = record.model_copy(update={"degrees_of_freedom": 3 * 256})  # as its integrator counts
    assert single_reading_std(langevin, 30.0) == pytest.approx(30.0 * np.sqrt(2.0 / (3 * 256)))


def test_pressure(copy_run: CopyRun) -> None:
    directory = copy_run()
    rows(directory, pressure_GPa=2.0 + 0.02 * QUIET.normal(size=400))
    (found,) = warnings(directory)
    told = re.match(r"The mean pressure of the second half of the run is ([\d.]+) GPa", found)
    assert told is not None and float(told[1]) == pytest.approx(2.0, abs=0.005)
    assert "too small for a material at zero pressure" in found


def test_rows_that_are_no_numbers(copy_run: CopyRun) -> None:
    directory = copy_run()
    pressure = 0.02 * QUIET.normal(size=400)
    pressure[-1] = np.nan
    rows(directory, pressure_GPa=pressure)
    (found,) = warnings(directory)
    assert found.startswith("Some rows of thermo.csv hold no number in pressure_GPa")


def test_log_and_rollbacks(copy_run: CopyRun) -> None:
    rollback = {"fault": "force of 1e9 eV/Å on atom 7", "step": 150, "to": 100, "parts": 2}
    directory = copy_run(rollbacks=[rollback])
    rows(directory)
    (directory / "log.txt").write_text("256 atoms\nwarning: 4 ranks share 2 cores\nwarning: 4 ranks share 2 cores\n")
    back, log = warnings(directory)
    assert "went back from step 150 to step 100" in back and "2 fs" in back
    assert log == "warning: 4 ranks share 2 cores"


def test_notes_of_observables(copy_run: CopyRun) -> None:
    """A result in words is no warning; a note that begins with that word is one, and comes before the others."""
    directory = copy_run()
    rows(directory)
    found = {
        "kind": "msd", "name": "msd", "title": "Displacement", "samples": 9, "first_step": 0, "last_step": 8,
        "notes": ["Ar: D = 2.4e-5 ± 1e-6 cm2/s.", "Warning: an atom moved 0.49 of a cell."],
    }  # fmt: skip
    (directory / "observe").mkdir()
    (directory / "observe" / "msd.json").write_text(json.dumps(found))
    assert warnings(directory) == [
        "Displacement: an atom moved 0.49 of a cell.", "Displacement: Ar: D = 2.4e-5 ± 1e-6 cm2/s."
    ]  # fmt: skip
    levels = [item.split('"')[1] for item in build_page(directory).split("<li class=")[1:3]]
    assert levels == ["warning", "note"]


def test_checks_that_failed(copy_run: CopyRun, finished: Path) -> None:
    certificate = json.loads((finished / "run.json").read_text())["verify"]
    certificate["checks"][0] |= {"passed": False, "measured": None, "remedy": "use the reference"}
    certificate |= {"passed": False, "remarks": ["atoms were sampled"]}
    directory = copy_run(verify=certificate)
    rows(directory)
    failed, remark = warnings(directory)
    assert failed.startswith("The check &#39;environment&#39; failed") and failed.endswith("Use the reference.")
    assert remark == "Checks of the start: atoms were sampled."


def test_damaged_thermo(copy_run: CopyRun) -> None:
    directory = copy_run()
    (directory / "thermo.csv").write_text("step,time_fs\n1,2,3\n")
    (found,) = warnings(directory)
    assert "thermo.csv: is no thermo.csv" in found
