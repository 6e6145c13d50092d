"""Displacements of atoms at chosen times against numpy, and the Gaussian of a random walk."""

from __future__ import annotations

import numpy as np
import pytest
from feeding import Frames, columns, fed, made

from allegro_md.cell import Cell
from allegro_md.comm import Comm
from allegro_md.errors import InputError


def walk(samples: int, n: int, size: float) -> Frames:
    rng = np.random.default_rng(1)
    steps = rng.normal(scale=size, size=(samples, n, 3))
    return Frames(rng.uniform(0, 20, (n, 3)) + np.cumsum(steps, axis=0), ["Li" if k % 3 else "O" for k in range(n)])


def test_against_numpy() -> None:
    """Counts exactly, moments to 1e-9; origins at every third sample."""
    frames = walk(90, 60, 0.5)
    quantity = fed(frames, kind="van-hove", times=(2.0, 20.0), rmax=6.0, bins=30, origin_every=3)
    found, moments = columns(quantity), columns(quantity, "non-gaussian")
    weights = frames.masses / frames.masses.sum()
    moved = frames.position - np.einsum("i,tik->tk", weights, frames.position)[:, None]
    edges = np.linspace(0, 6, 31)
    for symbol in ("Li", "O"):
        of = np.array([name == symbol for name in frames.symbols])
        for k, lag in enumerate((1, 10)):
            r = np.concatenate(
                [np.linalg.norm(moved[t + lag, of] - moved[t, of], axis=1) for t in range(0, 90 - lag, 3)]
            )
            counts, _ = np.histogram(r, edges)
            density = found[f"Gs_{symbol}_{2 * lag}fs_A-3"]
            np.testing.assert_allclose(
                density * len(r) * 4 * np.pi / 3 * np.diff(edges**3), counts, rtol=1e-10, atol=1e-9
            )
            assert moments[f"msd_{symbol}_A2"][k] == pytest.approx(np.mean(r**2), rel=1e-9)
            assert moments[f"alpha2_{symbol}"][k] == pytest.approx(
                3 * np.mean(r**4) / (5 * np.mean(r**2) ** 2) - 1, abs=1e-9
            )
    notes = quantity.result(Comm.serial()).notes
    assert any("% of the displacements in 20 fs are larger than rmax = 6 Å" in note for note in notes)


def test_a_random_walk_is_gaussian() -> None:
    frames = walk(1000, 60, 0.3)
    quantity = fed(frames, kind="van-hove", times=(20.0,), rmax=6.0, bins=60, origin_every=1)
    found, moments = columns(quantity), columns(quantity, "non-gaussian")
    variance = 10 * 0.3**2
    expected = np.exp(-(found["r_A"] ** 2) / (2 * variance)) / (2 * np.pi * variance) ** 1.5
    near = (found["r_A"] > 0.5) & (found["r_A"] < 2.5)
    np.testing.assert_allclose(found["Gs_Li_20fs_A-3"][near], expected[near], rtol=0.1)
    assert abs(moments["alpha2_Li"][0]) < 4 * moments["alpha2_Li_err"][0] < 0.05


def test_a_deformation_is_no_displacement() -> None:
    """Atoms that only follow the cell stay where they are, also between the samples that are origins."""
    cells = [Cell(np.diag([10.0 + 0.1 * t, 12.0, 11.0 - 0.02 * t])) for t in range(40)]
    scaled = np.random.default_rng(1).uniform(size=(20, 3))
    position = np.array([scaled @ cell.matrix for cell in cells])
    found = columns(fed(Frames(position, ["Ar"] * 20, cells), kind="van-hove", times=(10.0,)), "non-gaussian")
    assert found["msd_Ar_A2"][0] < 1e-20


def test_memory_is_what_it_says() -> None:
    quantity = fed(walk(60, 2000, 0.1), kind="van-hove", times=(40.0,), origin_every=3)
    held = sum(rows.nbytes for rows in quantity.rows().values())
    assert held <= quantity.bytes_held(2000) - quantity.bytes_held(0) <= 1.2 * held


def test_what_cannot_be_is_refused() -> None:
    frames = walk(10, 6, 0.1)
    with pytest.raises(InputError, match="the time 5 fs is no multiple of the time between samples, 2 fs"):
        made(frames, kind="van-hove", times=(4.0, 5.0))
    with pytest.raises(InputError, match="10 samples are fewer than the shortest of the times, 40 fs, needs"):
        fed(frames, kind="van-hove", times=(40.0,)).result(Comm.serial())
    with pytest.raises(ValueError, match="listed twice"):
        made(frames, kind="van-hove", times=(4.0, 4.0))
