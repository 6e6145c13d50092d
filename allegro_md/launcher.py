"""Variables of launchers and batch systems: ranks started, and those there could be.

Read without MPI: on many login nodes, and in the shell of an allocation, MPI may not be started.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from allegro_md.errors import InputError

# Variables in which launchers tell each process its rank, the number of ranks, and the number on its host.
_RANK = ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK", "SLURM_PROCID")
_SIZE = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS")
_SIZE_HERE = ("MPI_LOCALNRANKS", "OMPI_COMM_WORLD_LOCAL_SIZE")
_RANK_HERE = ("MPI_LOCALRANKID", "OMPI_COMM_WORLD_LOCAL_RANK", "SLURM_LOCALID")
_STARTED = ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK")  # set for a rank only, never for the shell of a job

# Variables in which batch systems tell how many ranks a job has asked for: Slurm, PBS, LSF.
_ASKED = {"SLURM_NTASKS": "Slurm", "PBS_NP": "PBS", "LSB_DJOB_NUMPROC": "LSF"}


MOST_RANKS = 1_000_000
"""That a run may have; a larger number is taken for a mistake."""


@dataclass(frozen=True)
class Ranks:
    """Number of ranks of a run.

    Attributes:
        total: on all hosts.
        here: on this host; 0: not known.
    """

    total: int
    here: int


def launcher_words(text: str, here: bool = True) -> list[str]:
    """Divides the command line of a launcher into words.

    Args:
        text: as the user gave it.
        here: it is called on this machine, so its program must be there.

    Raises:
        InputError: it cannot be divided, or its program is not to be found.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise InputError(f"cannot be read ({error})", f"--launcher {text}", "close the quotes") from None
    if here and (not words or shutil.which(words[0]) is None):
        program = words[0] if words else ""
        raise InputError(f"there is no program '{program}'", f"--launcher {text}", "name one that is installed")
    return words


def find_mpirun() -> str | None:
    """Finds the mpirun beside this Python (the wheel's), else the one on the path."""
    beside = Path(sys.executable).parent / "mpirun"
    return str(beside) if beside.exists() else shutil.which("mpirun")


def launcher_rank() -> int:
    """Returns this rank as the launcher tells it; 0 without a launcher that has started several.

    The shell of a job step has the variables of one of its ranks, and hands them on to what is started there.
    """
    if not is_rank_of_many():
        return 0
    return next(iter(_numbers(_RANK)), 0)


def rank_on_host() -> int:
    """Returns the number of this process on its host; 0 without a launcher."""
    return next(iter(_numbers(_RANK_HERE)), 0)


def ranks_started() -> Ranks:
    """Counts the ranks that the launcher has started; one without a launcher.

    In the shell of a batch job, where the batch system's variables are set, no rank has been started.
    """
    total = max(_numbers(_SIZE + _SIZE_HERE), default=1)
    here = 1 if total == 1 else next(iter(_numbers(_SIZE_HERE)), 0)
    if not here and os.environ.get("SLURM_STEP_NUM_NODES") == "1":
        here = total
    return Ranks(total, here)


def is_rank_of_many() -> bool:
    """Tells if this process is one of several ranks, as far as can be known: so MPI is needed.

    A launcher that does not tell the number of ranks may have started several.
    """
    if ranks_started().total > 1:
        return True
    return not _numbers(_SIZE) and any(name in os.environ for name in _STARTED)


def unused_ranks() -> str:
    """Says that a job has asked for several ranks where one was started; empty otherwise.

    One rank of several replicas or of a job with threads is meant sometimes: this is a note, not a fault.
    """
    asked = [(count, name) for name in _ASKED for count in _numbers((name,))]
    count, name = max(asked, default=(1, ""))
    if count <= 1 or is_rank_of_many():
        return ""
    start = f"srun -n {count} or mpirun -n {count}" if name == "SLURM_NTASKS" else f"mpirun -n {count}"
    return f"{_ASKED[name]} has allocated {count} tasks ({name}), but this run has one rank: start it with {start}"


def _numbers(names: tuple[str, ...]) -> list[int]:
    """Values of those variables that hold a number, in the order of `names`."""
    return [int(os.environ[name]) for name in names if os.environ.get(name, "").isdigit()]


def ranks_named(n: int) -> str:
    """The number with its noun."""
    return "1 rank" if n == 1 else f"{n} ranks"
