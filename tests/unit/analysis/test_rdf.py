"""Pairs are counted as numpy counts them, to the last one; g(r) is that of freud and of MDAnalysis."""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from periodic_reference import TRICLINIC, Frames, column, neighbors
from pydantic import ValidationError
from scipy.integrate import quad

from allegro_md import open_frames
from allegro_md.analysis import structure_factor
from allegro_md.analysis.base import Sample, System
from allegro_md.analysis.fourier import structure_factors, wave_numbers
from allegro_md.analysis.observer import quantity_of
from allegro_md.analysis.rdf import Rdf, RdfTable, build, peak
from allegro_md.analysis.stored import analyze_frames
from allegro_md.cell import Cell
from allegro_md.comm import Comm
from allegro_md.config import load_input
from allegro_md.config.output import OBSERVERS
from allegro_md.config.registry import load
from allegro_md.errors import InputError
from allegro_md.simulation.run import Simulation
from allegro_md.state import SpeciesTable


def table(**keys: Any) -> RdfTable:
    return RdfTable(kind="rdf", every=1, **keys)


def quantity(frames: Frames, **keys: Any) -> Rdf:
    return build(table(**keys), frames.system(), "observe")


def reference(
    frames: Frames, first: np.ndarray, second: np.ndarray, edges: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Counts of pairs (bins,), and g (bins,); `first` and `second` (frames, n) tell which atoms are members."""
    counts, norm = np.zeros(len(edges) - 1), 0.0
    for k, (positions, cell) in enumerate(zip(frames.positions, frames.cells, strict=True)):
        around = neighbors(positions, cell, float(edges[-1]))
        lengths = [np.linalg.norm(v[second[k][atoms]], axis=1) for atoms, v in around]
        counts += np.histogram(np.concatenate([d for d, a in zip(lengths, first[k], strict=True) if a]), edges)[0]
        both = np.count_nonzero(first[k] & second[k])
        norm += (first[k].sum() * second[k].sum() - both) / cell.volume
    return counts, counts / (norm * 4.0 / 3.0 * np.pi * np.diff(edges**3))


def members(frames: Frames, symbol: str) -> np.ndarray:
    return np.tile(np.array(frames.symbols) == symbol, (len(frames.cells), 1))


@pytest.mark.parametrize("periodic", [(True, True, True), (True, True, False)], ids=["bulk", "slab"])
@pytest.mark.parametrize("scale", [1.0, 2.5], ids=["images beyond the first", "one image"])
def test_counts_are_those_of_all_pairs(scale: float, periodic: tuple[bool, bool, bool]) -> None:
    frames = Frames(scale * TRICLINIC, changing=True, periodic=periodic)
    result = frames.fed(quantity(frames, rmax=7.0, bins=70))
    edges = np.linspace(0.0, 7.0, 71)
    for a, b in (("O", "O"), ("O", "P"), ("P", "Li")):
        counts, g = reference(frames, members(frames, a), members(frames, b), edges)
        running = np.cumsum(counts) / members(frames, a).sum()
        np.testing.assert_array_equal(column(result.columns, f"n_{a}-{b}"), running)
        np.testing.assert_allclose(column(result.columns, f"g_{a}-{b}"), g, rtol=1e-13)
    everyone = members(frames, "O") | True
    np.testing.assert_allclose(
        column(result.columns, "g_total"), reference(frames, everyone, everyone, edges)[1], rtol=1e-13
    )
    assert any("not periodic" in note for note in result.notes) == (not all(periodic))
    assert ("sq" in result.more) == all(periodic)


def test_groups_by_index_and_region_and_a_list_of_pairs() -> None:
    frames = Frames(2.0 * TRICLINIC, "OOOOOOPPPPLiLi", changing=True)
    groups = {"some": {"ids": [0, 3, 7]}, "low": {"region": {"z": [0.0, 4.0]}, "species": ["O", "P"]}}
    result = frames.fed(quantity(frames, rmax=6.0, bins=30, groups=groups, pairs=["some-low", "low-low"]))
    some = np.tile(np.isin(np.arange(12), [0, 3, 7]), (3, 1))
    wrapped = np.array([sample.wrapped[0] for sample in frames.samples()])
    low = (wrapped[:, :, 2] < 4.0) & ~members(frames, "Li")
    for name, first in (("some-low", some), ("low-low", low)):
        counts, g = reference(frames, first, low, np.linspace(0.0, 6.0, 31))
        np.testing.assert_allclose(column(result.columns, f"n_{name}"), np.cumsum(counts) / first.sum(), rtol=1e-15)
        np.testing.assert_allclose(column(result.columns, f"g_{name}"), g, rtol=1e-13)


def test_as_freud() -> None:
    freud = pytest.importorskip("freud")
    matrix = np.array([[12.0, 0.0, 0.0], [3.0, 13.0, 0.0], [-2.0, 1.5, 14.0]])
    frames = Frames(matrix, "O" * 150, n_frames=3)
    result = frames.fed(quantity(frames, rmax=5.5, bins=55))
    box = freud.box.Box.from_matrix(matrix.T)
    theirs = freud.density.RDF(55, 5.5, normalization_mode="finite_size")
    for positions in frames.positions:
        theirs.compute((box, box.wrap(positions)), reset=False)
    np.testing.assert_allclose(column(result.columns, "g_O-O"), theirs.rdf, rtol=1e-5, atol=1e-5)


INPUT = """
[system]
crystal = { symbol = "Ar", lattice = "fcc", a = 5.5, repeat = [3, 3, 3], rattle = 0.1 }
velocities = { temperature = 300.0, seed = 1 }
[potential]
kind = "lj"
epsilon = 0.0103
sigma = 3.4
cutoff = 6.0
[dynamics]
ensemble = "nve"
timestep = 4.0
steps = 50
[output]
trajectory = { every = 10, fields = ["position", "image"], dtype = "float32" }
"""


def test_as_mdanalysis_reads_the_trajectory(tmp_path: Path) -> None:
    mda = pytest.importorskip("MDAnalysis")
    from MDAnalysis.analysis.rdf import InterRDF

    (tmp_path / "input.toml").write_text(INPUT)
    Simulation.from_config(load_input(tmp_path / "input.toml"), Comm.serial()).run()
    path = tmp_path / "run" / "trajectory.h5"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        universe = mda.Universe.empty(108, trajectory=False)
        universe.load_new(str(path), format="H5MD")
        theirs = InterRDF(universe.atoms, universe.atoms, 80, (0.0, 8.0), exclusion_block=(1, 1)).run().results
    make = partial(build, table(rmax=8.0, bins=80))
    found = analyze_frames(make, open_frames(path), slice(None), Comm.serial())
    assert found.samples == 6
    np.testing.assert_allclose(column(found.result.columns, "g_Ar-Ar"), theirs.rdf, rtol=1e-5, atol=1e-5)
    values = {value.name: value.value for value in found.result.values}
    assert values["r_peak_Ar-Ar"] == pytest.approx(theirs.bins[np.argmax(theirs.rdf)])
    assert values["n_Ar-Ar"] == pytest.approx(12.0, abs=0.7)


def test_noise_does_not_end_the_first_peak() -> None:
    """The first minimum of a liquid, where g passes 1 many times in narrow bins."""
    r: NDArray[np.float64] = (np.arange(400, dtype=np.float64) + 0.5) * 0.02
    g = np.where(r < 3.2, 0.0, 1.0 + 1.9 * np.exp(-(((r - 3.7) / 0.35) ** 2)) - 0.4 * np.exp(-(((r - 5.3) / 0.5) ** 2)))
    g += np.where(r > 6.2, 0.25 * np.exp(-(((r - 6.9) / 0.4) ** 2)), 0.0)
    noisy = g + np.random.default_rng(2).normal(0.0, 0.03, 400) * (r > 3.2)
    running, unknown = np.cumsum(g * r * r), np.full(400, np.nan)
    found = {value.name: value.value for value in peak("Ar-Ar", r, noisy, unknown, running, unknown)}
    assert found["r_peak_Ar-Ar"] == pytest.approx(3.7, abs=0.1)
    assert found["n_Ar-Ar"] == pytest.approx(np.interp(5.3, r, running), rel=0.05)


def test_transform_of_a_step() -> None:
    """Against an integral by quadrature: g = 0 up to 3 Å, and 1 beyond."""
    edges = np.linspace(0.0, 12.0, 1201)
    g = np.where(edges[:-1] < 3.0 - 1e-9, 0.0, 1.0)[None]
    q = wave_numbers(edges)
    assert q[0] == pytest.approx(0.3) and q[-1] == pytest.approx(20.0)
    found = structure_factors(edges, g, np.array([0.02]), np.array([1.0]), q)[0]
    for k in (0, 20, 100, len(q) - 1):
        hole = quad(lambda r, q: r * r * np.sinc(q * r / np.pi) * np.sinc(r / 12.0), 0.0, 3.0, (q[k],), limit=200)[0]
        assert found[k] == pytest.approx(1.0 - 4.0 * np.pi * 0.02 * hole, abs=2e-4)


def test_transform_and_direct_sums_agree() -> None:
    """Beyond the width of the window, of atoms that keep their distance."""
    rng = np.random.default_rng(5)
    frames = Frames(20.0 * np.eye(3), "O" * 160 + "P" * 80, n_frames=4)
    for k in range(4):
        placed = np.zeros((0, 3))
        while len(placed) < 240:
            new = rng.uniform(0.0, 20.0, 3)
            away = new - placed
            if not (np.linalg.norm(away - 20.0 * np.rint(away / 20.0), axis=1) < 2.2).any():
                placed = np.append(placed, new[None], axis=0)
        frames.positions[k] = placed
    transformed = frames.fed(quantity(frames, rmax=10.0, bins=400)).more["sq"]
    settings = structure_factor.StructureFactorTable(kind="structure-factor", every=1, qmax=8.0, dq=0.5, vectors=0)
    direct = frames.fed(structure_factor.build(settings, frames.system(), "observe")).columns
    q = column(direct, "q_A-1")
    for name in ("s_total", "s_O-O", "s_O-P"):
        smooth = np.interp(q, column(transformed, "q_A-1"), column(transformed, name))
        np.testing.assert_allclose(smooth[2:], column(direct, name)[2:], atol=0.08)
    total = column(direct, "s_total")
    assert total.max() > 1.1 and total[1] < 0.6


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"species": ["Ag"]}, "there is no Ag in the system"),
        ({"pairs": ["O-Ag"]}, "there is no group or element 'Ag'"),
        ({"groups": {"late": {"ids": [12]}}}, "has the index 12, but there are 12 atoms"),
    ],
)
def test_what_is_not_there_is_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        quantity(Frames(), **keys)


def test_no_box_is_refused() -> None:
    frames = Frames()
    frames.cells = [Cell.from_rows(np.diag([5.0, 5.0, 0.0]), (True, True, False))] * 3
    with pytest.raises(InputError, match="the system has no box"):
        quantity(frames)


def test_an_empty_region_is_refused() -> None:
    frames = Frames()
    empty = quantity(frames, groups={"far": {"region": {"z": [90.0, 99.0]}}})
    with pytest.raises(InputError, match="group 'far' holds no atom"):
        empty.add(frames.samples()[0])


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"pairs": ["O"]}, "is no pair of elements or groups"),
        ({"pairs": ["O-P", "O-P"]}, "a pair is listed twice"),
        ({"rmax": 0.1}, "narrower than"),
    ],
)
def test_what_cannot_be_read_is_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        table(**keys)


def argon(number: int, position: NDArray[np.float64], cell: Cell) -> Sample:
    n, table = len(position), SpeciesTable(("Ar",), np.array([18]), np.array([40.0]))
    zeros = np.zeros(n, dtype=np.int64)
    return Sample(number, number, 1.0 * number, cell, table, n, Comm.serial(), np.arange(n), zeros, position)


@pytest.mark.parametrize("pair", ["all-all", "all-same", "all-part", "part-other", "part-all"])
def test_overlapping_groups_of_a_gas_have_g_of_one(pair: str) -> None:
    """An atom is no pair with itself, in whichever groups it is."""
    rng, n = np.random.default_rng(2), 20
    frames = [rng.uniform(0.0, 10.0, (n, 3)) for _ in range(300)]
    cell = Cell(10.0 * np.eye(3))
    of = {"all": range(n), "same": range(n), "part": range(4), "other": range(2, 8)}
    table_of = {name: {"ids": list(ids)} for name, ids in of.items()}
    species = SpeciesTable(("Ar",), np.array([18]), np.array([40.0]))
    system = System(species, n, cell, 1.0, len(frames), Comm.serial())
    made = build(table(rmax=5.0, bins=1, groups=table_of, pairs=[pair]), system, "observe")
    for number, position in enumerate(frames):
        made.add(argon(number, position, cell))
    found = made.result(Comm.serial())
    g, error = column(found.columns, f"g_{pair}"), column(found.columns, f"g_{pair}_err")
    assert abs(g[0] - 1.0) < 4.0 * error[0] < 0.05


def test_atoms_may_leave_a_region_and_pairs_may_not_exist() -> None:
    """Later on an empty region adds nothing; the first sample must have an atom in it."""
    species, cell, n = SpeciesTable(("Ar",), np.array([18]), np.array([40.0])), Cell(10.0 * np.eye(3)), 2
    system = System(species, n, cell, 1.0, 3, Comm.serial())
    left = {"left": {"region": {"x": [0.0, 5.0]}}, "all": {"species": ["Ar"]}}
    near = np.array([[1.0, 0.0, 0.0], [3.0, 0.0, 0.0]])
    for kind, keys in GROUPED.items():
        made = quantity_of(load(OBSERVERS[kind].config)(kind=kind, every=1, groups=left, **keys), system, "observe")
        for number, shift in enumerate((0.0, 5.0, 5.0)):
            made.add(argon(number, near + [shift, 0.0, 0.0], cell))
        assert made.result(Comm.serial()).columns
        empty = quantity_of(load(OBSERVERS[kind].config)(kind=kind, every=1, groups=left, **keys), system, "observe")
        with pytest.raises(InputError, match="group 'left' holds no atom"):
            empty.add(argon(0, near + [5.0, 0.0, 0.0], cell))
    one = replace(system, n_total=1)
    alone = build(table(rmax=12.0, bins=6), one, "observe")
    alone.add(argon(0, near[:1], cell))
    result = alone.result(Comm.serial())
    assert np.isnan(column(result.columns, "g_Ar-Ar")).all()
    assert "no g(r) of Ar-Ar, total" in result.notes[0]


GROUPED: dict[str, dict[str, Any]] = {
    "rdf": {"rmax": 4.0}, "adf": {"cutoff": 3.0}, "coordination": {"cutoff": 3.0}, "steinhardt": {"cutoff": 3.0},
    "structure-factor": {"qmax": 2.0}, "profile": {},
}  # fmt: skip
