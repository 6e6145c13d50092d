"""Rows, table and files of a study, against the published ones of Musaelian et al., Nat. Commun. 14, 579 (2023)."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from studies import turn, write_study

from allegro_md.cli import main
from allegro_md.errors import InputError
from allegro_md.scaling.published import of_system
from allegro_md.scaling.report import lines, write_files
from allegro_md.scaling.results import read_results
from allegro_md.scaling.table import table_lines

ATOMS, TIMESTEP = 1_022_400, 5.0  # fs
EFFICIENCY = {1: 1.00, 2: 0.91, 4: 0.91, 8: 0.87, 16: 0.80, 32: 0.60, 64: 0.46, 128: 0.26}
"""GPUs → that follows from the speeds of the paper, by hand."""

SILVER = {
    row.gpus: (row.ns_per_day, row.printed_us, EFFICIENCY[row.gpus])
    for row in of_system("Ag") if row.atoms == ATOMS
}  # fmt: skip
"""GPUs → ns/day and µs/(atom·step) as printed in table 4 of the paper, and the efficiency."""


def report_of(folder: Path) -> list[str]:
    results = read_results(folder)
    return [*lines(results), write_files(results, folder)]


def seconds(ns_per_day: float) -> float:
    """Of a step of 5 fs: by hand."""
    return TIMESTEP * 1e-6 / ns_per_day * 86_400


def published(folder: Path) -> Path:
    """A study with the speeds of the paper."""
    return write_study(
        folder, {n: [turn(seconds(row[0]))] for n, row in SILVER.items()}, dict.fromkeys(SILVER, ATOMS), TIMESTEP
    )


def test_the_table_of_the_paper(tmp_path: Path) -> None:
    rows = read_results(published(tmp_path)).rows
    assert [row.ranks for row in rows] == list(SILVER)
    for row in rows:
        speed, per_atom, efficiency = SILVER[row.ranks]
        assert row.ns_per_day == pytest.approx(speed, rel=1e-9)
        assert row.us_per_atom_step == pytest.approx(per_atom, abs=6e-4)
        assert row.us_rank_per_atom_step == pytest.approx(row.ranks * row.us_per_atom_step, rel=1e-12)
        assert row.efficiency == pytest.approx(efficiency, abs=6e-3)


def test_weak_efficiency_of_the_paper(tmp_path: Path) -> None:
    """100,640,512 atoms on 128 GPUs at 1.539 ns/day, against one GPU: 0.81."""
    folder = write_study(
        tmp_path, {1: [turn(seconds(1.461))], 128: [turn(seconds(1.539))]}, {1: ATOMS, 128: 100_640_512}, kind="weak"
    )
    assert read_results(folder).rows[1].efficiency == pytest.approx(0.81, abs=5e-3)


def test_medians_and_spread_of_turns(tmp_path: Path) -> None:
    one = [turn(s) for s in (1.0, 1.1, 1.3)]
    two = [turn(s) for s in (0.5, 0.6, 1.3)]
    rows = read_results(write_study(tmp_path, {1: one, 2: two}, {1: 1000, 2: 1000})).rows
    assert rows[0].seconds_per_step == 1.1 and rows[0].spread == pytest.approx(0.3 / 1.1)
    assert rows[1].efficiency == pytest.approx(1.1 / (2 * 0.6))
    assert rows[1].efficiency_range == pytest.approx((0.5, 1.0))
    assert rows[1].steps_per_rebuild == pytest.approx(10.0)


def test_files(tmp_path: Path) -> None:
    told = report_of(published(tmp_path))
    document = json.loads((tmp_path / "scaling.json").read_text())
    assert document["kind"] == "strong" and document["machine"]["cores"] == 8 and document["date"]
    promised = {"ranks", "atoms", "seconds_per_step", "us_per_atom_step", "ns_per_day", "efficiency"}
    assert all(promised <= set(row) for row in document["rows"])
    with (tmp_path / "scaling.csv").open() as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    assert [float(row["ns_per_day"]) for row in rows] == pytest.approx([row[0] for row in SILVER.values()])
    assert (tmp_path / "scaling.png").read_bytes()[:4] == b"\x89PNG"
    assert any("1,022,400" in line and "28.16" in line and "0.60" in line for line in told)
    assert "without trajectory, thermo and checkpoints" in "\n".join(told)
    assert "128 ranks, the busiest: potential 100 %" in told


def test_a_size_that_failed_does_not_lose_the_others(tmp_path: Path) -> None:
    folder = write_study(tmp_path, {1: [turn(1.0)], 2: "out of memory", 4: [turn(0.3)]}, dict.fromkeys((1, 2, 4), 100))
    (folder / "ranks-4.json").unlink()  # its job has not run yet
    told = report_of(folder)
    assert any("no result: out of memory" in line for line in told)
    assert any("no result: its job has not run yet" in line for line in told)
    (folder / "ranks-4.log").write_text("starting\nslurmstepd: error: Exceeded job memory limit\n\n")
    assert any("ranks-4.log: slurmstepd: error: Exceeded job memory" in line for line in report_of(folder))
    document = json.loads((folder / "scaling.json").read_text())
    assert [row["ranks"] for row in document["rows"]] == [1]
    assert [(f["ranks"], f["atoms"]) for f in document["failed"]] == [(2, 100), (4, 100)]


def test_shares_of_a_step_add_up(tmp_path: Path) -> None:
    """Of a quiet and a disturbed turn; medians of the parts and of the whole come from different ones. By hand."""
    quiet = turn(1.0, {"potential": 0.8, "wait": 0.1})
    disturbed = turn(2.0, {"potential": 0.4, "wait": 0.5})
    for turns in ([quiet, disturbed, disturbed], [quiet, quiet, disturbed]):
        (row,) = read_results(write_study(tmp_path, {1: turns}, {1: 100})).rows
        assert sum(row.slowest.values()) == pytest.approx(1.0) and row.slowest["other"] == pytest.approx(0.1)
        assert sum(row.mean.values()) == pytest.approx(row.seconds_per_step)
    assert row.slowest["potential"] == pytest.approx((0.8 + 0.8 + 0.4) / 3)


def test_no_result_at_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = report_of(write_study(tmp_path, {1: "killed"}, {1: 100}))
    assert any("no result: killed" in line for line in told) and not any("scaling.png" in line for line in told)
    assert not (tmp_path / "scaling.png").exists()
    assert main(["scale", "collect", str(tmp_path)]) == 2
    assert "no result: killed" in capsys.readouterr().out


def test_a_minimization_has_no_speed(tmp_path: Path) -> None:
    folder = write_study(tmp_path, {1: [turn(1.0)]}, {1: 100}, timestep=0.0)
    assert "—" in list(table_lines(read_results(folder)))[1]
    report_of(folder)
    assert json.loads((folder / "scaling.json").read_text())["rows"][0]["ns_per_day"] is None


def test_folders_that_are_no_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scale", "collect", str(tmp_path)]) == 2
    assert "holds no study.json" in capsys.readouterr().err
    write_study(tmp_path, {1: [turn(1.0)]}, {1: 100})
    (tmp_path / "ranks-1.json").write_text("{")
    with pytest.raises(InputError, match="damaged"):
        read_results(tmp_path)


@pytest.mark.parametrize("name", ["study.json", "ranks-1.json"])
def test_files_of_another_content_are_damaged(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """No table at all, and each entry in turn missing or of another type: one line that names the file, or the same."""
    path = write_study(tmp_path, {1: [turn(1.0)], 2: [turn(0.6)]}, {1: 100, 2: 100}) / name
    document = json.loads(path.read_text())
    wrong = [[], 3, None, "text", {}, *(document | {key: {"x": None}} for key in document)]
    wrong += [{other: document[other] for other in document if other != key} for key in document]
    for content in wrong:
        path.write_text(json.dumps(content))
        status, err = main(["scale", "collect", str(tmp_path)]), capsys.readouterr().err
        assert status in (0, 2) and err.count("\n") == (status == 2), content
        assert status == 0 or (str(path) in err and "damaged" in err)
        assert status == 2 or isinstance(content, dict) and content != {}
