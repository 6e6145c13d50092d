"""Files on a full disk, and in wrong places: one message, and nothing half-written."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any, NoReturn

import pytest
from studies import turn, write_study

from allegro_md.cli import main
from allegro_md.cli.document import write_document
from allegro_md.cli.loading import continued_by_resume
from allegro_md.errors import DiskFullError, InputError, ResourceError
from allegro_md.io.disk import write_json, write_whole
from allegro_md.scaling.study import make_folder


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is found to be full when content is to be there for good."""

    def fsync(fd: Any) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)


@pytest.mark.usefixtures("full")
def test_nothing_stays_on_a_full_disk(tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text("old")
    for path in (tmp_path / "old.json", tmp_path / "new.json"):
        for write in (write_json, lambda path, document: write_document(document, path)):
            with pytest.raises(DiskFullError, match="No space left on device — free disk space or raise the quota$"):
                write(path, {"a": 1})
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("old.json", "old")]


def test_only_what_can_be_continued_says_so() -> None:
    with pytest.raises(ResourceError, match="quota, then --resume$") as caught, continued_by_resume():
        raise DiskFullError("cannot write a: full — free disk space or raise the quota")
    assert caught.value.exit_status == 4


def test_a_wrong_place_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file" / "x", tmp_path / "folder"):
        with pytest.raises(InputError, match="cannot be written"):
            write_whole(path, b"")
    with pytest.raises(InputError, match="Not a directory.*choose another place"):
        make_folder(tmp_path / "file" / "study", overwrite=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_documents_go_into_pipes(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_document({"a": 1}, tmp_path / "pipe")
    assert json.loads(os.read(reader, 100)) == {"a": 1}
    os.close(reader)


@pytest.mark.usefixtures("full")
def test_results_of_a_study_are_printed_before_they_are_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_study(tmp_path, {1: [turn(1.0)]}, {1: 100})
    before = sorted(tmp_path.iterdir())
    assert main(["scale", "collect", str(tmp_path)]) == 4
    told = capsys.readouterr()
    assert "advice: " in told.out
    assert told.err.count("\n") == 1 and "--resume" not in told.err
    assert sorted(tmp_path.iterdir()) == before


def test_a_study_that_was_killed_at_once_can_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "study.json.part").touch()
    with pytest.raises(InputError, match="holds a study already"):
        make_folder(tmp_path, overwrite=False)
    make_folder(tmp_path, overwrite=True)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("words", [["plan", "--ranks", "2", "--json"], ["plan", "--ranks", "2", "--plot"],
                                   ["tune", "--out"], ["verify", "--json"], ["report", "--out"]])  # fmt: skip
def test_names_of_folders_are_no_files(tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert main([words[0], "in.toml", *words[1:], f"{tmp_path}/p.png/"]) == 2
    assert "is the name of a folder" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())
