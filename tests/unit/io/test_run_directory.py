"""A run directory is never overwritten unasked, and never used by two runs."""

from __future__ import annotations

import fcntl
import json
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from allegro_md.comm import Comm
from allegro_md.errors import InputError
from allegro_md.io.run_directory import RunDirectory

SERIAL = Comm.serial()


def test_a_used_directory_is_refused_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "run"
    RunDirectory.check(path)
    with RunDirectory(path, SERIAL) as first:
        first.write_record({"status": "done"})
    assert sorted(p.name for p in path.iterdir()) == ["run.json"]
    for attempt in (RunDirectory.check, lambda p: RunDirectory(p, SERIAL)):
        with pytest.raises(InputError, match="exists already.*--resume.*--overwrite"):
            attempt(path)
    RunDirectory(path, SERIAL, resume=True).close()
    assert json.loads((path / "run.json").read_text()) == {"status": "done"}


def test_overwrite_removes_runs_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "trajectory").mkdir()
    for name in ("run.json", "thermo.csv", "trajectory.h5", "trajectory/segment-000000.h5", "checkpoint-10.h5"):
        (tmp_path / name).write_text('{"status": "done"}')
    mine = ("checkpoint-best.h5", "emergency-notes.h5", "my notes.txt", "my.part")
    for name in mine:
        (tmp_path / name).write_text("keep")
    (tmp_path / "trajectory.h5.part").write_text("cut off")
    RunDirectory(tmp_path, SERIAL, overwrite=True).close()
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(mine)


@pytest.mark.parametrize("options", [{"overwrite": True}, {"resume": True}])
@pytest.mark.parametrize(
    ("name", "text"),
    [("run.json", "mine"), ("run.json", "[1, 2]"), ("run.json", "{}"), (".lock", ""), (".lock", "a b")],
)
def test_a_file_of_the_same_name_makes_no_run(tmp_path: Path, name: str, text: str, options: Any) -> None:
    for other in (name, "thermo.csv", "observe"):
        (tmp_path / other).write_text(text)
    with pytest.raises(InputError, match="not the directory of a run"):
        RunDirectory(tmp_path, SERIAL, **options)
    assert (tmp_path / "thermo.csv").exists() and (tmp_path / "observe").exists()


@pytest.mark.parametrize("name", ["trajectory", "observe"])
def test_of_a_link_only_the_link_is_removed(tmp_path: Path, name: str) -> None:
    elsewhere, run = tmp_path / "elsewhere", tmp_path / "run"
    elsewhere.mkdir()
    (elsewhere / "large.h5").write_text("kept")
    with RunDirectory(run, SERIAL) as directory:
        directory.add_files(("trajectory", "thermo.csv"))
        directory.write_record({"status": "done"})
    (run / name).symlink_to(elsewhere)
    RunDirectory(run, SERIAL, overwrite=True).close()
    assert not list(run.iterdir()) and (elsewhere / "large.h5").exists()


def test_a_name_that_no_file_can_have(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be used as run directory: File name too long"):
        RunDirectory(tmp_path / ("x" * 300), SERIAL)


def finished_run(path: Path, files: tuple[str, ...] = ("rdf-*.csv", "thermo.csv", "observe/msd.csv")) -> None:
    """A run directory as a run with some observers leaves it, with two files of the user."""
    with RunDirectory(path, SERIAL) as directory:
        directory.add_files(files)
        directory.write_record({"status": "done"})
    (path / "observe").mkdir()
    for name in ("thermo.csv", "rdf-a.csv", "rdf-b.csv", "observe/msd.csv", "observe/msd.png", "rdf.txt", "mine.csv"):
        (path / name).write_text("old")


@pytest.mark.parametrize("options", [{"overwrite": True}, {"resume": True}])
def test_files_of_the_observers_of_the_earlier_run_are_removed(tmp_path: Path, options: Any) -> None:
    """Whatever observers the new run has: `--overwrite`, and `--resume` without a checkpoint."""
    finished_run(tmp_path)
    RunDirectory(tmp_path, SERIAL, **options).close()
    kept = {"mine.csv", "rdf.txt"} | ({"run.json"} if "resume" in options else set())
    assert {p.name for p in tmp_path.iterdir()} == kept


def test_a_continuation_lists_the_files_of_both_runs(tmp_path: Path) -> None:
    finished_run(tmp_path)
    (tmp_path / "checkpoint-3.h5").write_text("whole")
    with RunDirectory(tmp_path, SERIAL, resume=True) as directory:
        directory.add_files(["adf.csv", "thermo.csv"])
        directory.write_record({"status": "running"})
    listed = json.loads((tmp_path / "run.json").read_text())["observer_files"]
    assert listed == ["adf.csv", "observe/msd.csv", "rdf-*.csv", "thermo.csv"]


@pytest.mark.parametrize("pattern", ["../*", "/etc/passwd", "a/../../b", "", "."])
def test_nothing_outside_is_listed_or_removed(tmp_path: Path, pattern: str) -> None:
    run = tmp_path / "run"
    (tmp_path / "precious.csv").write_text("keep")
    with RunDirectory(run, SERIAL) as directory, pytest.raises(ValueError, match="not a file within"):
        directory.add_files([pattern])
    (run / "run.json").write_text(json.dumps({"status": "done", "observer_files": [pattern, "mine.csv"]}))
    (run / "mine.csv").write_text("old")
    RunDirectory(run, SERIAL, overwrite=True).close()
    assert [p.name for p in tmp_path.iterdir()].count("precious.csv") == 1 and not list(run.iterdir())


@pytest.mark.parametrize("pattern", ["*", "**", "*.csv", "?ine.csv", "[a-z]*", "**/*.csv", "*/rdf.csv", "./*"])
def test_patterns_that_fit_files_of_the_user_are_refused(tmp_path: Path, pattern: str) -> None:
    """They are not listed, and not removed where a record lists them."""
    with RunDirectory(tmp_path, SERIAL) as directory:
        with pytest.raises(ValueError, match="would fit files that the run did not write: begin it with a name"):
            directory.add_files(["rdf-*.csv", pattern])
        directory.write_record({"status": "running"})
        assert json.loads((tmp_path / "run.json").read_text()) == {"status": "running"}
        directory.add_files(["rdf-*.csv", "folder/*"])
    (tmp_path / "run.json").write_text(json.dumps({"status": "done", "observer_files": [pattern, "rdf-*.csv"]}))
    for name in ("mine.csv", "mine/rdf.csv", "rdf-a.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("data")
    RunDirectory(tmp_path, SERIAL, overwrite=True).close()
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["mine", "mine.csv", "rdf.csv"]


@pytest.mark.parametrize("record", ['{"status": "done"}', '{"status": "done", "observer_files": 3}'])
def test_records_that_list_nothing_are_of_earlier_versions(tmp_path: Path, record: str) -> None:
    for name in ("thermo.csv", "uncertain.extxyz", "mine.csv"):
        (tmp_path / name).write_text("old")
    (tmp_path / "run.json").write_text(record)
    RunDirectory(tmp_path, SERIAL, overwrite=True).close()
    assert [p.name for p in tmp_path.iterdir()] == ["mine.csv"]


@pytest.mark.parametrize("options", [{"overwrite": True}, {"resume": True}])
@pytest.mark.parametrize("name", ["thermo.csv", "trajectory", "observe"])
def test_a_folder_that_was_never_a_run_is_left_alone(tmp_path: Path, name: str, options: Any) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / "mine.txt").write_text("keep")
    for attempt in (RunDirectory.check, lambda p, **o: RunDirectory(p, SERIAL, **o)):
        with pytest.raises(InputError, match=f"holds {name}.*not the directory of a run"):
            attempt(tmp_path, **options)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([name, "mine.txt"])


def test_a_run_killed_before_its_run_json_may_be_replaced(tmp_path: Path) -> None:
    for name in ("log.txt", "thermo.csv"):
        (tmp_path / name).write_text("")
    RunDirectory(tmp_path, SERIAL, overwrite=True).close()
    assert not list(tmp_path.iterdir())
    (tmp_path / "trajectory").mkdir()
    (tmp_path / ".lock").write_text("1234 node-7\n")
    RunDirectory(tmp_path, SERIAL, overwrite=True).close()
    assert not list(tmp_path.iterdir())


def test_resume_without_a_checkpoint_starts_from_the_beginning(tmp_path: Path) -> None:
    for name in ("run.json", "log.txt", "thermo.csv", "trajectory.h5", "trajectory.h5.part", "mine.txt"):
        (tmp_path / name).write_text('{"status": "running"}')
    (tmp_path / "trajectory").mkdir()
    (tmp_path / "checkpoint-5.h5").write_text("whole")
    before = sorted(p.name for p in tmp_path.iterdir())
    RunDirectory(tmp_path, SERIAL, resume=True).close()
    assert sorted(p.name for p in tmp_path.iterdir()) == before
    (tmp_path / "checkpoint-5.h5").unlink()
    RunDirectory(tmp_path, SERIAL, resume=True).close()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["log.txt", "mine.txt", "run.json"]


def test_an_empty_directory_is_as_good_as_none(tmp_path: Path) -> None:
    RunDirectory(tmp_path, SERIAL).close()


def test_unusable_paths_are_input_errors(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match="file"):
            RunDirectory(path, SERIAL)


HOLD = textwrap.dedent(
    """
    import sys, time
    from pathlib import Path
    from allegro_md.comm import Comm
    from allegro_md.io.run_directory import RunDirectory
    RunDirectory(Path(sys.argv[1]), Comm.serial())
    print("locked", flush=True)
    time.sleep(60)
    """
)


def test_locked_while_another_process_lives(tmp_path: Path, root: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], cwd=root, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None and child.stdout.readline() == "locked\n"
    choices: list[dict[str, Any]] = [{"resume": True}, {"overwrite": True}, {}]
    for options in choices:
        with pytest.raises(InputError, match=f"in use by process {child.pid} "):
            RunDirectory(tmp_path, SERIAL, **options)
    child.send_signal(signal.SIGKILL)
    child.wait()
    RunDirectory(tmp_path, SERIAL, resume=True).close()  # what a killed run leaves does not lock


def test_without_file_locks_the_holder_is_looked_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(fd: Any, how: Any) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    mine = RunDirectory(tmp_path, SERIAL)
    with pytest.raises(InputError, match="in use"):
        RunDirectory(tmp_path, SERIAL, resume=True)
    mine.close()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (tmp_path / ".lock").write_text(f"{ended.pid} {socket.gethostname()}\n")
    RunDirectory(tmp_path, SERIAL, resume=True).close()
    (tmp_path / ".lock").write_text("1 another-host\n")
    with pytest.raises(InputError, match="process 1 on another-host.*remove"):
        RunDirectory(tmp_path, SERIAL, resume=True)
