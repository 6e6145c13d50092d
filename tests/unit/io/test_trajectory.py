"""What the reader of trajectories gives, against h5py, MDAnalysis and the states that were written."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

import allegro_md
from allegro_md.cell import Cell
from allegro_md.comm import Comm
from allegro_md.errors import InputError
from allegro_md.exact import FORCE_SCALE
from allegro_md.io.h5md import UNITS, TrajectoryWriter
from allegro_md.io.trajectory import read_trajectory
from allegro_md.reporting import Snapshot
from allegro_md.state import AtomState, SpeciesTable

ALL = ("position", "velocity", "force", "image")
TRICLINIC = np.array([[9.0, 0.0, 0.0], [4.0, 8.0, 0.0], [-3.0, 2.0, 10.0]])
N = 40
Periodic = tuple[bool, bool, bool]


def made(step: int, rows: Any = TRICLINIC, periodic: Periodic = (True, True, True)) -> tuple[Snapshot, dict[str, Any]]:
    """A state of some atoms in no order in a cell that breathes, and its arrays in id order."""
    random = np.random.default_rng(step)
    cell = Cell.from_rows(np.array(rows) * (1 + 0.001 * step), periodic)
    x, v = 30.0 * random.normal(size=(2, N, 3))
    f = random.integers(-(2**50), 2**50, (N, 3))
    ids = random.permutation(N)
    state = AtomState(cell, SpeciesTable(("H", "Cu"), np.array([1, 29]), np.array([2.014, 63.546])), N)
    state.set_local({
        "id": torch.from_numpy(ids), "species": torch.from_numpy((ids % 3 == 0).astype(np.int16)),
        "position": torch.from_numpy(x[ids]), "velocity": torch.from_numpy(v[ids]),
    })  # fmt: skip
    state.local("force")[:] = torch.from_numpy(f[ids])
    return Snapshot(step=step, time=0.5 * step, state=state, wall=0.0), {"x": x, "v": v, "f": f / FORCE_SCALE}


def write(directory: Path, steps: Any, fields: Any = ALL, dtype: str = "float64", **cell: Any) -> TrajectoryWriter:
    directory.mkdir(exist_ok=True)
    writer = TrajectoryWriter(directory, 1, fields, dtype, Comm.serial(), clock=lambda: 0.0)
    for step in steps:
        writer(made(step, **cell)[0])
    return writer


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trajectory of 40 frames with everything in it, in a triclinic cell."""
    folder = tmp_path_factory.mktemp("triclinic")
    write(folder, range(0, 80, 2)).close()
    return folder / "trajectory.h5"


def test_what_is_read_is_what_was_written(path: Path) -> None:
    with allegro_md.read_trajectory(path) as trajectory:
        assert (trajectory.n_frames, trajectory.n_atoms, len(trajectory)) == (40, N, 40)
        assert trajectory.steps.dtype == np.int64 and trajectory.steps.tolist() == list(range(0, 80, 2))
        assert np.array_equal(trajectory.times, 0.5 * trajectory.steps)
        heavy = np.arange(N) % 3 == 0
        assert np.array_equal(trajectory.species, np.where(heavy, 29, 1))
        assert trajectory.masses is not None and np.array_equal(trajectory.masses, np.where(heavy, 63.546, 2.014))
        assert trajectory.periodic == (True, True, True) and trajectory.fields == ALL
        frames = list(trajectory)
        assert [frame.step for frame in frames] == trajectory.steps.tolist()
        for frame in frames:
            _, expected = made(frame.step)
            assert frame.time == 0.5 * frame.step and len(frame) == N
            assert np.array_equal(frame.cell.matrix, TRICLINIC * (1 + 0.001 * frame.step))
            assert frame.cell.periodic == (True, True, True)
            np.testing.assert_allclose(frame.unwrapped, expected["x"], rtol=0, atol=1e-13 * 300)
            assert np.array_equal(frame.velocity, expected["v"]) and np.array_equal(frame.force, expected["f"])
            fraction = np.linalg.solve(frame.cell.matrix.T, frame.position.T)
            assert fraction.min() >= -1e-15 and fraction.max() < 1.0


def test_units_are_those_of_the_file(path: Path) -> None:
    with read_trajectory(path) as trajectory, h5py.File(path) as file:
        for field in UNITS:
            assert trajectory.units[field] == file[f"particles/all/{field}/value"].attrs["unit"]
        assert trajectory.units["time"] == file["particles/all/position/time"].attrs["unit"] == "fs"
        assert trajectory.units["cell"] == file["particles/all/box/edges/value"].attrs["unit"]
        assert file["particles/all/mass"].attrs["unit"] == "amu"


@pytest.mark.parametrize("chosen", [slice(None), slice(3, 30, 7), slice(-5, None), slice(None, None, -9), slice(9, 3)])
def test_slices_are_those_of_h5py(path: Path, chosen: slice) -> None:
    with read_trajectory(path) as trajectory, h5py.File(path) as file:
        stored = file["particles/all/position/value"][:][chosen]
        frames = trajectory[chosen]
        assert len(frames) == len(stored)
        assert all(np.array_equal(frame.position, one) for frame, one in zip(frames, stored, strict=True))
        halves = frames[::2]
        assert [frame.step for frame in halves] == file["particles/all/position/step"][:][chosen][::2].tolist()
        with pytest.raises(IndexError):
            trajectory[40]


def test_atoms_of_ranks_together_are_the_frame(path: Path) -> None:
    """To the bit, also what is computed of them; and parts of parts."""
    with read_trajectory(path) as trajectory:
        whole, bounds = trajectory[17], (0, 1, 14, 14, N)
        parts = [trajectory[17].atoms(a, b) for a, b in zip(bounds, bounds[1:], strict=False)]
        for name in ("position", "image", "unwrapped", "velocity", "force"):
            together = np.concatenate([getattr(part, name) for part in parts])
            assert together.tobytes() == getattr(whole, name).tobytes(), name
        assert np.array_equal(whole.atoms(5, 20).atoms(7, 9).position, whole.position[7:9])
        for first, last in ((-1, 3), (3, N + 1), (4, 3)):
            with pytest.raises(IndexError, match="holds 0 to 40"):
                whole.atoms(first, last)
        with pytest.raises(IndexError, match="holds 5 to 20"):
            whole.atoms(5, 20).atoms(0, 9)


def test_a_rank_without_atoms_reads_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """HDF5 refuses to read nothing of a dataset that lies in very many files."""
    with read_trajectory(path) as trajectory:
        whole, nothing = trajectory[-1], trajectory[-1].atoms(N, N)
        dtypes = whole.image.dtype, whole.velocity.dtype
        monkeypatch.delattr(h5py.Dataset, "__getitem__")
        assert nothing.position.shape == nothing.unwrapped.shape == nothing.image.shape == (0, 3)
        assert (nothing.image.dtype, nothing.velocity.dtype) == dtypes


def test_as_mdanalysis_reads_it(path: Path) -> None:
    mda = pytest.importorskip("MDAnalysis")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        universe = mda.Universe.empty(N, trajectory=False)
        universe.load_new(str(path), format="H5MD")
    with read_trajectory(path) as trajectory:
        assert universe.trajectory.n_frames == trajectory.n_frames
        for theirs, ours in zip(universe.trajectory, trajectory, strict=True):
            np.testing.assert_allclose(theirs.positions, ours.position, rtol=1e-6, atol=1e-6)
            np.testing.assert_allclose(theirs.velocities, ours.velocity * 1000.0, rtol=1e-6)  # Å/ps
            np.testing.assert_allclose(theirs.volume, ours.cell.volume, rtol=1e-5)
            assert theirs.time == pytest.approx(ours.time / 1000.0)  # ps


@pytest.mark.parametrize("periodic", [(False, False, False), (True, True, False)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_free_axes(tmp_path: Path, periodic: Periodic, dtype: str) -> None:
    rows = np.diag([9.0, 8.0, 0.0]) if any(periodic) else np.zeros((3, 3))
    write(tmp_path, range(3), dtype=dtype, rows=rows, periodic=periodic).close()
    with read_trajectory(tmp_path / "trajectory.h5") as trajectory:
        frame = trajectory[2]
        assert trajectory.periodic == frame.cell.periodic == periodic
        assert np.array_equal(frame.cell.given_rows, rows * 1.002) and not frame.cell.bounded
        assert frame.position.dtype == dtype and frame.unwrapped.dtype == np.float64
        np.testing.assert_allclose(frame.unwrapped, made(2)[1]["x"], atol=2e-5 if dtype == "float32" else 1e-12)


def test_fields_that_were_not_written_are_asked_for(tmp_path: Path) -> None:
    write(tmp_path / "a", range(2), ("position",)).close()
    with read_trajectory(tmp_path / "a" / "trajectory.h5") as trajectory:
        frame = trajectory[0]
        assert frame.position.shape == (N, 3)
        with pytest.raises(InputError, match=r'holds no image.*fields = \["position", "image"\]'):
            _ = frame.unwrapped
        with pytest.raises(InputError, match=r'holds no velocity.*fields = \["position", "velocity"\]'):
            _ = frame.velocity
        with pytest.raises(InputError, match=r'holds no force.*fields = \["position", "force"\]'):
            _ = frame.force
    free: dict[str, Any] = {"rows": np.zeros((3, 3)), "periodic": (False, False, False)}
    write(tmp_path / "b", range(2), ("position",), **free).close()
    with read_trajectory(tmp_path / "b" / "trajectory.h5") as trajectory:  # nothing is wrapped
        assert np.array_equal(trajectory[0].unwrapped, made(0)[1]["x"])


def test_while_the_run_continues_and_after_a_kill(tmp_path: Path) -> None:
    writer = write(tmp_path, range(30))
    with read_trajectory(tmp_path / "trajectory.h5") as early:
        shown = early.n_frames
        assert 1 <= shown < 30  # some wait in a segment that is not full
        for step in range(30, 60):
            writer(made(step)[0])
        writer.flush()
        state = writer.state_dict()
        assert early.n_frames == shown
        for frame in early:
            np.testing.assert_allclose(frame.unwrapped, made(frame.step)[1]["x"], atol=1e-11)
    del writer  # killed: nothing is closed
    with read_trajectory(tmp_path / "trajectory.h5") as killed:
        assert shown <= killed.n_frames <= 60 and killed.steps.tolist() == list(range(killed.n_frames))
    again = TrajectoryWriter(tmp_path, 1, ALL, "float64", Comm.serial(), clock=lambda: 0.0)
    again.load_state_dict(state)
    for step in range(60, 70):
        again(made(step)[0])
    again.close()
    with read_trajectory(tmp_path / "trajectory.h5") as whole:
        assert whole.steps.tolist() == list(range(70))
        for frame in whole:
            np.testing.assert_allclose(frame.unwrapped, made(frame.step)[1]["x"], atol=1e-11)


def test_a_trajectory_without_masses_is_read_and_continued(tmp_path: Path) -> None:
    """As earlier versions wrote them."""
    writer = write(tmp_path, range(5))
    writer.flush()
    state = writer.state_dict()
    with h5py.File(tmp_path / "trajectory" / "atoms.h5", "r+") as file:
        del file["mass"]
    again = TrajectoryWriter(tmp_path, 1, ALL, "float64", Comm.serial())
    again.load_state_dict(state)
    again.close()
    with read_trajectory(tmp_path / "trajectory.h5") as trajectory:
        assert trajectory.masses is None and trajectory.n_frames == 5


def test_a_missing_segment_is_named(tmp_path: Path) -> None:
    write(tmp_path, range(40)).close()
    first, *_ = sorted((tmp_path / "trajectory").glob("segment-*.h5"))
    first.unlink()
    with read_trajectory(tmp_path / "trajectory.h5") as trajectory:
        assert np.isfinite(trajectory[-1].position).all()
        for field in ("position", "image"):
            with pytest.raises(InputError, match=r"frame 0 is missing: .*segment-000000.h5 .*copy the folder"):
                getattr(trajectory[0], field)
    shutil.rmtree(tmp_path / "trajectory")
    with pytest.raises(InputError, match=r"folder trajectory/ is missing .* copy the folder"):
        read_trajectory(tmp_path / "trajectory.h5")


def test_a_closed_trajectory_says_so(path: Path) -> None:
    with read_trajectory(path) as trajectory:
        frame = trajectory[0]
        kept = frame.position
    assert frame.position is kept
    with pytest.raises(ValueError, match="has been closed"):
        _ = frame.velocity


def test_what_is_no_trajectory_of_ours_is_refused(tmp_path: Path, path: Path) -> None:
    with pytest.raises(InputError, match="no such file.*output.trajectory"):
        read_trajectory(tmp_path / "absent.h5")
    with pytest.raises(InputError, match="is a folder.*trajectory.h5"):
        read_trajectory(tmp_path)
    (tmp_path / "text.h5").write_text("step,time\n")
    with pytest.raises(InputError, match="not a readable HDF5 file"):
        read_trajectory(tmp_path / "text.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["position"] = np.zeros((3, 3))
    with pytest.raises(InputError, match="no H5MD trajectory"):
        read_trajectory(tmp_path / "other.h5")
    with h5py.File(tmp_path / "halmd.h5", "w") as file:
        file.create_group("h5md/creator").attrs["name"] = "HALMD"
        file["particles/all/position/value"] = np.zeros((2, 5, 3))
    with pytest.raises(InputError, match="HALMD wrote.*read it with MDAnalysis"):
        read_trajectory(tmp_path / "halmd.h5")
    shutil.copytree(path.parent, tmp_path / "copy")
    with h5py.File(tmp_path / "copy" / "trajectory.h5", "r+") as file:
        del file["particles/all/species"]
    with pytest.raises(InputError, match="damaged .*copy it again"):
        read_trajectory(tmp_path / "copy" / "trajectory.h5")


def test_written_by_mdanalysis_is_refused(tmp_path: Path) -> None:
    """Its units are its own, and so is its order of atoms."""
    mda = pytest.importorskip("MDAnalysis")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        universe = mda.Universe.empty(4, trajectory=True)
        with mda.Writer(str(tmp_path / "theirs.h5md"), n_atoms=4, convert_units=False) as writer:
            writer.write(universe)
    with pytest.raises(InputError, match="MDAnalysis wrote"):
        read_trajectory(tmp_path / "theirs.h5md")
