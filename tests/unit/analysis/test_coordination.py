"""Neighbors are counted as numpy and freud count them, and as g(r) does up to the cutoff."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from periodic_reference import TRICLINIC, Frames, column, neighbors

from allegro_md.analysis import rdf
from allegro_md.analysis.coordination import CoordinationTable, build
from allegro_md.comm import Comm
from allegro_md.errors import InputError, PhysicsError


def table(**keys: Any) -> CoordinationTable:
    return CoordinationTable(kind="coordination", every=1, **keys)


def reference(frames: Frames, a: str, b: str, cutoff: float) -> np.ndarray:
    """Coordination numbers of all atoms A in all frames."""
    symbols = np.array(frames.symbols)
    return np.array(
        [
            np.count_nonzero(symbols[atoms] == b)
            for positions, cell in zip(frames.positions, frames.cells, strict=True)
            for center, (atoms, _) in zip(symbols, neighbors(positions, cell, cutoff), strict=True)
            if center == a
        ]
    )


@pytest.mark.parametrize("scale", [1.0, 2.5])
def test_numbers_are_those_of_all_pairs(scale: float) -> None:
    frames = Frames(scale * TRICLINIC, changing=True)
    cutoffs = {"P-O": 4.0, "O-O": 5.5}
    result = frames.fed(build(table(cutoffs=cutoffs, cutoff=4.5), frames.system(), "observe"))
    assert len(result.columns) == 1 + 2 * 9
    for a, b, cutoff in (("P", "O", 4.0), ("O", "P", 4.0), ("O", "O", 5.5), ("Li", "O", 4.5), ("Li", "Li", 4.5)):
        expected = reference(frames, a, b, cutoff)
        fractions = column(result.columns, f"fraction_{a}-{b}")
        counts = np.bincount(expected, minlength=len(fractions))
        np.testing.assert_array_equal(fractions, counts / counts.sum())
        (value,) = [v for v in result.values if v.name == f"n_{a}-{b}"]
        assert value.value == pytest.approx(expected.mean(), abs=1e-14)
        each = expected.reshape(3, -1).mean(axis=1)
        assert value.error == pytest.approx(each.std(ddof=1) / np.sqrt(3))


def test_the_mean_is_that_of_the_distances() -> None:
    """The very same pairs as in n(r)."""
    frames = Frames(3.0 * TRICLINIC, "O" * 200 + "P" * 50)
    result = frames.fed(build(table(cutoff=4.0, pairs=["P-O"]), frames.system(), "observe"))
    radial = rdf.build(rdf.RdfTable(kind="rdf", every=1, rmax=8.0, bins=400, pairs=["P-O"]), frames.system(), "observe")
    running = column(frames.fed(radial).columns, "n_P-O")
    assert result.values[0].value == running[199]


def test_as_freud_counts() -> None:
    freud = pytest.importorskip("freud")
    frames = Frames(12.0 * np.eye(3), "O" * 150, n_frames=1)
    result = frames.fed(build(table(cutoff=4.0), frames.system(), "observe"))
    box = freud.box.Box.cube(12.0)
    inside = box.wrap(frames.positions[0])
    pairs = freud.locality.AABBQuery(box, inside).query(inside, {"r_max": 4.0, "exclude_ii": True})
    expected = np.bincount(pairs.toNeighborList().neighbor_counts) / 150
    np.testing.assert_allclose(column(result.columns, "fraction_O-O"), expected, rtol=1e-15)


def test_a_group_in_a_region() -> None:
    frames = Frames(n_frames=1)
    wrapped = frames.samples()[0].wrapped[0]
    groups = {"low": {"region": {"z": [0.0, 2.5]}}, "all": {"ids": list(range(len(frames.symbols)))}}
    result = frames.fed(build(table(cutoff=4.0, groups=groups, pairs=["low-all"]), frames.system(), "observe"))
    counts = [len(atoms) for atoms, _ in neighbors(frames.positions[0], frames.cells[0], 4.0)]
    assert result.values[0].value == pytest.approx(np.mean(np.array(counts)[wrapped[:, 2] < 2.5]))


def test_too_many_neighbors_are_refused() -> None:
    frames = Frames()
    quantity = build(table(cutoff=11.0), frames.system(), "observe")
    with pytest.raises(PhysicsError, match="more than 255 neighbors at step 0"):
        quantity.add(frames.samples()[0])


def test_no_samples_and_empty_groups_are_refused() -> None:
    frames = Frames()
    quantity = build(table(cutoff=3.0), frames.system(), "observe")
    with pytest.raises(InputError, match="there are no samples"):
        quantity.result(Comm.serial())
    groups = {"far": {"region": {"z": [50.0, 60.0]}}}
    quantity = build(table(cutoff=3.0, groups=groups), frames.system(), "observe")
    with pytest.raises(InputError, match="group 'far' holds no atom"):
        quantity.add(frames.samples()[0])
