"""What is read of the variables of launchers and batch systems, and that MPI stays out where it is not needed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from argon import ARGON

from allegro_md.cli import main
from allegro_md.launcher import Ranks, is_rank_of_many, launcher_rank, ranks_started, unused_ranks

# As they were seen: MPICH 5.0 (hydra), Slurm 22.05. Those of PBS and LSF are as their manuals have them.
HYDRA = {"PMI_RANK": "1", "PMI_SIZE": "2", "MPI_LOCALNRANKS": "2", "MPI_LOCALRANKID": "1"}
ALLOCATION = {"SLURM_NTASKS": "8", "SLURM_NPROCS": "8", "SLURM_JOB_ID": "4", "SLURM_NNODES": "1"}
BATCH = {**ALLOCATION, "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}
STEP = {**ALLOCATION, "SLURM_PROCID": "3", "SLURM_STEP_NUM_TASKS": "8", "SLURM_STEP_NUM_NODES": "2"}
INTERACTIVE_STEP = {**STEP, "SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1", "PMI_RANK": "0", "PMI_SIZE": "1"}
HYDRA_IN_SLURM = {**STEP, "SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "0", "PMI_RANK": "7", "PMI_SIZE": "8"}
OPEN_MPI = {"OMPI_COMM_WORLD_RANK": "5", "OMPI_COMM_WORLD_SIZE": "6", "OMPI_COMM_WORLD_LOCAL_SIZE": "3",
            "PMIX_RANK": "5"}

CASES = {
    "nothing": ({}, 0, Ranks(1, 1), False),
    "mpirun of MPICH": (HYDRA, 1, Ranks(2, 2), True),
    "mpirun of Open MPI": (OPEN_MPI, 5, Ranks(6, 3), True),
    "one rank of MPICH": ({**HYDRA, "PMI_RANK": "0", "PMI_SIZE": "1", "MPI_LOCALNRANKS": "1"}, 0, Ranks(1, 1), False),
    "shell of salloc": (ALLOCATION, 0, Ranks(1, 1), False),
    "shell of salloc in a step": (INTERACTIVE_STEP, 0, Ranks(1, 1), False),
    "rank inherited from the shell of a step": ({"SLURM_PROCID": "1"}, 0, Ranks(1, 1), False),
    "script of sbatch": (BATCH, 0, Ranks(1, 1), False),
    "srun": (STEP, 3, Ranks(8, 0), True),
    "srun on one host": ({**STEP, "SLURM_STEP_NUM_NODES": "1"}, 3, Ranks(8, 8), True),
    "mpirun within Slurm": (HYDRA_IN_SLURM, 7, Ranks(8, 0), True),
    "a launcher that does not tell the size": ({"PMIX_RANK": "2"}, 2, Ranks(1, 1), True),
    "one rank per host, total not told": ({"PMIX_RANK": "1", "MPI_LOCALNRANKS": "1"}, 1, Ranks(1, 1), True),
}


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in os.environ if n.startswith(("PMI", "OMPI_", "SLURM_", "MPI_LOCAL", "PBS_", "LSB_"))]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize("name", CASES)
def test_ranks(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    variables, rank, ranks, many = CASES[name]
    for key, value in variables.items():
        monkeypatch.setenv(key, value)
    assert (launcher_rank(), ranks_started(), is_rank_of_many()) == (rank, ranks, many)


def test_check_prints_in_the_shell_of_a_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It compares more ranks than this host has cores with no host's memory, and says that atoms per rank are few."""
    monkeypatch.setenv("SLURM_PROCID", "1")
    source = tmp_path / "argon.toml"
    source.write_text(ARGON.replace("[4, 4, 4]", "[20, 20, 20]"))
    assert main(["check", str(source), "--ranks", "4096"]) == 0
    out = capsys.readouterr().out
    assert "# memory available: not compared: 4096 ranks are more than the" in out
    assert "ghosts; messages take much of a step then: see allegro-md plan" in out


@pytest.mark.parametrize(("variables", "words"), [
    ({}, ""), (STEP, ""), ({"SLURM_NTASKS": "1"}, ""),
    (ALLOCATION, "Slurm has allocated 8 tasks (SLURM_NTASKS), but this run has one rank: start it with srun -n 8"),
    ({"PBS_NP": "4"}, "PBS has allocated 4 tasks (PBS_NP), but this run has one rank: start it with mpirun -n 4"),
    ({"LSB_DJOB_NUMPROC": "16"}, "LSF has allocated 16 tasks"),
])  # fmt: skip
def test_unused_ranks(variables: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in variables.items():
        monkeypatch.setenv(key, value)
    said = unused_ranks()
    assert words in said and bool(words) == bool(said)


NEVER = "import sys; sys.modules['mpi4py'] = None; from allegro_md.cli import main; sys.exit(main(sys.argv[1:]))"
"""The program on a machine where the import of mpi4py is a fault."""


@pytest.mark.parametrize(("arguments", "variables", "words"), [
    (["run", "--help"], HYDRA, "Run a simulation"),
    (["--version"], OPEN_MPI, "allegro-md"),
    (["check", "INPUT"], STEP, "(8 ranks)"),
    (["check", "INPUT", "--ranks", "64"], INTERACTIVE_STEP, "(64 ranks)"),
])  # fmt: skip
def test_mpi_is_never_started(arguments: list[str], variables: dict[str, str], words: str, root: Path) -> None:
    """Whatever variables there are. `info`, `plan` and `scale` take the way of `check`."""
    text = [str(root / "inputs" / "argon-lj.toml") if word == "INPUT" else word for word in arguments]
    first = {name: "0" if name.endswith(("RANK", "PROCID")) else value for name, value in variables.items()}
    done = subprocess.run([sys.executable, "-c", NEVER, *text], env={**os.environ, **first}, capture_output=True,
                          text=True, timeout=120)  # fmt: skip
    assert done.returncode == 0 and words in done.stdout, done.stderr
