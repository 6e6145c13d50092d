"""The trajectory as others read it: h5py and MDAnalysis, while it grows, after a kill, on a full disk, continued."""

from __future__ import annotations

import resource
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from ase import Atoms
from ase.geometry import cell_to_cellpar

from allegro_md.comm import Comm
from allegro_md.config import output
from allegro_md.errors import InputError, PhysicsError, ResourceError
from allegro_md.exact import FORCE_SCALE
from allegro_md.io import h5md, segments
from allegro_md.io.h5md import TrajectoryWriter
from allegro_md.state import FIELDS

ALL = ("position", "velocity", "force", "image")
TRICLINIC = np.array([[9.0, 0.0, 0.0], [4.0, 8.0, 0.0], [-3.0, 2.0, 10.0]])
SERIAL = Comm.serial()

# What the program below writes, so that a test can make the same state anew.
MAKER = '''
import numpy as np, torch
from allegro_md.cell import Cell
from allegro_md.comm import Comm
from allegro_md.reporting import Snapshot, Thermo
from allegro_md.state import AtomState, SpeciesTable

def snapshot(step, n, rows, comm, periodic=(True, True, True)):
    """Some atoms in no order, differently spread over the ranks at each step; a cell that breathes."""
    cell = Cell.from_rows(np.array(rows) * (1 + 0.001 * step), periodic)
    table = SpeciesTable(("H", "Cu"), np.array([1, 29]), np.array([1.008, 63.546]))
    random = np.random.default_rng(step)
    x, v = 20.0 * random.normal(size=(2, n, 3))
    f = random.integers(-(2**50), 2**50, (n, 3))
    order = random.permutation(n)
    ids = order[random.integers(0, comm.size, n) == comm.rank]
    state = AtomState(cell, table, n)
    state.set_local({
        "id": torch.from_numpy(ids), "species": torch.from_numpy((ids % 3 == 0).astype(np.int16)),
        "position": torch.from_numpy(x[ids]), "velocity": torch.from_numpy(v[ids]),
    })
    state.local("force")[:] = torch.from_numpy(f[ids])
    thermo = Thermo(-1.0 * step, 2.0, 3.0, 4.0, 300.0 + step, 5.0, cell.volume, np.arange(6.0))
    return Snapshot(step=step, time=0.5 * step, state=state, wall=0.0, thermo=thermo), x, v, f
'''
MADE: dict[str, Any] = {}
exec(MAKER, MADE)  # one source for this process and its children
snapshot: Any = MADE["snapshot"]


class Clock:
    """Seconds that pass when told to."""

    now = 0.0

    def __call__(self) -> Any:
        return self.now


def write(
    directory: Path, steps: Any, *, n: int = 50, dtype: str = "float32", fields: Any = ALL, rows: Any = TRICLINIC,
    writer: Any = None, **options: Any,
) -> Any:  # fmt: skip
    writer = writer or TrajectoryWriter(directory, 1, fields, dtype, SERIAL, clock=lambda: 0.0)
    for step in steps:
        writer(snapshot(step, n, rows, SERIAL, **options)[0])
    return writer


def test_the_input_knows_the_fields_there_are() -> None:
    """It has a list of its own since it is read before torch is loaded."""
    of_the_state = [name for name, field in FIELDS.items() if field.trajectory and name not in ("id", "species")]
    assert list(h5md.UNITS) == [*of_the_state, "image"] == list(output.FIELDS)


def universe(path: Path) -> Any:
    mda = pytest.importorskip("MDAnalysis")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        u = mda.Universe.empty(h5py.File(path, "r")["particles/all/id"].shape[0], trajectory=False)
        u.load_new(str(path), format="H5MD")
    return u


def check(path: Path, steps: Any, *, n: int = 50, dtype: str = "float32", rows: Any = TRICLINIC) -> None:
    """Every frame against the state it came from."""
    tolerance = 2e-5 if dtype == "float32" else 1e-12
    with h5py.File(path, "r") as file:
        atoms = file["particles/all"]
        assert np.array_equal(atoms["id"][:], np.arange(n))
        assert np.array_equal(atoms["species"][:], np.where(np.arange(n) % 3 == 0, 29, 1))
        assert atoms["position/step"][:].tolist() == list(steps)
        whole = atoms["position/value"][()]  # HDF5 takes another way than frame by frame
        assert all(np.array_equal(whole[k], atoms["position/value"][k]) for k in range(len(whole)))
        for k, step in enumerate(steps):
            _, x, v, f = snapshot(step, n, rows, SERIAL)
            h = atoms["box/edges/value"][k]
            assert np.array_equal(h, np.array(rows) * (1 + 0.001 * step))
            wrapped, image = atoms["position/value"][k].astype(float), atoms["image/value"][k]
            assert np.allclose(wrapped + image @ h, x, atol=tolerance)
            fraction = np.linalg.solve(h.T, wrapped.T).T
            assert fraction.min() >= -1e-15 and fraction.max() < 1
            assert np.array_equal(atoms["velocity/value"][k], v.astype(dtype))
            assert np.array_equal(atoms["force/value"][k], (f / FORCE_SCALE).astype(dtype))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_round_trip(tmp_path: Path, dtype: str) -> None:
    write(tmp_path, range(40), dtype=dtype).close()
    check(tmp_path / "trajectory.h5", range(40), dtype=dtype)
    with h5py.File(tmp_path / "trajectory.h5") as file:  # H5MD 1.1, as its specification names things
        assert file["h5md"].attrs["version"].tolist() == [1, 1]
        assert file["h5md/author"].attrs["name"] and file["h5md/creator"].attrs["name"] == "allegro-md"
        atoms = file["particles/all"]
        assert atoms["box"].attrs["dimension"] == 3
        assert list(atoms["box"].attrs["boundary"]) == ["periodic"] * 3
        units = {"position": "Angstrom", "velocity": "Angstrom fs-1", "force": "eV Angstrom-1"}
        for name, unit in units.items():
            assert atoms[name]["value"].attrs["unit"] == unit and atoms[name]["time"].attrs["unit"] == "fs"
            assert atoms[name]["value"].dtype == dtype
        assert np.allclose(file["observables/temperature/value"][:], 300 + np.arange(40))
        assert file["observables/potential_energy/value"].attrs["unit"] == "eV"


def test_the_manual_names_every_dataset(tmp_path: Path, root: Path) -> None:
    """So that a reader who compares two files knows of each entry what it is."""
    write(tmp_path, range(3)).close()
    rows = (line for line in (root / "docs" / "trajectory.md").read_text().splitlines() if line.startswith("| `"))
    named = {line.split("`")[1] for line in rows}
    found: list[str] = []
    with h5py.File(tmp_path / "trajectory.h5") as file:
        file.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
    by_one_row = ("observables/", "particles/MDAnalysis/")
    assert "parameters/segment_frames" in found
    for name in found:
        assert name in named or name.startswith(by_one_row) or name.endswith(("/step", "/time")), name


def test_directory_may_move_and_segments_are_few(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    write(tmp_path / "a", range(40)).close()
    assert not list((tmp_path / "a").rglob("*.part"))
    assert 2 <= len(list((tmp_path / "a" / "trajectory").glob("segment-*.h5"))) <= 3
    shutil.move(tmp_path / "a", tmp_path / "b")
    check(tmp_path / "b" / "trajectory.h5", range(40))


@pytest.mark.parametrize("fields", [("position",), ("position", "velocity"), ALL])
def test_mdanalysis(tmp_path: Path, fields: Any) -> None:
    write(tmp_path, range(20), fields=fields).close()
    u = universe(tmp_path / "trajectory.h5")
    assert u.trajectory.n_frames == 20
    for k, ts in enumerate(u.trajectory):
        h = TRICLINIC * (1 + 0.001 * k)
        assert np.allclose(ts.dimensions, cell_to_cellpar(h), rtol=1e-5)
        assert ts.time == pytest.approx(0.5 * k / 1000)  # MDAnalysis counts in ps
        _, x, v, _ = snapshot(k, 50, TRICLINIC, SERIAL)
        expected = Atoms(positions=x, cell=h, pbc=True).get_positions(wrap=True, eps=0)
        assert np.allclose(ts.positions, expected, atol=1e-4)
        if "velocity" in fields:
            assert np.allclose(ts.velocities, v * 1000, rtol=1e-5)
        assert ts.data["temperature"] == 300 + k


def test_readable_while_it_grows_and_published_frames_never_change(tmp_path: Path) -> None:
    clock = Clock()
    writer = TrajectoryWriter(tmp_path, 1, ALL, "float32", SERIAL, clock=clock)
    write(tmp_path, [0], writer=writer)
    check(tmp_path / "trajectory.h5", range(1))  # the first at once
    seen: dict[Path, bytes] = {}
    reader = h5py.File(tmp_path / "trajectory.h5", "r")  # keeps the index file of now open
    for step in range(1, 60):
        clock.now += 0.3
        write(tmp_path, [step], writer=writer)
        for path in (tmp_path / "trajectory").glob("segment-*.h5"):
            assert seen.setdefault(path, path.read_bytes()) == path.read_bytes()
        if step % 10 == 0:
            with h5py.File(tmp_path / "trajectory.h5") as file:
                shown = file["particles/all/position/value"].shape[0]
            assert step - 8 <= shown <= step + 1
            check(tmp_path / "trajectory.h5", range(shown))
            assert universe(tmp_path / "trajectory.h5").trajectory.n_frames == shown
    assert reader["particles/all/position/value"].shape[0] == 1
    assert np.isfinite(reader["particles/all/position/value"][:]).all()
    writer.close()
    check(tmp_path / "trajectory.h5", range(60))
    assert len(seen) < 25


def test_files_stay_few_however_long_the_run() -> None:
    """Less than the usual 1,024 open files after a month of any output rate: HDF5 opens all segments at once."""
    for frame_bytes in (1_000, 10**7):
        for rate in (1e-3, 1.0, 1e3):
            elapsed, index = 0.0, 0
            while elapsed < 30 * 86400:
                interval = h5md.FIRST_INTERVAL * 2 ** (index / segments.DOUBLING)
                frames = min(segments.capacity(index, frame_bytes, 4), max(1.0, np.ceil(interval * rate)))
                elapsed, index = elapsed + frames / rate, index + 1
            assert index < 900


@pytest.mark.parametrize("free", [(False, False, False), (True, True, False)])
def test_free_boundaries(tmp_path: Path, free: Any) -> None:
    rows = np.zeros((3, 3)) if not any(free) else np.diag([9.0, 8.0, 30.0])
    write(tmp_path, range(3), rows=rows, periodic=free).close()
    x = snapshot(2, 50, rows, SERIAL, periodic=free)[1]
    with h5py.File(tmp_path / "trajectory.h5") as file:
        box = file["particles/all/box"]
        assert list(box.attrs["boundary"]) == ["periodic" if p else "none" for p in free]
        assert ("edges" in box) == any(free)
        image = file["particles/all/image/value"][2]
        assert not image[:, ~np.array(free)].any()
        if not any(free):
            assert np.allclose(file["particles/all/position/value"][2], x, atol=1e-5)
    u = universe(tmp_path / "trajectory.h5")
    assert (u.trajectory[2].dimensions is None) == (not any(free))


@pytest.mark.parametrize("periodic", [(True, True, False), (True, False, False)])
def test_free_axes_without_a_cell_vector(tmp_path: Path, periodic: Any) -> None:
    """The vector is written as zero and its axis as free; MDAnalysis reads the positions and takes no box for given."""
    rows = TRICLINIC * np.array(periodic)[:, None]
    write(tmp_path, range(3), rows=rows, periodic=periodic).close()
    x = snapshot(2, 50, rows, SERIAL, periodic=periodic)[1]
    with h5py.File(tmp_path / "trajectory.h5") as file:
        atoms = file["particles/all"]
        assert list(atoms["box"].attrs["boundary"]) == ["periodic" if p else "none" for p in periodic]
        h = atoms["box/edges/value"][2]
        assert np.array_equal(h, rows * 1.002)
        image = atoms["image/value"][2]
        assert not image[:, ~np.array(periodic)].any() and image[:, np.array(periodic)].any()
    frame = universe(tmp_path / "trajectory.h5").trajectory[2]
    assert frame.dimensions is None
    assert np.allclose(frame.positions + image @ h, x, atol=2e-5)


def test_one_atom(tmp_path: Path) -> None:
    write(tmp_path, range(3), n=1).close()
    check(tmp_path / "trajectory.h5", range(3), n=1)


def test_lost_and_doubled_atoms_are_named(tmp_path: Path) -> None:
    writer = TrajectoryWriter(tmp_path, 1, ("position",), "float32", SERIAL)
    snap = snapshot(0, 50, TRICLINIC, SERIAL)[0]
    snap.state.local("id")[3] = snap.state.local("id")[4]
    with pytest.raises(PhysicsError, match="lost or doubled"):
        writer(snap)


@pytest.mark.parametrize("checkpoint_at", [0, 7, 25, 39])
@pytest.mark.parametrize("end", ["close", "abandon", "torn"])
def test_continuation_leaves_the_same_frames(tmp_path: Path, checkpoint_at: int, end: str) -> None:
    writer = write(tmp_path, range(checkpoint_at + 1))
    writer.flush()
    state = writer.state_dict()
    write(tmp_path, range(checkpoint_at + 1, 45), writer=writer)
    if end == "close":
        writer.close()
    elif end == "torn":  # killed while HDF5 rewrites the tables of an unfinished segment
        for path in (tmp_path / "trajectory").glob("*.part"):
            with open(path, "r+b") as file:
                file.write(b"\0" * 200)
    del writer
    again = TrajectoryWriter(tmp_path, 1, ALL, "float32", SERIAL, clock=lambda: 0.0)
    again.load_state_dict(state)
    check(tmp_path / "trajectory.h5", range(checkpoint_at + 1))
    write(tmp_path, range(checkpoint_at, 50), writer=again)  # the checkpoint's own step is reported again
    again.close()
    check(tmp_path / "trajectory.h5", range(50))
    assert not list(tmp_path.rglob("*.part"))


def test_continuation_from_the_same_checkpoint_twice(tmp_path: Path) -> None:
    writer = write(tmp_path, range(20))
    writer.flush()
    state = writer.state_dict()
    for last in (30, 25, 60):
        again = TrajectoryWriter(tmp_path, 1, ALL, "float32", SERIAL)
        again.load_state_dict(state)
        write(tmp_path, range(20, last), writer=again).close()
        check(tmp_path / "trajectory.h5", range(last))


def test_continuation_refuses_what_does_not_fit(tmp_path: Path) -> None:
    writer = write(tmp_path, range(20))
    writer.flush()
    state = writer.state_dict()
    with pytest.raises(InputError, match="output.trajectory.dtype"):
        TrajectoryWriter(tmp_path, 1, ALL, "float64", SERIAL).load_state_dict(state)
    (tmp_path / "trajectory.h5").unlink()
    with pytest.raises(InputError, match="missing or damaged"):
        TrajectoryWriter(tmp_path, 1, ALL, "float32", SERIAL).load_state_dict(state)


def run_child(tmp_path: Path, root: Path, body: Any, **options: Any) -> Any:
    program = MAKER + textwrap.dedent(
        f"""
        import sys, time
        from pathlib import Path
        from allegro_md.errors import AllegroError
        from allegro_md.io.h5md import TrajectoryWriter
        rows = {TRICLINIC.tolist()}
        writer = TrajectoryWriter(Path({str(tmp_path)!r}), 1, {ALL}, "float32", Comm.serial())
        """
    )
    return subprocess.Popen([sys.executable, "-c", program + textwrap.dedent(body)], cwd=root, **options)


def test_killed_without_warning(tmp_path: Path, root: Path) -> None:
    child = run_child(
        tmp_path,
        root,
        """
        for step in range(10**9):
            writer(snapshot(step, 50, rows, Comm.serial())[0])
            time.sleep(0.002)
        """,
    )
    end = time.monotonic() + 60
    while not (tmp_path / "trajectory" / "segment-000001.h5").exists() and time.monotonic() < end:
        time.sleep(0.05)
    time.sleep(0.3)
    child.send_signal(signal.SIGKILL)
    child.wait()
    with h5py.File(tmp_path / "trajectory.h5") as file:
        shown = file["particles/all/position/value"].shape[0]
    assert shown > 1
    check(tmp_path / "trajectory.h5", range(shown))
    assert universe(tmp_path / "trajectory.h5").trajectory.n_frames == shown


def test_full_disk(tmp_path: Path, root: Path) -> None:
    """RLIMIT_FSIZE stands for the disk: exit status 4, no hang, and the frames before it are whole."""
    child = run_child(
        tmp_path,
        root,
        """
        try:
            for step in range(10**6):
                writer(snapshot(step, 2000, rows, Comm.serial())[0])
        except AllegroError as error:
            print(error)
            writer.close()
            sys.exit(error.exit_status)
        """,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4_000_000, 4_000_000)),
        stdout=subprocess.PIPE,
        text=True,
    )
    out, _ = child.communicate(timeout=60)
    assert child.returncode == 4 and "trajectory" in out
    with h5py.File(tmp_path / "trajectory.h5") as file:
        shown = file["particles/all/position/value"].shape[0]
    assert shown >= 16
    check(tmp_path / "trajectory.h5", range(shown), n=2000)


def test_a_fault_learned_of_at_the_end_is_raised_after_saving_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writing thread fails on a frame after the last look at it: nobody but `close` can tell."""
    pwrite = segments.Segment.write_atoms

    def refuse(self: Any, frame: Any, first: Any, rows: Any) -> None:
        if frame == 20 and self.index == 1:
            raise ResourceError("the disk is full")
        pwrite(self, frame, first, rows)

    monkeypatch.setattr(segments.Segment, "write_atoms", refuse)
    gate = threading.Event()
    writer = write(tmp_path, range(16))
    writer._worker.put(gate.wait)  # noqa: SLF001  holds the thread back
    writer._worker._jobs.maxsize = 100  # noqa: SLF001
    drain = writer._worker.drain  # noqa: SLF001

    def released() -> None:
        gate.set()
        drain()

    monkeypatch.setattr(writer._worker, "drain", released)  # noqa: SLF001
    write(tmp_path, range(16, 32), writer=writer)
    with pytest.raises(ResourceError, match="the disk is full"):
        writer.close()
    assert not writer._worker._thread.is_alive()  # noqa: SLF001
    with h5py.File(tmp_path / "trajectory.h5") as file:
        shown = file["particles/all/position/value"].shape[0]
    assert shown == 1 + 20
    check(tmp_path / "trajectory.h5", range(shown))
    writer.close()  # once is enough


def test_frames_of_which_the_checkpoint_knows_nothing_are_not_deleted(tmp_path: Path) -> None:
    """A run with a trajectory, resumed without one, and again with one: the writer is given no state."""
    write(tmp_path, range(5)).close()
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.h5")}
    again = TrajectoryWriter(tmp_path, 1, ALL, "float32", SERIAL)
    with pytest.raises(InputError, match="does not continue"):
        again.load_state_dict({})
    with pytest.raises(InputError, match="does not continue"):
        write(tmp_path, [7], writer=again)
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*.h5")}


def test_frames_after_a_checkpoint_without_frames_vanish(tmp_path: Path) -> None:
    writer = TrajectoryWriter(tmp_path, 1, ALL, "float32", SERIAL)
    state = writer.state_dict()
    write(tmp_path, range(3, 6), writer=writer).close()
    again = TrajectoryWriter(tmp_path, 1, ALL, "float32", SERIAL)
    again.load_state_dict(state)
    write(tmp_path, range(2, 4), writer=again).close()
    check(tmp_path / "trajectory.h5", range(2, 4))
