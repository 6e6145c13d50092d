"""One rank without MPI, and launchers that do not fit; several ranks are in tests/mpi/test_collective.py."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from allegro_md.comm import Comm, SendRecv
from allegro_md.errors import InputError
from allegro_md.exact import ExactSum


def test_serial_has_the_same_methods() -> None:
    comm = Comm.serial()
    assert (comm.rank, comm.size) == (0, 1)
    assert comm.allgather("x") == ["x"] and comm.bcast("y") == "y"
    assert comm.sum(np.array([3])).tolist() == [3] and comm.max(2.0) == 2.0 and not comm.any(False)
    rows, counts = comm.exchange(np.arange(6).reshape(3, 2), [3])
    assert rows.tolist() == [[0, 1], [2, 3], [4, 5]] and counts.tolist() == [3]
    recv_buffer = np.zeros(2)
    comm.send_receive([SendRecv(np.array([1.0, 2.0]), 0, recv_buffer, 0), SendRecv(recv_buffer, -1, recv_buffer, -1)])
    assert recv_buffer.tolist() == [1.0, 2.0]
    assert comm.reduce(ExactSum.of(np.array([0.5, 0.25]), "energy")).tolist() == [0.75]
    with pytest.raises(InputError, match="what"), comm.collective_errors():
        raise InputError("what")


def test_sum_does_not_alias() -> None:
    values = np.array([1])
    Comm.serial().sum(values)[0] = 5
    assert values[0] == 1


def python(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **variables}, capture_output=True, text=True, timeout=120
    )


def test_no_launcher_needs_no_mpi() -> None:
    """Without a launcher mpi4py is not even imported."""
    code = "import sys; sys.modules['mpi4py'] = None; from allegro_md.comm import Comm; print(Comm.world().size)"
    assert python(code).stdout == "1\n"


def test_copies_of_rank_zero_are_refused() -> None:
    """Started by another MPI's launcher, every process would run the whole simulation on the same files."""
    done = python("from allegro_md.comm import Comm; Comm.world()", OMPI_COMM_WORLD_SIZE="4", OMPI_COMM_WORLD_RANK="2")
    assert "InputError: MPI: the launcher started 4 ranks, but the MPI in use" in done.stderr


def test_missing_mpi_is_explained() -> None:
    code = "import sys; sys.modules['mpi4py'] = None; from allegro_md.comm import Comm; Comm.world()"
    done = python(code, OMPI_COMM_WORLD_SIZE="2", OMPI_COMM_WORLD_RANK="0")
    assert "MPI cannot be loaded" in done.stderr and "allegro-md[mpi]" in done.stderr


@pytest.mark.parallel
def test_uncaught_exception_ends_all_ranks(mpirun: Any) -> None:
    """A rank that fails alone takes the others with it; they wait for it in a collective."""
    code = (
        "from allegro_md.comm import Comm\n"
        "comm = Comm.world()\n"
        "if comm.rank == 1:\n    raise KeyError('lonely')\n"
        "comm.allgather(0)\n"
    )
    done = mpirun(2, ["-c", code], timeout=60, check=False)
    assert done.returncode != 0 and "KeyError: 'lonely'" in done.stderr
