"""A checkpoint written on some ranks is read, bit for bit, on any other number."""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np
import pytest
from ranks import MpiRun

from allegro_md.comm import Comm
from allegro_md.io.checkpoint import read_checkpoint

pytestmark = pytest.mark.parallel

PROGRAM = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    import numpy as np, torch
    from allegro_md.cell import Cell
    from allegro_md.comm import Comm
    from allegro_md.io import checkpoint, id_partition
    from allegro_md.state import AtomState, SpeciesTable

    checkpoint.BLOCK, id_partition.PIECE = 64, 128  # several per rank
    comm, mode = Comm.world(), sys.argv[2]
    for n in (1000, 2):
        directory = Path(sys.argv[1]) / str(n)
        x, v = np.random.default_rng(n).normal(size=(2, n, 3))
        if mode == "write":
            ids = np.random.default_rng(1).permutation(n)
            ids = ids[np.random.default_rng(2).integers(0, comm.size, n) == comm.rank]
            state = AtomState(Cell(np.eye(3) * 9), SpeciesTable(("Cu",), np.array([29]), np.array([63.5])), n)
            state.set_local({"id": torch.from_numpy(ids), "species": torch.zeros(len(ids), dtype=torch.int16),
                             "position": torch.from_numpy(x[ids]), "velocity": torch.from_numpy(v[ids])})
            try:
                extras = {"reporters": {"msd": {"rows of this rank": x[ids]}}}
                checkpoint.write_checkpoint(directory, 7, state, comm, extras, 2)
            except TypeError as fault:
                assert len(set(comm.allgather(str(fault)))) == 1 and "observer 'msd'" in str(fault)
            assert not list(directory.iterdir())
            checkpoint.write_checkpoint(directory, 7, state, comm, {"ranks": "any"}, 2)
        else:
            found = checkpoint.latest_checkpoint(directory, comm)
            ids = found.slab["id"]
            assert np.array_equal(found.slab["position"], x[ids]) and np.array_equal(found.slab["velocity"], v[ids])
            assert np.array_equal(np.concatenate(comm.allgather(ids)), np.arange(n))
            assert found.extras == {"ranks": "any"}
            assert len(ids) <= -(-n // comm.size) + checkpoint.BLOCK  # a share, not the whole
            if comm.rank == 0:
                print("read on", comm.size)
    """
)


def test_any_number_of_ranks(tmp_path: Path, mpirun: MpiRun, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    for n in (1000, 2):
        (tmp_path / str(n)).mkdir()
    mpirun(3, [script, tmp_path, "write"])
    done = mpirun(2, [script, tmp_path, "read"])
    assert done.stdout.count("read on 2") == 2
    monkeypatch.setattr("allegro_md.io.checkpoint.BLOCK", 64)
    for n in (1000, 2):
        slab = read_checkpoint(tmp_path / str(n) / "checkpoint-7.h5", Comm.serial()).slab
        assert np.array_equal(slab["id"], np.arange(n))
        assert np.array_equal(slab["position"], np.random.default_rng(n).normal(size=(2, n, 3))[0])
