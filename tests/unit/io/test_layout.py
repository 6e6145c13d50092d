"""HDF5 finds what plain system calls wrote, however the space is cut."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from allegro_md.io import layout
from allegro_md.io.layout import Column, Placement, lay_out, placements, shorten

COLUMNS = (
    Column("step", (), "int64", per_atom=False),
    Column("edges", (3, 3), "float64", "Angstrom", per_atom=False),
    Column("position", (3,), "float32", "Angstrom"),
    Column("id", (), "int64"),
)


@pytest.mark.parametrize("largest", [2**31, 500, 100, 12])
@pytest.mark.parametrize(
    ("frames", "per_chunk", "written"), [(40, 4, 40), (40, 4, 13), (5, 1, 1), (7, 3, 6), (1, 1, 1)]
)
def test_every_row_where_hdf5_looks_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, largest: Any, frames: int, per_chunk: int, written: int
) -> None:
    monkeypatch.setattr(layout, "LARGEST_CHUNK", largest)  # atoms of a frame in several chunks
    path, n, random = tmp_path / "x.h5", 23, np.random.default_rng(0)
    lay_out(path, COLUMNS, n, frames, per_chunk)
    reserved = os.path.getsize(path)
    where = {name: Placement.of(p.stored) for name, p in placements(path, COLUMNS).items()}
    data = {c.name: random.normal(size=(written, n if c.per_atom else 1, *c.shape)).astype(c.dtype) for c in COLUMNS}
    with open(path, "r+b", buffering=0) as file:
        for k in range(written):
            for c in COLUMNS:
                for start, stop in ((0, 9), (9, 9), (9, n)) if c.per_atom else ((0, 1),):
                    where[c.name].write(file.fileno(), k, start, data[c.name][k, start:stop])
    shorten(path, COLUMNS, written, per_chunk)
    with h5py.File(path) as file:
        for c in COLUMNS:
            assert np.array_equal(file[c.name][()], data[c.name] if c.per_atom else data[c.name][:, 0])
            assert file[c.name].attrs.get("unit", "") == c.unit
    if written < frames // 2:
        assert os.path.getsize(path) < reserved  # unused space is given back
