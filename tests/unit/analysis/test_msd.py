"""Mean square displacements against all pairs of samples, and against other programs."""

from __future__ import annotations

import numpy as np
import pytest
from feeding import Array, Frames, columns, fed, made

from allegro_md.analysis.msd import Msd
from allegro_md.cell import Cell
from allegro_md.comm import Comm
from allegro_md.errors import InputError


def walk(samples: int = 150, n: int = 30, seed: int = 0) -> Frames:
    """Two elements, with jumps of about 1 Å, so that atoms leave the cell."""
    rng = np.random.default_rng(seed)
    position = rng.uniform(0, 20, (n, 3)) + np.cumsum(rng.normal(size=(samples, n, 3)), axis=0)
    return Frames(position, ["Li" if k % 3 else "O" for k in range(n)])


def centered(frames: Frames) -> Array:
    weights = frames.masses / frames.masses.sum()
    moved: Array = frames.position - np.einsum("i,tik->tk", weights, frames.position)[:, None]
    return moved


def all_pairs(position: Array, lags: Array, points: int = 16, factor: int = 4) -> Array:
    """(lags,) MSD of atoms (samples, n, 3), with origins at every sample up to `points` lags, then sparser ones."""
    found = []
    for lag in lags.astype(int).tolist():
        stride = 1
        while lag >= points * stride:
            stride *= factor
        pairs = [(t, t + lag) for t in range(0, len(position) - lag, stride)]
        found.append(np.mean([np.mean(np.sum((position[b] - position[a]) ** 2, axis=-1)) for a, b in pairs]))
    return np.array(found)


@pytest.mark.parametrize("points", [4, 16])
def test_against_all_pairs(points: int) -> None:
    frames = walk()
    found = columns(fed(frames, kind="msd", points=points))
    lags = found["time_fs"] / frames.interval
    assert lags[0] == 0 and lags[-1] > 75
    moved = centered(frames)
    for symbol in ("Li", "O"):
        of = np.array([name == symbol for name in frames.symbols])
        np.testing.assert_allclose(found[f"msd_{symbol}_A2"], all_pairs(moved[:, of], lags, points), rtol=1e-10)


def test_axes_and_groups() -> None:
    """Groups may overlap; a region holds those that are in it, wrapped, at the first sample."""
    frames = walk(60)
    groups = {"some": {"ids": (0, 3, 7)}, "left": {"region": {"x": [0.0, 9.0]}}, "both": {"species": ["Li", "O"]}}
    found = columns(fed(frames, kind="msd", axes="xz", groups=groups))
    moved, lags = centered(frames)[..., [0, 2]], found["time_fs"] / frames.interval
    left = frames.position[0, :, 0] % 20.0 < 9.0
    assert 0 < left.sum() < 30
    for name, of in (("some", [0, 3, 7]), ("left", np.flatnonzero(left)), ("both", np.arange(30))):
        np.testing.assert_allclose(found[f"msd_{name}_A2"], all_pairs(moved[:, of], lags), rtol=1e-10)


def test_a_drift_is_no_displacement() -> None:
    still, drifting = walk(60), walk(60)
    drifting.position = drifting.position + np.arange(60)[:, None, None] * np.array([0.3, -0.2, 0.1])
    one, other = (columns(fed(frames, kind="msd")) for frames in (still, drifting))
    np.testing.assert_allclose(one["msd_Li_A2"], other["msd_Li_A2"], rtol=1e-10, atol=1e-10)


def test_a_deformation_is_no_displacement() -> None:
    """Jumps in a cell that is strained and sheared: the MSD is that of the jumps alone."""
    rng = np.random.default_rng(4)
    samples, n = 80, 25
    cells = [
        Cell(np.array([[12.0 + 0.05 * t, 0, 0], [0.02 * t, 14.0 - 0.03 * t, 0], [0, 0.1 * np.sin(t), 13.0]]))
        for t in range(samples)
    ]
    scaled = rng.uniform(size=(n, 3))
    jumps = rng.normal(size=(samples, n, 3))
    jumps[0] = 0.0
    position = np.empty((samples, n, 3))
    for t, cell in enumerate(cells):
        scaled = scaled + jumps[t] @ cell.inverse
        position[t] = scaled @ cell.matrix
    found = columns(fed(Frames(position, ["Ar"] * n, cells), kind="msd"))
    expected = all_pairs(centered(Frames(np.cumsum(jumps, axis=0), ["Ar"] * n)), found["time_fs"] / 2.0)
    np.testing.assert_allclose(found["msd_Ar_A2"], expected, rtol=1e-9)


def test_against_tidynamics() -> None:
    """By Fourier transforms, with all origins: the lowest level of ours."""
    tidynamics = pytest.importorskip("tidynamics")
    frames = walk(200)
    frames.position = centered(frames)
    found = columns(fed(frames, kind="msd", points=64, species=("Li",)))
    of = [k for k, name in enumerate(frames.symbols) if name == "Li"]
    theirs = np.mean([tidynamics.msd(frames.position[:, k]) for k in of], axis=0)
    np.testing.assert_allclose(found["msd_Li_A2"][:64], theirs[:64], rtol=1e-9, atol=1e-9)


def test_against_mdanalysis() -> None:
    MDAnalysis = pytest.importorskip("MDAnalysis")
    from MDAnalysis.analysis.msd import EinsteinMSD
    from MDAnalysis.coordinates.memory import MemoryReader

    frames = walk(100)
    frames.position = centered(frames)
    universe = MDAnalysis.Universe.empty(30, trajectory=False)
    universe.load_new(frames.position.astype(np.float32), format=MemoryReader)
    theirs = EinsteinMSD(universe, fft=False).run().results.timeseries
    found = columns(fed(frames, kind="msd", points=64, groups={"all": {"species": ["Li", "O"]}}))
    np.testing.assert_allclose(found["msd_all_A2"][:64], theirs[:64], rtol=1e-5)


def test_a_random_walk_diffuses() -> None:
    """Jumps of variance 1 Å² per component and sample of 2 fs: D = 0.25 Å²/fs = 0.025 cm²/s."""
    frames = walk(1200, 60)
    quantity = fed(frames, kind="msd", temperature=300.0, viscosity=1.0)
    table, msd = columns(quantity, "diffusion"), columns(quantity)
    assert list(table) == ["element", "D_cm2_s", "D_err_cm2_s", "method", "from_fs", "to_fs", "D_corrected_cm2_s"]
    assert table["element"] == ["Li", "Li", "O", "O"] and table["method"] == ["gls", "ols"] * 2
    relative = 1.0 - np.array([atoms * mass for atoms, mass in ((1, 6.94), (1, 15.999))]) / frames.masses.sum()
    for k, (d, error) in enumerate(zip(table["D_cm2_s"], table["D_err_cm2_s"], strict=True)):
        assert abs(d - 0.025 * relative[k // 2]) < 3.5 * error < 0.025
    np.testing.assert_allclose(table["D_corrected_cm2_s"] - table["D_cm2_s"], 3.1166e-6, rtol=1e-3)
    for symbol in ("Li", "O"):
        assert np.isfinite(msd[f"msd_{symbol}_err_A2"]).all()
    result = quantity.result(Comm.serial())
    assert [value.name for value in result.values] == ["D_Li", "D_corrected_Li", "D_O", "D_corrected_O"]
    assert [line.label for line in result.panels[0].lines] == ["Li", "O", "Li: fit", "O: fit"]


def test_memory_is_what_it_says() -> None:
    frames = walk(300, 3000)
    quantity = fed(frames, kind="msd")
    assert isinstance(quantity, Msd)
    held = sum(rows.nbytes for rows in quantity.rows().values())
    fixed = made(frames, kind="msd").bytes_held(0)
    assert held <= quantity.bytes_held(3000) - fixed <= 1.5 * held


def test_what_cannot_be_is_refused() -> None:
    frames = walk(3)
    with pytest.raises(InputError, match="1 samples give no displacement"):
        fed(Frames(frames.position[:1], frames.symbols), kind="msd").result(Comm.serial())
    with pytest.raises(ValueError, match="must be a multiple of 4, got 6"):
        made(frames, kind="msd", points=6)
    with pytest.raises(ValueError, match="viscosity without temperature"):
        made(frames, kind="msd", viscosity=1.0)
