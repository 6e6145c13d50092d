"""Job scripts of a study for Slurm: one job per number of ranks, so that none holds nodes it does not need."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from allegro_md.errors import InputError
from allegro_md.io.disk import write_whole
from allegro_md.launcher import ranks_named
from allegro_md.scaling.launching import ONE_THREAD
from allegro_md.scaling.sizes import Size
from allegro_md.scaling.study import Study

SUBMIT = "submit.sh"
"""Script that submits all jobs."""

PLUGINS = {"Open MPI": "pmix", "MPICH": "pmi2", "MVAPICH": "pmi2", "MVAPICH2": "pmi2", "Intel MPI": "pmi2"}
"""MPI, as mpi4py calls it → srun's ``--mpi`` for it."""

_VENDOR = "import mpi4py; mpi4py.rc.initialize = False; from mpi4py import MPI; print(MPI.get_vendor()[0])"

_JOB = """\
#!/bin/bash
#SBATCH --job-name={kind}-{ranks}
#SBATCH --ntasks={ranks}
#SBATCH --cpus-per-task=1
#SBATCH --hint=nomultithread
#SBATCH --exclusive
#SBATCH --time=01:00:00
#SBATCH --output={log}
# {atoms} atoms on {named}. One rank per core; nothing else runs on these nodes.
export {threads}
{command}
"""

_SUBMIT = """\
#!/bin/bash
# Submits the jobs of this study; options go to sbatch, for example: bash {name} --account=A --partition=P
set -e
cd {folder}
{jobs}
echo {ending}
"""


def srun() -> str:
    """The launcher in the scripts where none is given: ranks that find each other, each bound to a core.

    Raises:
        InputError: the MPI of this Python is missing, or not known to go with one of srun's plugins.
    """
    vendor = installed_mpi()
    if vendor not in PLUGINS:
        what = f"it is not known how srun starts {vendor}" if vendor else "mpi4py or its MPI is not installed"
        raise InputError(what, "--slurm", "name the launcher, for example --launcher \"srun --mpi=pmi2 -n {n}\"")
    return f"srun --mpi={PLUGINS[vendor]} --cpu-bind=cores -n {{n}}"


def installed_mpi() -> str:
    """Name of the MPI that mpi4py uses here; empty: there is none. MPI is not started."""
    done = subprocess.run([sys.executable, "-c", _VENDOR], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return done.stdout.strip() if done.returncode == 0 else ""


def write_scripts(study: Study, sizes: Sequence[Size]) -> list[str]:
    """Writes the scripts into the folder of the study, and returns lines about what to do with them.

    Raises:
        ResourceError: they cannot be written.
    """
    scripts = job_scripts(study, sizes)
    for name, text in scripts.items():
        write_whole(study.folder / name, text.encode())
    folder = shlex.quote(str(study.folder))
    return [
        f"{', '.join(scripts)} are in {folder}; look at time limit and nodes in them",
        f"submit them:                 bash {folder}/{SUBMIT}     (options for sbatch may follow)",
        f"when all jobs are done:      allegro-md scale collect {folder}",
    ]


def job_scripts(study: Study, sizes: Sequence[Size]) -> dict[str, str]:
    """The scripts of a study, text by file name; the jobs leave their results in the folder of the study.

    Args:
        study: its settings; the launcher stands in the scripts as it was given.
        sizes: one job each.
    """
    folder = shlex.quote(str(study.folder.absolute()))
    scripts = {}
    for size in sizes:
        words = [*study.launcher.words(size.ranks), sys.executable, *study.job(size, ask=False).words()]
        scripts[f"job-{size.ranks}.sh"] = _JOB.format(
            kind=study.kind, ranks=size.ranks, named=ranks_named(size.ranks), atoms=size.atoms,
            command=shlex.join(words), log=_for_sbatch(study.folder.absolute() / f"ranks-{size.ranks}.log"),
            threads=" ".join(f"{name}=1" for name in ONE_THREAD),
        )  # fmt: skip
    jobs = "\n".join(f'sbatch "$@" {name}' for name in scripts)
    ending = shlex.quote(f"when all jobs are done: allegro-md scale collect {folder}")
    return scripts | {SUBMIT: _SUBMIT.format(name=SUBMIT, folder=folder, jobs=jobs, ending=ending)}


def require_nameable(folder: Path) -> None:
    """Raises InputError where the options of a job script cannot name the folder; call it before it is made."""
    if any(c in '"\\' or not c.isprintable() for c in str(folder.absolute())):
        what = "has a character that job scripts cannot name (double quote, backslash, control character)"
        raise InputError(what, str(folder), "choose another folder: --out DIR")


def _for_sbatch(path: Path) -> str:
    """A path for an option in a script: sbatch removes quotes, and takes % for the beginning of a pattern."""
    return '"' + str(path).replace("%", "%%") + '"'
