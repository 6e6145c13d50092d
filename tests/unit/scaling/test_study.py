"""Sizes of a study, launchers, job scripts, and what the command line refuses."""

from __future__ import annotations

import json
import math
import os
import shlex
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from argon import ARGON

from allegro_md.cli import main
from allegro_md.comm import Comm
from allegro_md.compilation import COMPILE
from allegro_md.config import load_input
from allegro_md.domain.decomposition import factors
from allegro_md.errors import InputError
from allegro_md.scaling.launching import Launcher, StudyProcess
from allegro_md.scaling.measure import Job, Timing, measure
from allegro_md.scaling.sizes import Kind, copies
from allegro_md.scaling.slurm import SUBMIT, job_scripts, srun, write_scripts
from allegro_md.scaling.study import Study
from allegro_md.scaling.turns import described

TIMING = Timing(steps=50, warmup=10, turns=3, with_output=False)


@pytest.fixture
def argon(tmp_path: Path) -> Path:
    path = tmp_path / "argon.toml"
    path.write_text(ARGON.replace("[potential]", "repeat = [1, 2, 1]\n[potential]"))
    return path


def study(argon: Path, kind: Kind, ranks: tuple[int, ...], *assignments: str, launcher: str = "srun -n {n}") -> Study:
    folder = argon.parent / "study"
    return Study(kind, argon, assignments, ranks, Launcher(launcher, here=False), TIMING, folder)


@pytest.mark.parametrize("n", [1, 2, 6, 8, 30, 64, 97])
def test_copies_make_the_most_cubic_box(n: int) -> None:
    """Against all products that make n, by their longest over shortest edge."""
    heights = np.array([10.0, 14.0, 31.0])
    best = min(max(heights * t) / min(heights * t) for t in map(np.array, factors(n)))
    chosen = copies(n, heights, (True, True, True))
    assert math.prod(chosen) == n
    edges = heights * np.array(chosen)
    assert max(edges) / min(edges) == pytest.approx(best if n > 1 else 3.1)


def test_copies_along_periodic_axes_only() -> None:
    assert copies(8, np.array([10.0, 10.0, 5.0]), (True, True, False)) in ((2, 4, 1), (4, 2, 1))
    with pytest.raises(InputError, match="use allegro-md scale strong"):
        copies(2, np.ones(3), (False, False, False))


def test_factors_of_a_number() -> None:
    assert set(factors(4)) == {(1, 1, 4), (1, 4, 1), (4, 1, 1), (1, 2, 2), (2, 1, 2), (2, 2, 1)}


def test_atoms_per_rank_stay_the_same(argon: Path) -> None:
    """The input holds 4 x 8 x 4 cells of 4 atoms; twice that is 8 x 8 x 4 or 4 x 8 x 8."""
    found = study(argon, "weak", (1, 2, 8)).prepare(overwrite=False)
    assert [size.atoms for size in found] == [512, 1024, 4096]
    for size in found:
        config = load_input(argon, size.assignments)
        assert config.system.crystal is not None
        repeats = np.array(config.system.repeat) * config.system.crystal.repeat
        assert 4 * math.prod(repeats) == size.atoms
    assert sorted(np.array(load_input(argon, found[1].assignments).system.repeat) * 4) == [4, 8, 8]


def test_a_grid_for_another_number_of_ranks_is_left_out(argon: Path) -> None:
    found = study(argon, "strong", (1, 2, 4), "parallel.grid=[2, 1, 1]").prepare(overwrite=False)
    assert [size.assignments for size in found] == [('parallel.grid="auto"',), (), ('parallel.grid="auto"',)]
    assert [size.atoms for size in found] == [512, 512, 512]


def test_an_earlier_study_is_replaced_only_if_asked(argon: Path) -> None:
    one = study(argon, "strong", (1,))
    one.prepare(overwrite=False)
    one.result(1).write_text("{}")
    with pytest.raises(InputError, match="holds a study already"):
        one.prepare(overwrite=False)
    one.prepare(overwrite=True)
    assert not one.result(1).exists()
    (one.folder / "study.json").unlink()
    (one.folder / "thesis.txt").touch()
    with pytest.raises(InputError, match="not the folder of a study"):
        one.prepare(overwrite=True)


def test_the_order_of_a_process_is_read_as_it_was_given() -> None:
    job = Job(Path("/a b/in.toml"), Path("/r.json"), 3, ("system.repeat=[1, 1, 2]", "x.y=z"), TIMING, True)
    assert Job.parse(job.words()[2:]) == job


@pytest.mark.parametrize(
    ("text", "words"),
    [("srun -n {n} --label", ["srun", "-n", "4", "--label"]), ("mpirun -np={n}", ["mpirun", "-np=4"])],
)
def test_words_of_a_launcher(text: str, words: list[str]) -> None:
    assert Launcher(text, here=False).words(4) == words


def test_steps_of_srun_need_room_for_each_other() -> None:
    assert not Launcher("srun -n {n}", here=False).alternates
    assert Launcher("srun --overlap -n {n}", here=False).alternates
    assert Launcher("mpirun -n {n}", here=False).alternates


def test_a_process_that_fails_says_why(tmp_path: Path) -> None:
    fails = "import sys; print('noise'); print('allegro-md: it is too hot', file=sys.stderr); sys.exit(4)"
    with StudyProcess([sys.executable, "-c", fails], tmp_path / "log") as process:
        assert not process.wait()
        assert process.fault == "it is too hot" and process.lacked_memory
    with StudyProcess([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"], tmp_path / "log") as process:
        assert not process.wait()
        assert "killed" in process.fault and process.lacked_memory
    with StudyProcess([sys.executable, "-c", "1 / 0"], tmp_path / "log") as process:
        assert not process.wait()
        assert "status 1: ZeroDivisionError" in process.fault and not process.lacked_memory


def test_a_launcher_that_starts_another_number_of_ranks_fails(argon: Path) -> None:
    """One that starts a single rank whatever it is told: 1 rank is measured, 2 are not."""
    launcher = argon.parent / "launch"
    launcher.write_text('#!/bin/sh\nshift\nexec "$@"\n')
    launcher.chmod(0o755)
    words = ["--launcher", f"{launcher} {{n}}", "--steps", "1", "--warmup", "1", "--repeats", "1"]
    folder = argon.parent / "study"
    assert main(["scale", "strong", str(argon), "--ranks", "1,2", "--out", str(folder), *words]) == 0
    document = json.loads((folder / "scaling.json").read_text())
    assert [row["ranks"] for row in document["rows"]] == [1] and [row["ranks"] for row in document["failed"]] == [2]
    assert "it starts 1 rank, not 2" in document["failed"][0]["reason"]


def test_turns_of_a_process(tmp_path: Path) -> None:
    """It is asked as often as it has turns, and ends when nobody asks any more."""
    ready = "print('allegro-md: ready', flush=True)"
    answers = f"import sys\n{ready}\nfor _ in sys.stdin: {ready}"
    with StudyProcess([sys.executable, "-c", answers], tmp_path / "log") as process:
        assert process.wait() and process.turn() and process.turn()


def test_job_scripts(argon: Path) -> None:
    whole = study(argon, "weak", (1, 8), launcher="srun --mpi=pmi2 -n {n}")
    scripts = job_scripts(whole, whole.prepare(overwrite=False))
    assert set(scripts) == {"job-1.sh", "job-8.sh", SUBMIT}
    for text in scripts.values():
        subprocess.run(["bash", "-n"], input=text, text=True, check=True)  # its grammar
    lines = scripts["job-8.sh"].splitlines()
    assert "#SBATCH --ntasks=8" in lines
    words = shlex.split(lines[-1])
    assert words[:4] == ["srun", "--mpi=pmi2", "-n", "8"]
    job = Job.parse(words[words.index("allegro_md.scaling.measure") + 1 :])
    assert job.timing == TIMING and not job.ask and job.result == whole.result(8).absolute()
    assert load_input(job.source, job.assignments).system.repeat != (1, 2, 1)
    assert 'sbatch "$@" job-8.sh' in scripts[SUBMIT]


def test_job_scripts_in_a_folder_with_any_name(argon: Path) -> None:
    """Run by bash with an sbatch that only writes down how it was called."""
    folder = argon.parent / "ünï cødé 'q $HOME 100%j # x"
    whole = Study("strong", argon, (), (1,), Launcher("srun -n {n}", here=False), TIMING, folder)
    write_scripts(whole, whole.prepare(overwrite=False))
    (argon.parent / "sbatch").write_text("#!/bin/sh\npwd\necho $*\n")
    (argon.parent / "sbatch").chmod(0o755)
    path = {"PATH": f"{argon.parent}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", folder / SUBMIT], env=path, capture_output=True, text=True, check=True)
    where, job, ending = done.stdout.splitlines()
    assert (where, job) == (str(folder), "job-1.sh")
    assert shlex.split(ending.split(": ")[1]) == ["allegro-md", "scale", "collect", str(folder)]
    lines = (folder / "job-1.sh").read_text().splitlines()
    (output,) = [line.removeprefix("#SBATCH ") for line in lines if "--output" in line]
    assert shlex.split(output) == [f"--output={folder}/ranks-1.log".replace("%", "%%")]
    assert any("512 atoms on 1 rank." in line for line in lines)


@pytest.mark.parametrize("character", ['"', "\\", "\n"])
def test_folders_that_job_scripts_cannot_name_are_refused(
    argon: Path, capsys: pytest.CaptureFixture[str], character: str
) -> None:
    folder = argon.parent / f"a{character}b"
    words = ["--launcher", "srun -n {n}", "--slurm", "--out", str(folder)]
    assert main(["scale", "strong", str(argon), *words]) == 2
    assert "job scripts cannot name" in capsys.readouterr().err
    assert not folder.exists()


@pytest.mark.parametrize(("vendor", "plugin"), [("MPICH", "pmi2"), ("Intel MPI", "pmi2"), ("Open MPI", "pmix")])
def test_srun_fits_the_installed_mpi(monkeypatch: pytest.MonkeyPatch, vendor: str, plugin: str) -> None:
    """The plugins are those of each MPI's manual; ranks are bound to cores."""
    monkeypatch.setattr("allegro_md.scaling.slurm.installed_mpi", lambda: vendor)
    assert srun() == f"srun --mpi={plugin} --cpu-bind=cores -n {{n}}"


def test_srun_of_an_unknown_mpi_is_not_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    for vendor in ("", "Platform MPI"):
        monkeypatch.setattr("allegro_md.scaling.slurm.installed_mpi", lambda vendor=vendor: vendor)
        with pytest.raises(InputError, match="name the launcher"):
            srun()


def test_memory_that_includes_compiling_is_noted(argon: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a watch that has seen a kernel compiled, and with one that has not."""
    for seconds, noted in ((1.0, True), (0.0, False)):

        def watch(active: bool, seconds: float = seconds) -> Any:
            return nullcontext(SimpleNamespace(timers=SimpleNamespace(seconds={COMPILE: seconds})))

        monkeypatch.setattr("allegro_md.scaling.measure.CompilationWatch", watch)
        result = argon.parent / "r.json"
        timing = Timing(steps=1, warmup=1, turns=1, with_output=False)
        measure(Job(argon, result, 1, (), timing, ask=False), Comm.serial())
        notes = json.loads(result.read_text())["notes"]
        assert any("kernels were compiled on 1 rank" in note for note in notes) == noted


def test_a_turn_is_described_by_its_slowest_rank() -> None:
    """By hand: the second rank computes 3 of 4 s, the first one 1 and waits."""
    ranks = [
        {"seconds": 4.0, "cpu": 4.0, "phases": {"potential": 1.0, "wait": 3.0}},
        {"seconds": 4.2, "cpu": 2.1, "phases": {"potential": 3.0, "halo": 1.0}},
    ]
    turn = described(ranks, steps=10, rebuilds=2)
    assert turn["seconds_per_step"] == pytest.approx(0.42) and turn["cpu_share"] == 0.5
    assert turn["imbalance"] == pytest.approx(1.5)
    assert turn["slowest"] == pytest.approx({"potential": 0.3, "halo": 0.1, "wait": 0.0})
    assert turn["mean"] == pytest.approx({"potential": 0.2, "halo": 0.05, "wait": 0.15})


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["sideways", "argon.toml"], "choose strong, weak, collect"),
        (["strong", "nothing.toml"], "no such input file"),
        (["strong", "argon.toml", "--ranks", "1,two"], "--ranks"),
        (["strong", "argon.toml", "--ranks", "1,x"], "'x' is not a number of ranks"),
        (["strong", "argon.toml", "--ranks", "1,1"], "1 is given twice"),
        (["strong", "argon.toml", "--ranks", "0,2"], "no study on 0 ranks"),
        (["strong", "argon.toml", "--ranks", "1,1000001"], "1000001 ranks are too many"),
        (["strong", "argon.toml", "--ranks", "9" * 5000], "ranks are too many"),
        (["strong", "argon.toml", "--ranks", ""], "--ranks: is empty"),
        (["strong", "argon.toml", "--no-such"], "see allegro-md scale --help"),
        (["strong", "argon.toml", "--set", "parallel.balance=1.2"], "{ threshold = 1.2 }"),
        (["collect", ".", "--steps", "3"], "does not apply to collect"),
        (["strong", "argon.toml", "--launcher", "mpirun"], "write {n}"),
        (["strong", "argon.toml", "--launcher", "no-such-launcher -n {n}"], "no program 'no-such-launcher'"),
        (["strong", "argon.toml", "--set", "dynamics.timestep=-1"], "dynamics.timestep"),
        (["weak", "argon.toml", "--set", "system.periodic=[false, false, false]"], "scale strong"),
        (["strong", "argon.toml", "--out", "argon.toml"], "is a file"),
        (["strong", "argon.toml", "--set", "replicas.count=2"], "study one of them"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_what_is_refused(
    argon: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    monkeypatch.chdir(argon.parent)
    launcher = [] if "--launcher" in words else ["--launcher", f"{sys.executable} {{n}}"]
    assert main(["scale", *words, *launcher]) == 2
    err = capsys.readouterr().err
    assert told in err and err.count("\n") == 1
    assert sorted(path.name for path in argon.parent.iterdir()) == ["argon.toml"]
