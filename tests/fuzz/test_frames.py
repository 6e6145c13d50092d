"""Damaged trajectories of other formats: read, or refused in one sentence; no hang, no huge memory, no traceback."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mutations
import pytest
from trajectories import write_trajectory

from allegro_md import open_frames
from allegro_md.errors import InputError, PhysicsError
from allegro_md.io.convert import convert

BATCH = 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trajectory in every format with a writer."""
    place = tmp_path_factory.mktemp("formats")
    path = write_trajectory(place / "run")
    with open_frames(path) as source:
        for name in ("x.extxyz", "x.dump", "x.dcd"):
            convert(source, slice(None), place / name, lambda _: None)
        convert(source, slice(0, 1), place / "x.data", lambda _: None)
    return place


def read_all(path: Path, **options: Any) -> None:
    with open_frames(path, **options) as source:
        for frame in source:
            for name in source.fields:
                assert getattr(frame, name).shape == (source.n_atoms, 3)
            assert frame.cell.matrix.shape == (3, 3)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["x.extxyz", "x.dump", "x.data", "x.dcd"])
def test_60_mutants(folder: Path, tmp_path: Path, name: str, limits: Callable[[], Any]) -> None:
    content, path = (folder / name).read_bytes(), tmp_path / name
    options = {"topology": folder / "x.data"} if name == "x.dcd" else {}
    if name == "x.dcd":
        pytest.importorskip("MDAnalysis")
    read_all(folder / name, **options)
    for seed in range(BATCH):
        rng = random.Random(seed)
        if name == "x.dcd":
            path.write_bytes(mutations.raw(content, rng))
        else:
            path.write_text(mutations.text(content.decode(), rng), encoding="utf-8", errors="replace")
        try:
            with limits():
                read_all(path, **options)
        except (InputError, PhysicsError) as error:
            assert "\n" not in str(error) and len(str(error)) < 2000, seed
        except Exception as fault:
            raise AssertionError(f"seed {seed}: {fault!r}") from fault
