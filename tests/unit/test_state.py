"""The field table and the arrays of a rank."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from allegro_md import state as module
from allegro_md.cell import Cell
from allegro_md.integrators.nve import VelocityVerlet
from allegro_md.simulation.windows import SavedState
from allegro_md.state import FIELDS, AtomState, SpeciesTable


def make(n: int = 0) -> AtomState:
    state = AtomState(Cell(np.eye(3)), SpeciesTable(("H", "Cu"), np.array([1, 29]), np.array([1.008, 63.546])), n)
    state.set_local(
        {
            name: np.arange(n * max(1, int(np.prod(f.shape)))).reshape(n, *f.shape).astype(f.dtype)
            for name, f in FIELDS.items()
            if f.migrates
        }
    )
    return state


def test_table() -> None:
    """What the rest relies on: id first, masters in float64, forces in int64 and never sent on."""
    assert next(iter(FIELDS)) == "id"
    assert FIELDS["position"].dtype == FIELDS["velocity"].dtype == np.float64
    assert FIELDS["force"].dtype == np.int64 and not FIELDS["force"].migrates
    assert {f.name for f in FIELDS.values() if f.halo} >= {"id", "species", "position", "shift"}
    assert all(f.migrates for f in FIELDS.values() if f.checkpoint)


@pytest.mark.parametrize("exact_fit", [10**6, 10])
def test_growth_keeps_rows(monkeypatch: pytest.MonkeyPatch, exact_fit: int) -> None:
    monkeypatch.setattr(module, "EXACT_FIT_ABOVE", exact_fit)
    state = make(20)
    before = {name: state.local(name).clone() for name in FIELDS}
    for n_ghost in (1, 50, 5, 500, 0):
        state.resize(20, n_ghost)
        assert state.n_all == 20 + n_ghost
        for name, field in FIELDS.items():
            assert state.all(name).shape == (20 + n_ghost, *field.shape)
            assert state.host_all(name).dtype == field.dtype
            assert torch.equal(state.local(name), before[name])


def test_growth_keeps_ghosts() -> None:
    state = make(3)
    state.resize(3, 60)
    state.all("position")[:] = 7.0
    state.resize(3, 5000)
    assert torch.equal(state.all("position")[:63], torch.full((63, 3), 7.0, dtype=torch.float64))


def test_permuting_moves_whole_rows() -> None:
    state = make(20)
    state.local("shift")[:, 1] = torch.arange(20)
    state.resize(20, 7)
    before = {name: state.local(name).clone() for name, f in FIELDS.items() if f.migrates or name == "shift"}
    order = np.random.default_rng(1).permutation(20).astype(np.int32)
    state.permute(order)
    assert state.n_all == 20
    for name, rows in before.items():
        assert torch.equal(state.local(name), rows[torch.from_numpy(order)])


def test_views_share_memory() -> None:
    state = make(4)
    state.resize(4, 2)
    state.all("position")[1] = 5.0
    assert state.local("position")[1].tolist() == [5.0] * 3
    state.host_local("position")[2] = 6.0
    assert state.all("position")[2].tolist() == [6.0] * 3
    state.array_all("position")[5] = 7.0
    assert state.all("position")[5].tolist() == state.host_all("position")[5].tolist() == [7.0] * 3


def test_set_local_drops_ghosts() -> None:
    state = make(4)
    state.resize(4, 9)
    state.set_local({name: state.local(name)[:2].clone() for name, f in FIELDS.items() if f.migrates})
    assert (state.n_local, state.n_ghost) == (2, 0)


def test_from_arrays() -> None:
    """What is given is copied, the rest is zero; ids count on."""
    rng = np.random.default_rng(1)
    x, v, table = rng.normal(size=(5, 3)), rng.normal(size=(5, 3)), SpeciesTable(("H",), np.array([1]), np.array([1.0]))
    state = AtomState.from_arrays(Cell(np.eye(3)), table, x)
    assert (state.n_local, state.n_ghost, state.n_total) == (5, 0, 5)
    assert np.array_equal(state.local("position").numpy(), x) and state.local("id").tolist() == [0, 1, 2, 3, 4]
    assert not any(state.local(name).any() for name in FIELDS if name not in ("id", "position"))
    part = AtomState.from_arrays(
        Cell(np.eye(3)), table, x[:2], species=np.array([1, 0]), velocities=v[:2], ids=np.array([7, 3]), n_total=9
    )
    assert (part.n_local, part.n_total) == (2, 9)
    assert part.local("species").tolist() == [1, 0] and part.local("id").tolist() == [7, 3]
    part.local("velocity").zero_()
    assert v[:2].all()
    assert AtomState.from_arrays(Cell(np.eye(3)), table, np.zeros((0, 3))).n_local == 0


def test_copies_for_the_host_are_not_written_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """A state on another device, which a tensor stands for here: what is written there would be lost."""
    monkeypatch.setattr(module, "on_host", lambda values: values.clone().numpy())
    state = AtomState(Cell(10.0 * np.eye(3)), SpeciesTable(("H",), np.array([1]), np.array([1.0])), 3, "cpu:0")
    state.resize(3, 0)
    state.array_local("position")[...] = state.device_array(np.ones((3, 3)))
    for rows in (state.host_local("position"), state.host_all("position")):
        with pytest.raises(ValueError, match="read-only"):
            rows[...] = 2.0
    state.array_local("velocity")[...] = state.array_local("force")[...] = 0
    saved = SavedState(state, VelocityVerlet(1.0, 6))
    state.array_local("position")[...] = 5.0
    saved.restore()
    assert (state.host_local("position") == 1.0).all()
