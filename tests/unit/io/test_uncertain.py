"""uncertain.extxyz: read back by ASE to the bit; a reader sees whole frames only, whatever happened to the last one."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
import torch

from allegro_md.cell import Cell
from allegro_md.comm import Comm
from allegro_md.errors import ResourceError
from allegro_md.evaluation import Evaluation
from allegro_md.io import uncertain
from allegro_md.io.disk import pwrite_all
from allegro_md.io.uncertain import UncertainWriter
from allegro_md.reporting import Snapshot
from allegro_md.state import AtomState, SpeciesTable

TABLE = SpeciesTable(("O", "Ag"), np.array([8, 47]), np.array([16.0, 107.87]))
PLACES = np.array([[0.1 + 1.0 / 3.0, -7.0, -1e-200], [5.0, 12.0, -123456.789], [9.9, 0.5, 2.0]])


def snapshot(step: int, std: list[float]) -> Snapshot:
    """Three atoms, held in another order than that of their ids; the third axis is free."""
    state = AtomState(Cell(np.diag([10.0, 11.0, 30.0]), (True, True, False)), TABLE, 3)
    ids = np.array([2, 0, 1])
    state.set_local(
        {
            "id": torch.from_numpy(ids), "species": torch.tensor([0, 1, 1], dtype=torch.int16),
            "position": torch.from_numpy(PLACES[ids]), "velocity": torch.zeros(3, 3, dtype=torch.float64),
        }
    )  # fmt: skip
    evaluation = Evaluation({"force_std": torch.from_numpy(np.array(std)[ids])})
    return Snapshot(step=step, time=0.5 * step, state=state, wall=0.0, evaluation=evaluation)


def steps(path: Path) -> list[int]:
    return [frame.info["step"] for frame in ase.io.iread(path, ":")]


def test_what_is_written(tmp_path: Path) -> None:
    path = tmp_path / "uncertain.extxyz"
    writer = UncertainWriter(path, 0.2, 5, Comm.serial())
    for step, std in ((0, [0.1, 0.2, 0.1]), (5, [0.1, 1.0 / 3.0, 0.0]), (10, [0.0, 0.0, 0.19]), (15, [0.7, 0.0, 0.0])):
        writer(snapshot(step, std))
    frames: Any = ase.io.read(path, ":")
    assert [(f.info["step"], f.info["time_fs"], f.info["max_force_std_eV_per_A"]) for f in frames] == [
        (5, 2.5, 1.0 / 3.0), (15, 7.5, 0.7),
    ]  # fmt: skip
    frame = frames[0]
    assert frame.get_chemical_symbols() == ["Ag", "Ag", "O"] and frame.pbc.tolist() == [True, True, False]
    assert frame.arrays["force_std_eV_per_A"].tolist() == [0.1, 1.0 / 3.0, 0.0]
    np.testing.assert_array_equal(frame.positions[:, 2], PLACES[:, 2])
    np.testing.assert_allclose(frame.positions[:, :2], PLACES[:, :2] % [10.0, 11.0], atol=1e-14)


@pytest.mark.parametrize("call", [1, 2, 3])
def test_a_frame_that_is_cut_short_is_not_seen(call: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill after each of its three writes, then a continuation."""
    path = tmp_path / "uncertain.extxyz"
    writer = UncertainWriter(path, 0.2, 1, Comm.serial())
    writer(snapshot(1, [0.3, 0.0, 0.0]))
    kept, left = writer.state_dict(), [call]

    def dying(fd: int, data: Any, offset: int, write: Any = pwrite_all) -> None:
        if left[0] == 1:
            raise KeyboardInterrupt
        left[0] -= 1
        write(fd, data, offset)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(uncertain, "pwrite_all", dying)
        writer(snapshot(2, [0.4, 0.0, 0.0]))
    assert steps(path) == [1]
    again = UncertainWriter(path, 0.2, 1, Comm.serial())
    again.load_state_dict(kept)
    for step in (1, 2, 3):  # the first of a continuation has been looked at
        again(snapshot(step, [0.4, 0.0, 0.0]))
    assert steps(path) == [1, 2, 3]
    again.load_state_dict({})
    assert not path.exists()


def test_a_full_disk_leaves_the_frames_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "uncertain.extxyz"
    writer = UncertainWriter(path, 0.2, 1, Comm.serial())
    writer(snapshot(1, [0.3, 0.0, 0.0]))
    before = path.read_bytes()

    def full(fd: int, data: Any, offset: int, write: Any = pwrite_all) -> None:
        write(fd, data[:50], offset)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(uncertain, "pwrite_all", full)
    with pytest.raises(ResourceError, match=r"uncertain\.extxyz: No space"):
        writer(snapshot(2, [0.4, 0.0, 0.0]))
    assert path.read_bytes() == before
