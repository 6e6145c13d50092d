"""The page of a run: needs no other file, and its numbers are those of the run's files, computed here another way."""

from __future__ import annotations

import base64
import csv
import json
import os
import re
import socket
import tomllib
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from pages import Page, as_number, write_observable

from allegro_md.io.run_directory import LOCK
from allegro_md.report.page import build_page
from allegro_md.report.viewer import bonded_pairs

CopyRun = Callable[..., Path]


def thermo(directory: Path) -> dict[str, np.ndarray]:
    with (directory / "thermo.csv").open() as file:
        rows = list(csv.DictReader(file))
    return {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}


def page_of(directory: Path) -> Page:
    page = Page(build_page(directory))
    assert page.faults == []
    return page


def rewrite(path: Path, change: Callable[[dict[str, np.ndarray]], None]) -> None:
    """Changes the columns of a ``thermo.csv``."""
    columns = thermo(path.parent)
    change(columns)
    lines = [",".join(columns), *(",".join(map(repr, map(float, row))) for row in zip(*columns.values(), strict=True))]
    path.write_text("\n".join(lines) + "\n")


def test_needs_no_network(finished: Path) -> None:
    text = build_page(finished)
    page = Page(text)
    assert page.faults == []
    assert page.addresses and all(address.startswith("data:") for address in page.addresses)
    styles = "".join(re.findall(r"<style>(.*?)</style>", text, re.DOTALL))
    assert "url(" not in styles and "@import" not in styles
    for picture in re.findall(r"data:image/svg\+xml;base64,([^\"]+)", text):
        drawn = base64.b64decode(picture).decode()
        assert all(link.startswith("#") for link in re.findall(r'href="([^"]*)"', drawn))


def test_order_of_sections(finished: Path) -> None:
    sections = list(page_of(finished).sections)
    assert sections == [
        "head", "warnings", "facts", "thermo", "observables", "verification", "time", "structure", "input",
    ]  # fmt: skip


def test_what_ran(finished: Path) -> None:
    page = page_of(finished)
    assert page.row("facts", "atoms") == ["256 Ar"]
    assert page.row("facts", "cell") == ["a 21.0400, b 21.0400, c 21.0400 Å; right angles"]
    density = 256 * 39.948 / 21.04**3 / 0.602214
    assert page.row("facts", "density") == [f"{density:.3f} g/cm³"]
    assert page.row("facts", "length")[0].startswith("800.0 fs: 200 of 200 steps of 4 fs")
    assert "Done: all 200 steps were made." in page.sections["head"].text
    rows = thermo(finished)
    per_day = 0.8e-3 / (rows["wall_s"][-1] - rows["wall_s"][0]) * 86400
    per_atom = (rows["wall_s"][-1] - rows["wall_s"][0]) / 200 / 256 * 1e6
    fast, slow = re.findall(r"[\d.]+", page.row("facts", "speed")[0])
    assert float(fast) == pytest.approx(per_day, rel=6e-3)
    assert float(slow) == pytest.approx(per_atom, rel=6e-3)


def test_means_are_those_of_the_file(finished: Path) -> None:
    page, rows = page_of(finished), thermo(finished)
    late = rows["time_fs"] >= 400.0
    for name, column, per in (
        ("temperature (K)", "temperature_K", 1), ("potential energy (eV/atom)", "potential_eV", 256),
        ("pressure (GPa)", "pressure_GPa", 1), ("stress xy (GPa)", "sxy_GPa", 1),
    ):  # fmt: skip
        mean, error, std, _, late_mean, late_error = map(as_number_of_cell, page.row("thermo", name))
        values = rows[column] / per
        assert abs(mean - values.mean()) <= 0.1 * error
        assert abs(late_mean - values[late].mean()) <= 0.1 * late_error
        assert std == pytest.approx(values.std(ddof=1), rel=6e-3)
        assert error >= 0.95 * values.std(ddof=1) / np.sqrt(len(values))  # correlated samples know less
    slope = np.polyfit(rows["time_fs"] / 1e6, 1e3 * rows["conserved_eV"] / 256, 1)[0]
    told = re.search(r"Drift of the conserved quantity: (\S+) ± (\S+) meV", page.sections["thermo"].text)
    assert told is not None
    assert abs(as_number(told[1]) - slope) <= 0.1 * as_number(told[2])


def as_number_of_cell(text: str) -> float:
    """A number, or the one before its unit."""
    return as_number(text.split()[0])


def test_time_and_ranks(finished: Path) -> None:
    page, record = page_of(finished), json.loads((finished / "run.json").read_text())
    seconds = record["ranks"][0]["seconds"]
    share, mean, slowest = page.row("time", "potential")
    assert share == f"{100 * seconds['potential'] / sum(seconds.values()):.1f} %"
    assert mean == slowest == f"{seconds['potential']:.1f}"
    assert page.row("time", "0")[0] == record["ranks"][0]["host"]


def test_checks_of_the_start(finished: Path) -> None:
    page, record = page_of(finished), json.loads((finished / "run.json").read_text())
    for check in record["verify"]["checks"]:
        assert page.row("verification", check["name"])[0] == ("passed" if check["compared"] else "not made")
    assert "The check 'test vector' was not made: no model file" in page.sections["warnings"].text


def test_input_can_be_read_again(finished: Path, tmp_path: Path) -> None:
    """What is shown as the input makes the same run."""
    shown = re.search(r"<pre>(.*?)</pre>", build_page(finished), re.DOTALL)
    assert shown is not None
    text = shown[1].replace("&#34;", '"').replace("&#39;", "'").replace("&lt;", "<").replace("&gt;", ">")
    expected = json.loads((finished / "run.json").read_text())["input"]
    assert tomllib.loads(text) == without_empty(expected)


def without_empty(table: dict[str, object]) -> dict[str, object]:
    """The table without entries that TOML cannot hold."""
    found: dict[str, object] = {}
    for key, value in table.items():
        if value is not None:
            found[key] = without_empty(value) if isinstance(value, dict) else value
    return found


def test_observables(copy_run: CopyRun) -> None:
    directory = copy_run()
    write_observable(directory)
    write_observable(directory, "msd", title="Mean square displacement", kind="msd", notes=["Only 2 atoms moved."])
    (directory / "observe/broken.json").write_text('{"kind": "x"}')
    page = page_of(directory)
    assert page.row("observables", "self-diffusion of <Ar>") == ["1.23·10⁻⁵", "0.10·10⁻⁵", "cm²/s"]
    assert page.row("observables", "neighbors") == ["–", "–", ""]
    assert "101 samples" in page.sections["observables"].text
    warnings = page.sections["warnings"].text
    assert "Mean square displacement: Only 2 atoms moved." in warnings
    assert "broken.json: damaged (entry name: field required)" in warnings
    assert len([a for a in page.addresses if "svg" in a]) == 4 + 2  # the plots of thermo.csv, and two of CSV files


def test_pictures_of_observables_are_taken_as_they_are(copy_run: CopyRun) -> None:
    directory = copy_run()
    write_observable(directory, files=["rdf.csv", "rdf.png", "rdf.svg", "../../../secret.svg"])
    (directory / "observe/rdf.png").write_bytes(b"\x89PNG of a test")
    page = page_of(directory)
    assert "data:image/png;base64," + base64.b64encode(b"\x89PNG of a test").decode() in page.addresses


def test_atoms_of_the_last_frame(finished: Path) -> None:
    scene = scene_of(build_page(finished))
    assert scene["symbols"] == ["Ar"] * 256
    assert len(scene["edges"]) == 12
    position = np.array(scene["positions"])
    with h5py.File(finished / "trajectory.h5") as file:
        expected = file["particles/all/position/value"][-1]
    assert np.abs(position - expected).max() < 6e-4


def scene_of(text: str) -> dict[str, list[object]]:
    found = re.search(r'<script type="application/json" id="scene">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    scene: dict[str, list[object]] = json.loads(found[1])
    return scene


def test_atoms_of_a_checkpoint(finished: Path, copy_run: CopyRun) -> None:
    """Without a trajectory the newest checkpoint is shown: the same atoms, the last frame being of the same step."""
    directory = copy_run()
    (directory / "trajectory.h5").unlink()
    text = build_page(directory)
    assert "Checkpoint of step 200, 800.0 fs." in text
    difference = np.array(scene_of(text)["positions"]) - np.array(scene_of(build_page(finished))["positions"])
    assert np.abs(difference - 21.04 * np.round(difference / 21.04)).max() < 2e-3


def test_large_systems_are_shown_in_part(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("allegro_md.report.structure.MOST_ATOMS", 50)
    text = build_page(finished)
    scene = scene_of(text)
    position = np.array(scene["positions"])
    assert 30 <= len(position) <= 50
    assert scene["edges"] == []
    everything = np.array(scene_of_all(finished, monkeypatch)["positions"])
    low, high = position.min(axis=0) + 1e-3, position.max(axis=0) - 1e-3  # coordinates are rounded
    inside = everything[((everything > low) & (everything < high)).all(axis=1)]
    assert {*map(tuple, inside.tolist())} <= {*map(tuple, position.tolist())}  # nothing is missing between them
    assert re.search(rf"{len(position)} of 256 atoms: those within a cube of [\d.]+ Å", text)


def scene_of_all(directory: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[object]]:
    monkeypatch.setattr("allegro_md.report.structure.MOST_ATOMS", 5000)
    return scene_of(build_page(directory))


def test_bonds() -> None:
    water = np.array([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0], [2.8, 0.0, 0.0]])
    assert bonded_pairs(water, np.array([8, 1, 1, 8])).tolist() == [[0, 1], [0, 2]]
    pair = np.array([[0.0, 0.0, 0.0], [1.95, 0.0, 0.0]])
    assert bonded_pairs(pair, np.array([22, 8])).tolist() == [[0, 1]]  # Ti-O
    assert bonded_pairs(pair, np.array([3, 8])).tolist() == []  # Li-O
    assert bonded_pairs(pair, np.array([29, 29])).tolist() == []


def test_no_rows_and_no_atoms(copy_run: CopyRun) -> None:
    directory = copy_run(verify=None, system=None)
    for path in (*directory.glob("checkpoint-*.h5"), directory / "trajectory.h5", directory / "thermo.csv"):
        path.unlink()
    (directory / "log.txt").unlink()
    page = page_of(directory)
    assert "There are no rows of thermo.csv." in page.sections["thermo"].text
    assert "neither a frame of a trajectory nor a checkpoint" in page.sections["structure"].text
    assert page.row("facts", "atoms") == ["256"]


def test_a_row_that_is_being_written(copy_run: CopyRun) -> None:
    directory = copy_run()
    with (directory / "thermo.csv").open("a") as file:
        file.write("202,808.0,-1")
    assert page_of(directory).sections["thermo"].text == page_of(directory).sections["thermo"].text
    assert "from all 101 rows" in page_of(directory).sections["thermo"].text.lower()


@pytest.mark.parametrize(
    ("status", "lock", "kind", "expected"),
    [
        ("InterruptedRun: interrupted; stopped after step 120", None, "interrupted", "Interrupted after 200 of 200"),
        ("PhysicsError: force of 1e9 eV/Å on atom 7", None, "failed", "force of 1e9 eV/Å on atom 7"),
        ("running", None, "killed", "no process holds the run directory"),
        ("running", "PID HOST", "running", "Still running, process PID on HOST"),
        ("running", "4194305 HOST", "killed", "process 4194305 on HOST has ended"),  # beyond the largest number
        ("running", "17 elsewhere", "running", "Still running, process 17 on elsewhere"),
    ],
)
def test_how_a_run_ended(copy_run: CopyRun, status: str, lock: str | None, kind: str, expected: str) -> None:
    directory = copy_run(status=status)
    here = {"PID": str(os.getpid()), "HOST": socket.gethostname()}
    for word, value in here.items():
        expected, lock = expected.replace(word, value), lock and lock.replace(word, value)
    if lock is not None:
        (directory / LOCK).write_text(lock + "\n")
    text = build_page(directory)
    page = Page(text)
    assert f'class="status {kind}"' in text
    assert expected in page.sections["head"].text
    assert (expected in page.sections["warnings"].text) == (kind != "running")
    if lock is not None:
        assert (directory / LOCK).read_text() == lock + "\n"


def test_a_silent_run_of_another_host_is_doubted(copy_run: CopyRun) -> None:
    directory = copy_run(status="running")
    (directory / LOCK).write_text("17 elsewhere\n")
    for path in directory.rglob("*"):
        os.utime(path, (1e9, 1e9))
    assert "If that process has ended, the run was killed." in page_of(directory).sections["warnings"].text
