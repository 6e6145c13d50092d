"""What every test may use: the larger reference data, and several MPI ranks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ranks import SINGLE_THREAD

os.environ.update(SINGLE_THREAD)  # before anything loads torch or numba

import pytest  # noqa: E402
from ranks import Launcher, MpiLaunch, MpiRun, RankServer  # noqa: E402

from allegro_md.launcher import find_mpirun  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of the larger reference sets: $ALLEGRO_MD_SHARED, else `../shared` beside the checkout."""
    folder = Path(os.environ.get("ALLEGRO_MD_SHARED", ROOT.parent / "shared"))
    if not (folder / "reference").is_dir():
        pytest.skip(f"no reference data at {folder} (set ALLEGRO_MD_SHARED)")
    return folder


@pytest.fixture(scope="session")
def mpi() -> Iterator[Launcher]:
    """Starts programs on ranks; most are forks of one process that has imported the package."""
    server = RankServer()
    yield Launcher(find_mpirun(), server)
    server.close()


@pytest.fixture(scope="session")
def mpi_launch(mpi: Launcher) -> MpiLaunch:
    """The running Popen of a Python command line on n ranks: `mpi_launch(2, ["-m", "allegro_md", …])`."""
    return mpi.launch


@pytest.fixture(scope="session")
def mpirun(mpi: Launcher) -> MpiRun:
    """The CompletedProcess of a Python command line on n ranks: `mpirun(4, ["-m", "allegro_md", "x.toml"])`."""
    return mpi.run
