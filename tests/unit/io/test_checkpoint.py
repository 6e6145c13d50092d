"""Checkpoints keep every bit, say when they do not, and never cost an older one."""

from __future__ import annotations

import resource
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from allegro_md.cell import Cell
from allegro_md.comm import Comm
from allegro_md.errors import InputError
from allegro_md.io import checkpoint, id_partition
from allegro_md.io.checkpoint import latest_checkpoint, read_checkpoint, write_checkpoint
from allegro_md.state import FIELDS, AtomState, SpeciesTable

SERIAL = Comm.serial()
EXTRAS = {"integrator": {"xi": [0.1, 1 / 3, float("nan")]}, "text": "Å", "empty": None}


def make_state(seed: int, n: int = 60) -> Any:
    random = np.random.default_rng(seed)
    cell = Cell(random.normal(size=(3, 3)), (True, False, True), random.normal(size=3), absent=(False, True, False))
    table = SpeciesTable(("H", "H", "Cu"), np.array([1, 1, 29]), np.array([1.008, 2.014, 63.546]))
    state = AtomState(cell, table, n)
    state.set_local(
        {
            "id": torch.from_numpy(random.permutation(n)),
            "species": torch.from_numpy(random.integers(0, 3, n).astype(np.int16)),
            "position": torch.from_numpy(random.normal(size=(n, 3)) * 10.0 ** random.integers(-300, 300, (n, 3))),
            "velocity": torch.from_numpy(random.normal(size=(n, 3))),
        }
    )
    return state


def same(found: Any, state: Any) -> Any:
    """Bit for bit, in id order."""
    order = np.argsort(state.local("id").numpy())
    for name, field in FIELDS.items():
        if field.checkpoint:
            expected = state.local(name).numpy()[order]
            assert found.slab[name].dtype == expected.dtype and np.array_equal(found.slab[name], expected)
    assert np.array_equal(found.cell.matrix, state.cell.matrix) and np.array_equal(found.cell.origin, state.cell.origin)
    assert (found.cell.periodic, found.cell.absent) == (state.cell.periodic, state.cell.absent)
    assert found.species_table.symbols == state.species_table.symbols
    assert np.array_equal(found.species_table.masses, state.species_table.masses)
    return True


@pytest.mark.parametrize("n", [1, 60, 2 * checkpoint.BLOCK + 5])
@pytest.mark.parametrize("piece", [id_partition.PIECE, checkpoint.BLOCK])
def test_every_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n: Any, piece: Any) -> None:
    monkeypatch.setattr(id_partition, "PIECE", piece)
    state = make_state(1, n)
    path = write_checkpoint(tmp_path, 1000, state, SERIAL, EXTRAS, keep=2)
    assert path == tmp_path / "checkpoint-1000.h5"
    found = read_checkpoint(path, SERIAL)
    assert same(found, state) and found.step == 1000 and found.n_total == n
    assert str(found.extras) == str(EXTRAS)
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint-1000.h5"]


def test_the_newest_are_kept(tmp_path: Path) -> None:
    for step in (5, 10, 100, 1000):
        write_checkpoint(tmp_path, step, make_state(step), SERIAL, {}, keep=2)
    assert {p.name for p in tmp_path.iterdir()} == {"checkpoint-100.h5", "checkpoint-1000.h5"}
    assert same(latest_checkpoint(tmp_path, SERIAL), make_state(1000))


def test_nothing_to_resume(tmp_path: Path) -> None:
    assert latest_checkpoint(tmp_path / "absent", SERIAL) is None
    (tmp_path / "checkpoint-7.h5.part").write_bytes(b"what a kill leaves")
    assert latest_checkpoint(tmp_path, SERIAL) is None
    write_checkpoint(tmp_path, 8, make_state(8), SERIAL, {}, keep=1)
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint-8.h5"]


@pytest.mark.parametrize("damage", ["empty", "text", "truncated", "flipped"])
def test_damaged_ones_are_passed_over(tmp_path: Path, damage: str) -> None:
    write_checkpoint(tmp_path, 1, make_state(1), SERIAL, {}, keep=3)
    newest = write_checkpoint(tmp_path, 2, make_state(2), SERIAL, {}, keep=3)
    data = newest.read_bytes()
    position = data.find(
        make_state(2).local("velocity").numpy()[np.argsort(make_state(2).local("id").numpy())][30].tobytes()
    )
    newest.write_bytes(
        {
            "empty": b"",
            "text": b"not HDF5",
            "truncated": data[: len(data) // 2],
            "flipped": data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :],
        }[damage]
    )
    found = latest_checkpoint(tmp_path, SERIAL)
    assert found is not None and found.step == 1 and same(found, make_state(1))
    assert len(found.passed_over) == 1 and "checkpoint-2.h5: damaged" in found.passed_over[0]
    # The continuation writes step 2 anew, and may not lose its own to the damaged one before it gets there.
    (tmp_path / "checkpoint-9.h5").write_bytes(b"damaged too")
    write_checkpoint(tmp_path, 2, make_state(2), SERIAL, {}, keep=1)
    assert same(latest_checkpoint(tmp_path, SERIAL), make_state(2))


def test_all_damaged_is_an_error_not_a_new_start(tmp_path: Path) -> None:
    for step in (1, 2):
        write_checkpoint(tmp_path, step, make_state(step), SERIAL, {}, keep=2).write_bytes(b"")
    with pytest.raises(InputError, match="no checkpoint is usable.*checkpoint-2.*checkpoint-1"):
        latest_checkpoint(tmp_path, SERIAL)


def test_any_flipped_byte_is_found_or_harmless(tmp_path: Path) -> None:
    state = make_state(3)
    path = write_checkpoint(tmp_path, 3, state, SERIAL, EXTRAS, keep=1)
    data, random = path.read_bytes(), np.random.default_rng(0)
    found = 0
    for position in random.choice(len(data), 150, replace=False):
        path.write_bytes(data[:position] + bytes([data[position] ^ 0x55]) + data[position + 1 :])
        try:
            read = read_checkpoint(path, SERIAL)
        except InputError:
            found += 1
        else:
            assert same(read, state) and str(read.extras) == str(EXTRAS)
    assert found > 10


@pytest.mark.parametrize("state", [{"history": [np.zeros((3, 2))]}, {"n": np.int64(3)}, {"kinds": {1, 2}}])
def test_a_state_that_is_no_json_is_refused_by_name(tmp_path: Path, state: Any) -> None:
    """Before anything is written."""
    write_checkpoint(tmp_path, 1, make_state(1), SERIAL, {}, keep=1)
    extras = {"integrator": {}, "reporters": {"thermo": {"size": 3}, "msd": state}}
    with pytest.raises(TypeError, match="^the state of observer 'msd' cannot be saved .* numbers, texts, lists"):
        write_checkpoint(tmp_path, 2, make_state(2), SERIAL, extras, keep=1)
    with pytest.raises(TypeError, match="^the entry 'integrator' of a checkpoint cannot be saved"):
        write_checkpoint(tmp_path, 2, make_state(2), SERIAL, {"integrator": state}, keep=1)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-1.h5"]


def test_full_disk_costs_no_older_checkpoint(tmp_path: Path, root: Path) -> None:
    write_checkpoint(tmp_path, 1, make_state(1), SERIAL, {}, keep=1)
    program = textwrap.dedent(f"""
        import sys
        from pathlib import Path
        sys.path.insert(0, {str(root / "tests" / "unit" / "io")!r})
        from test_checkpoint import SERIAL, make_state, write_checkpoint
        from allegro_md.errors import ResourceError
        try:
            write_checkpoint(Path({str(tmp_path)!r}), 2, make_state(2, 100_000), SERIAL, {{}}, keep=1)
        except ResourceError as error:
            print(error)
            sys.exit(error.exit_status)
    """)
    done = subprocess.run(
        [sys.executable, "-c", program],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, 10**6)),
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 4 and "checkpoint-2.h5" in done.stdout, done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint-1.h5"]
    assert same(latest_checkpoint(tmp_path, SERIAL), make_state(1))
