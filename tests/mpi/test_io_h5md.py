"""The trajectory is the same, bit for bit, whoever holds which atom; a fault of one rank ends all."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from ranks import MpiRun

pytestmark = pytest.mark.parallel

PROGRAM = textwrap.dedent(
    """
    import json, os, resource, sys
    from pathlib import Path
    import numpy as np, torch
    from allegro_md.cell import Cell
    from allegro_md.comm import Comm
    from allegro_md.errors import AllegroError
    from allegro_md.io.h5md import TrajectoryWriter
    from allegro_md.reporting import Snapshot
    from allegro_md.state import AtomState, SpeciesTable

    top, first, last, mode = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    comm = Comm.world()

    def snapshot(step, n):
        cell = Cell.from_rows(np.array([[9.0, 0, 0], [4, 8, 0], [-3, 2, 10]]) * (1 + 0.001 * step), (True, True, False))
        random = np.random.default_rng(step)
        x, v = 20.0 * random.normal(size=(2, n, 3))
        f = random.integers(-(2**50), 2**50, (n, 3))
        order = random.permutation(n)
        owner = random.integers(0, comm.size, n)
        owner[owner == 1] = 0  # a rank without atoms
        ids = order[owner == comm.rank]
        state = AtomState(cell, SpeciesTable(("H", "Cu"), np.array([1, 29]), np.array([1.0, 63.5])), n)
        state.set_local({"id": torch.from_numpy(ids), "species": torch.from_numpy((ids % 3 == 0).astype(np.int16)),
                         "position": torch.from_numpy(x[ids]), "velocity": torch.from_numpy(v[ids])})
        state.local("force")[:] = torch.from_numpy(f[ids])
        return Snapshot(step=step, time=0.5 * step, state=state, wall=0.0)

    if mode == "full" and comm.rank == comm.size - 1:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
    for n in map(int, sys.argv[5:]):
        directory = top / str(n)
        writer = TrajectoryWriter(directory, 1, ("position", "velocity", "force", "image"), "float64", comm)
        if mode == "continue":
            writer.load_state_dict(json.loads((directory / "state.json").read_text()))
        try:
            for step in range(first, last):
                writer(snapshot(step, n))
        except AllegroError as error:
            print(type(error).__name__, flush=True)
            writer.close()
            sys.exit(error.exit_status)
        if mode == "stop":  # a checkpoint, then more, then an end without warning
            writer.flush()
            if comm.rank == 0:
                (directory / "state.json").write_text(json.dumps(writer.state_dict()))
            for step in range(last, last + 9):
                writer(snapshot(step, n))
            comm.allgather(None)
            os._exit(0)
        writer.close()
    """
)


def content(path: Path) -> Any:
    """Every dataset of a file."""
    found = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    found.pop("parameters/segment_frames")  # a continuation begins a new segment
    return found


@pytest.fixture(scope="module")
def write(tmp_path_factory: pytest.TempPathFactory, mpirun: MpiRun) -> Any:
    """Runs the program in a folder of its own, for each number of atoms; returns the trajectories' paths."""
    top = tmp_path_factory.mktemp("h5md")
    script = top / "write.py"
    script.write_text(PROGRAM)

    def run(ranks: int, folder: Path, sizes: Any, first: Any, last: Any, mode: str = "", **options: Any) -> Any:
        for n in sizes:
            (top / folder / str(n)).mkdir(parents=True, exist_ok=True)
        line = [script, top / folder, first, last, mode, *sizes]
        done = mpirun(ranks, line, timeout=120, **options)
        return [top / folder / str(n) / "trajectory.h5" for n in sizes], done

    return run


@pytest.fixture(scope="module")
def alone(write: Any) -> Any:
    """What one rank writes: 200 atoms, and 2."""
    return [content(path) for path in write(1, "alone", (200, 2), 0, 40)[0]]


def same(found: Any, expected: Any) -> None:
    assert found.keys() == expected.keys()
    for name in expected:
        assert np.array_equal(found[name], expected[name], equal_nan=name.startswith("observables")), name


def test_one_rank_writes_the_state(alone: Any) -> None:
    for frames, n in zip(alone, (200, 2), strict=True):
        assert frames["particles/all/position/value"].shape == (40, n, 3)
        x = 20.0 * np.random.default_rng(24).normal(size=(2, n, 3))[0]
        h = frames["particles/all/box/edges/value"][24]
        back = frames["particles/all/position/value"][24] + frames["particles/all/image/value"][24] @ h
        assert np.allclose(back, x, atol=1e-12)


@pytest.mark.parametrize("ranks", [2, 3])
def test_any_number_of_ranks_writes_the_same(write: Any, alone: Any, ranks: int) -> None:
    for path, expected in zip(write(ranks, f"on {ranks}", (200, 2), 0, 40)[0], alone, strict=True):
        same(content(path), expected)


def test_continued_on_another_number_of_ranks(write: Any, alone: Any) -> None:
    """Ended without warning 9 frames after a checkpoint."""
    write(3, "broken", (200,), 0, 20, "stop", fresh=True)
    (path,), _ = write(2, "broken", (200,), 19, 40, "continue")
    same(content(path), alone[0])


def test_full_disk_of_one_rank_ends_all(write: Any) -> None:
    """Rank 0 may write, the last rank may not: all end with status 4, and what was complete is readable."""
    (path,), done = write(3, "full", (5000,), 0, 40, "full", check=False)
    assert done.returncode == 4, done.stderr
    assert done.stdout.count("DiskFullError") == 3
    frames = content(path)["particles/all/position/value"]
    assert 1 <= len(frames) < 40 and np.isfinite(frames).all()
