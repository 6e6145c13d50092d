"""The program: subcommands, one message and one exit status on every rank, no traceback for what can be expected."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from argon import ARGON

from allegro_md.cli import main
from allegro_md.cli.program import COMMANDS, UNBUILT
from allegro_md.config import Input, load_input
from allegro_md.errors import InterruptedRun, PhysicsError, ResourceError

MpiRun = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def argon(tmp_path: Path) -> Path:
    path = tmp_path / "argon.toml"
    path.write_text(ARGON)
    return path


def fake_simulation(monkeypatch: pytest.MonkeyPatch, run: Callable[[], None]) -> dict[str, object]:
    """Puts a stand-in in the place of the simulation and returns what it is built from."""
    seen: dict[str, object] = {}

    class Simulation:
        @staticmethod
        def from_config(config: Input, comm: object, resume: bool, overwrite: bool) -> SimpleNamespace:
            seen.update(config=config, resume=resume, overwrite=overwrite)
            return SimpleNamespace(run=run)

    module = ModuleType("allegro_md.simulation")
    module.Simulation = Simulation  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "allegro_md.simulation", module)
    return seen


@pytest.mark.parametrize("words", [[], ["run"]])
def test_run_is_the_default(monkeypatch: pytest.MonkeyPatch, argon: Path, words: list[str]) -> None:
    seen = fake_simulation(monkeypatch, lambda: None)
    overrides = ["--set", "dynamics.steps=3", "--set", "dynamics.timestep=1 fs"]
    assert main([*words, str(argon), *overrides, "--overwrite"]) == 0
    assert isinstance(seen["config"], Input)
    assert (seen["config"].dynamics.steps, seen["config"].dynamics.length_of_step) == (3, 1.0)
    assert (seen["resume"], seen["overwrite"]) == (False, True)


def raising(error: BaseException) -> Callable[[], None]:
    def run() -> None:
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (PhysicsError("atom 7\nis lost"), 3), (ResourceError("disk full"), 4), (MemoryError(), 4),
        (InterruptedRun("stopped"), 130),
    ],
)
def test_exit_status_and_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], argon: Path, error: Exception, status: int
) -> None:
    fake_simulation(monkeypatch, raising(error))
    assert main([str(argon)]) == status
    out, err = capsys.readouterr()
    assert out == f"reading {argon}\n" and "Traceback" not in err
    assert err.startswith("allegro-md: ") and err.count("\n") == 1


def test_interrupt_from_the_keyboard(monkeypatch: pytest.MonkeyPatch, argon: Path) -> None:
    fake_simulation(monkeypatch, raising(KeyboardInterrupt()))
    assert main([str(argon)]) == 130


def test_a_fault_of_the_program_shows_its_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], argon: Path
) -> None:
    fake_simulation(monkeypatch, raising(ZeroDivisionError("deep inside")))
    with pytest.raises(SystemExit) as ended:
        main([str(argon)])
    assert ended.value.code == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("command", UNBUILT)
def test_what_is_not_built_says_so(capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert main([command, "argon.toml"]) == 2
    err = capsys.readouterr().err
    assert f"'{command}' is not yet available" in err and err.count("\n") == 1
    assert main(["--help"]) == 0
    assert f" {command} " not in capsys.readouterr().out


@pytest.mark.parametrize("command", [[], *([c] for c in COMMANDS)])
def test_every_help_has_an_example(capsys: pytest.CaptureFixture[str], command: list[str]) -> None:
    assert main([*command, "--help"]) == 0
    assert "Example: " in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("allegro-md 0.")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run"], ["INPUT.toml"]),
        (["argon.toml", "--sett", "a=1"], ["--sett"]),
        (["argon.toml", "extra.toml"], ["extra.toml"]),
        (["argon.toml", "--set"], ["--set"]),
        (["chek"], ["chek", "no such input file"]),
        (["import", "somewhere"], ["OUT.allegro"]),
        (["argon.toml", "--resume", "--overwrite"], ["--resume", "--overwrite"]),
        (["argon.toml", "--set", "parallel.grid=[2, 1, 1]"], ["parallel.grid", "mpirun -n 2"]),
        (["argon.toml", "--set", "dynamics.timestep=-1"], ["argon.toml", "dynamics.timestep", "positive"]),
    ],
    ids=lambda a: " ".join(a)[:40],
)
def test_wrong_command_lines(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    argon: Path,
    arguments: list[str],
    words: list[str],
) -> None:
    monkeypatch.chdir(argon.parent)
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out in ("", "reading argon.toml\n") and err.count("\n") == 1 and all(word in err for word in words)


def test_check_prints_an_input_and_the_plan(capsys: pytest.CaptureFixture[str], argon: Path) -> None:
    assert main(["check", str(argon), "--set", "parallel.grid=[1, 1, 2]", "--set", "dynamics.steps=7"]) == 0
    out = capsys.readouterr().out
    resolved = argon.parent / "resolved.toml"
    resolved.write_text(out)
    assert load_input(resolved) == load_input(argon, ["parallel.grid=[1, 1, 2]", "dynamics.steps=7"])
    assert "# atoms: 256\n" in out and "1 x 1 x 2" in out and "memory per rank" in out and "disk" in out
    assert sorted(p.name for p in argon.parent.iterdir()) == ["argon.toml", "resolved.toml"]


def test_import_and_info(capsys: pytest.CaptureFixture[str], shared: Path, tmp_path: Path) -> None:
    out = tmp_path / "cu.allegro"
    assert main(["import", str(shared / "reference" / "cu"), str(out)]) == 0
    assert main(["info", str(out)]) == 0
    text = capsys.readouterr().out
    assert "Cu" in text and "4.5 Å" in text
    out.write_bytes(out.read_bytes()[:1000])
    assert main(["info", str(out)]) == 2
    assert main(["info", str(tmp_path / "none.allegro")]) == 2
    assert main(["import", str(tmp_path), str(out)]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == err.count("allegro-md: ") == 3


# --- the real program ---------------------------------------------------------------------------------------------

def test_bad_input_is_refused_before_torch_is_loaded(argon: Path) -> None:
    code = (
        "import sys; from allegro_md.cli import main; status = main([sys.argv[1], '--set', 'dynamics.steps=-1']);"
        "print(status, [m for m in ('torch', 'h5py', 'ase') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, argon], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "2 []"


FAULT = """
import sys
from types import ModuleType, SimpleNamespace
from allegro_md.cli import main
from allegro_md.errors import PhysicsError

def run(comm):
    if sys.argv[2] == "physics":
        with comm.collective_errors():
            if comm.rank == 1:
                raise PhysicsError("atom 7 is lost")
    if sys.argv[2] == "alone" and comm.rank == 1:
        raise ZeroDivisionError("on one rank only")
    if sys.argv[2] == "all":
        raise ZeroDivisionError("on all ranks")
    comm.allgather(None)

module = ModuleType("allegro_md.simulation")
module.Simulation = SimpleNamespace(
    from_config=lambda config, comm, resume, overwrite: SimpleNamespace(run=lambda: run(comm))
)
sys.modules["allegro_md.simulation"] = module
sys.exit(main([sys.argv[1]]))
"""


@pytest.mark.parallel
@pytest.mark.parametrize(
    ("fault", "status", "once"), [("physics", 3, "atom 7 is lost"), ("alone", 1, "Traceback"), ("all", 1, "Traceback")]
)
def test_all_ranks_end_together(
    mpirun: MpiRun, argon: Path, fault: str, status: int, once: str
) -> None:
    script = argon.parent / "fault.py"
    script.write_text(FAULT)
    done = mpirun(2, [script, argon, fault], check=False, timeout=20)
    assert done.returncode == status
    assert done.stderr.count(once) == 1


@pytest.mark.parallel
def test_help_is_printed_once(mpirun: MpiRun) -> None:
    assert mpirun(2, ["-m", "allegro_md", "--help"]).stdout.count("Example: ") == 1


@pytest.mark.parametrize("rank", [0, 1])
def test_a_launcher_of_another_mpi_is_refused(argon: Path, rank: int) -> None:
    """Processes that each take themselves for the only rank: all end with status 2, the launcher's first one prints."""
    environment = {**os.environ, "OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": str(rank)}
    command = [sys.executable, "-m", "allegro_md", str(argon)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.count("allegro-md: ") == (1 if rank == 0 else 0)
    assert "mpirun" in done.stderr or rank > 0


def test_all_faults_are_shown_a_line_each(argon: Path, capsys: pytest.CaptureFixture[str]) -> None:
    faults = ["dynamics.steps=-1", "potential.cutof=3", "output.thermo.every=x"]
    assert main([str(argon), *(word for fault in faults for word in ("--set", fault))]) == 2
    shown = capsys.readouterr()
    lines = shown.err.splitlines()
    assert all(line.startswith("allegro-md: ") for line in lines) and shown.out == f"reading {argon}\n"
    for key in ("dynamics.steps", "potential.cutof", "thermo.every"):
        assert sum(key in line for line in lines) == 1


def test_all_assignments_that_are_none_are_shown(argon: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(argon), "--set", "steps", "--set", "=3"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 2


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_in_the_first_second_ends_with_130(argon: Path, kind: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-m", "allegro_md", str(argon)], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == f"reading {argon}\n"
        process.send_signal(kind)
        errors = process.communicate(timeout=60)[1]
    assert process.returncode == 130 and errors.strip().startswith("allegro-md: interrupted")
    assert "Traceback" not in errors and not (argon.parent / "run").exists()
