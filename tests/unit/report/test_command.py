"""``allegro-md report``: the file, refusals in one line, and the server that follows a run."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from pages import Page
from watching import get, served

from allegro_md.cli import main

CopyRun = Callable[..., Path]


def files(directory: Path) -> dict[str, tuple[int, bytes]]:
    return {str(p): (p.stat().st_mtime_ns, p.read_bytes()) for p in sorted(directory.rglob("*")) if p.is_file()}


def test_writes_one_file_and_touches_no_other(copy_run: CopyRun, capsys: pytest.CaptureFixture[str]) -> None:
    directory = copy_run(status="running")
    (directory / ".lock").write_text(f"{os.getpid()} {socket.gethostname()}\n")
    before = files(directory)
    assert main(["report", str(directory)]) == 0
    page = directory / "report.html"
    assert capsys.readouterr().out == f"report written to {page}\n"
    assert Page(page.read_text()).faults == []
    page.unlink()
    assert files(directory) == before


def test_another_file(finished: Path, tmp_path: Path) -> None:
    assert main(["report", str(finished), "--out", str(tmp_path / "page.html")]) == 0
    assert not (finished / "report.html").exists()
    assert Page((tmp_path / "page.html").read_text()).faults == []


def test_ranks_other_than_the_first_do_nothing(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PMI_RANK", "1")
    assert main(["report", str(finished), "--out", str(tmp_path / "page.html")]) == 0
    assert not (tmp_path / "page.html").exists()


def test_overwriting_a_run_removes_its_report(copy_run: CopyRun, finished: Path) -> None:
    directory = copy_run()
    (directory / "report.html").write_text("of the old run")
    words = ["run", str(finished.parent / "argon.toml"), "--overwrite"]
    words += ["--set", f"output.directory={directory}", "--set", "dynamics.steps=2"]
    assert main(words) == 0
    assert not (directory / "report.html").exists()


def damaged(directory: Path) -> None:
    (directory / "run.json").write_text('{"status": "done", ')


def without_ranks(directory: Path) -> None:
    record = json.loads((directory / "run.json").read_text())
    (directory / "run.json").write_text(json.dumps(record | {"ranks": [{"host": 1}]}))


def not_a_record(directory: Path) -> None:
    (directory / "run.json").write_text("[1, 2]")


def without_record(directory: Path) -> None:
    (directory / "run.json").unlink()


def of_a_training(directory: Path) -> None:
    (directory / "run.json").unlink()
    (directory / "train.json").write_text('{"status": "done"}')


def empty(directory: Path) -> None:
    shutil.rmtree(directory)
    directory.mkdir()


def gone(directory: Path) -> None:
    shutil.rmtree(directory)


def a_file(directory: Path) -> None:
    shutil.rmtree(directory)
    directory.write_text("")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (damaged, "run.json: damaged ("),
        (without_ranks, "run.json: damaged (entry ranks.0.host"),
        (not_a_record, "run.json: damaged ("),
        (without_record, "the run ended before it wrote one"),
        (of_a_training, "is the directory of a training, which has a report of its own"),
        (empty, "not a run directory"),
        (gone, "no such folder"),
        (a_file, "is a file"),
    ],
)
@pytest.mark.parametrize("options", [[], ["--watch"]])
def test_refusals(
    copy_run: CopyRun, change: Callable[[Path], None], expected: str, options: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    directory = copy_run()
    change(directory)
    assert main(["report", str(directory), *options]) == 2
    complaint = capsys.readouterr().err
    assert complaint.count("\n") == 1 and expected in complaint and str(directory) in complaint
    assert not directory.is_dir() or not list(directory.glob("report*"))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--watch", "--out", "x.html"], "--watch and --out exclude each other"),
        (["--port", "8080"], "--port belongs to --watch"),
        (["--out", "/no/such/folder/x.html"], "no such folder"),
        (["--out", "/"], "is the name of a folder"),
        (["--watch", "--port", "0"], "'--port'"),
    ],
)
def test_refused_options(
    finished: Path, options: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(finished), *options]) == 2
    complaint = capsys.readouterr().err
    assert complaint.count("\n") == 1 and expected in complaint


def test_port_in_use(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert main(["report", str(finished), "--watch", "--port", str(port)]) == 2
    complaint = capsys.readouterr().err
    assert complaint.count("\n") == 1 and f"port {port} cannot be used: Address already in use" in complaint


def listening(process: int, port: int) -> list[str]:
    """Addresses, as the system writes them, on which a port is open."""
    lines = [line.split() for line in Path(f"/proc/{process}/net/tcp").read_text().splitlines()[1:]]
    found = [words[1].split(":") for words in lines if words[3] == "0A"]  # in the state LISTEN
    return [host for host, number in found if int(number, 16) == port]


def test_watch(copy_run: CopyRun) -> None:
    directory = copy_run(status="running")
    (directory / ".lock").write_text(f"{os.getpid()} {socket.gethostname()}\n")
    with served(directory) as (address, server):
        first, version = get(address), get(f"{address}/version")
        assert Page(first).faults == []
        assert "keepLive(" in first and f'"{version}"' in first
        assert "Still running" in Page(first).sections["head"].text
        assert listening(server.pid, int(address.rsplit(":", 1)[1])) == ["0100007F"]  # 127.0.0.1: no other host
        with pytest.raises(urllib.error.HTTPError):
            get(f"{address}/run.json")
        with pytest.raises(urllib.error.HTTPError):  # a page of another site, whose name leads to this machine
            urllib.request.urlopen(urllib.request.Request(address, headers={"Host": "elsewhere.org:80"}), timeout=30.0)
        rows = (directory / "thermo.csv").read_text().splitlines()
        with (directory / "thermo.csv").open("a") as file:
            file.write(",".join(["202", "808.0", *rows[-1].split(",")[2:]]) + "\n")
        (directory / ".lock").unlink()
        deadline = time.monotonic() + 60.0
        while get(f"{address}/version") == version and time.monotonic() < deadline:
            time.sleep(0.2)
        second = Page(get(address))
        assert "from all 102 rows" in second.sections["thermo"].text.lower()
        assert "Killed after 202 of 200 steps" in second.sections["head"].text
        (directory / "run.json").write_text("{")  # no page can be made of it; the server lives
        time.sleep(0.1)
        while "damaged" not in get(address) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert "damaged" in get(address)
        server.send_signal(signal.SIGINT)
        _, complaint = server.communicate(timeout=30.0)
        assert server.returncode == 130
        assert complaint == "allegro-md: interrupted\n"
    assert not (directory / "report.html").exists()
