"""Any rank can make any part of the system: once every atom, everywhere the same bits, never more than its share."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import ase
import ase.build
import numpy as np
import pytest
from ase.build import bulk, make_supercell
from ase.io import write

from allegro_md.comm import Comm
from allegro_md.errors import InputError
from allegro_md.io.structure import ReadOptions, SystemBuilder
from allegro_md.io.structure.crystal import BASES, unit_cell

SERIAL = Comm.serial()


def bricks(grid: Any, periodic: Any) -> Iterator[Any]:
    """Half-open bricks of a rank grid; open-ended on free axes."""
    for cell in product(*(range(n) for n in grid)):
        lower, upper = np.array(cell) / grid, (np.array(cell) + 1) / grid
        for axis in range(3):
            if not periodic[axis]:
                lower[axis] = -np.inf if cell[axis] == 0 else lower[axis]
                upper[axis] = np.inf if cell[axis] == grid[axis] - 1 else upper[axis]
        yield lower, upper


def owned(builder: Any, atoms: Any, lower: Any, upper: Any) -> Any:
    """What a domain keeps of a selection: its own definition of the owner, without any margin."""
    fraction = (atoms["position"] - builder.cell.origin) @ builder.cell.inverse
    fraction = np.where(builder.cell.periodic, fraction - np.floor(fraction), fraction)
    fraction = np.where(np.array(builder.cell.periodic) & (fraction >= 1.0), 0.0, fraction)
    return np.all((fraction >= lower) & (fraction < upper), axis=1)


def structure(tmp_path: Path, atoms: Any, **options: Any) -> Any:
    path = tmp_path / "start.extxyz"
    write(path, atoms)
    return SystemBuilder.from_structure(path, comm=SERIAL, **options)


@pytest.fixture
def tilted() -> Any:
    """A strongly tilted cell whose atoms lie many cells outside it, velocities included."""
    random = np.random.default_rng(3)
    atoms = ase.Atoms("CuAgCuH3", cell=[[5, 0, 0], [3, 4, 0], [-2, 3, 6]], pbc=True)
    atoms.positions = random.uniform(-40, 40, (6, 3))
    atoms.set_velocities(random.normal(size=(6, 3)))
    return atoms


@pytest.mark.parametrize("grid", [(1, 1, 1), (2, 1, 3), (5, 4, 2)])
@pytest.mark.parametrize("periodic", [(True, True, True), (True, False, True), (False, False, False)])
def test_every_atom_once_with_the_same_bits(tmp_path: Path, tilted: Any, grid: Any, periodic: Any) -> None:
    builder = structure(tmp_path, tilted, repeat=(3, 4, 2), periodic=periodic)
    # ASE's own repeat, sorted as CONTRACT's ids are: x slowest, atoms of a cell together.
    start: Any = ase.io.read(tmp_path / "start.extxyz")
    expected = start * (3, 4, 2)
    assert builder.n_total == len(expected)
    seen = np.zeros(builder.n_total, dtype=int)
    position, velocity = np.empty((2, builder.n_total, 3))
    whole = builder.select(*next(bricks((1, 1, 1), periodic)))
    assert np.array_equal(whole["id"], np.arange(builder.n_total))
    for lower, upper in bricks(grid, periodic):
        part = builder.select(lower, upper)
        assert np.array_equal(part["position"], whole["position"][part["id"]])  # bit for bit
        assert np.array_equal(part["species"], whole["species"][part["id"]])
        mine = owned(builder, part, lower, upper)
        seen[part["id"][mine]] += 1
        position[part["id"]], velocity[part["id"]] = part["position"], part["velocity"]
    assert np.all(seen == 1)
    assert np.allclose(position, expected.positions, atol=1e-10)
    assert np.allclose(velocity, expected.get_velocities() * ase.units.fs, rtol=1e-12)
    numbers = builder.species_table.numbers[whole["species"]]
    assert np.array_equal(numbers, expected.numbers)


@pytest.mark.parametrize(
    ("lattice", "symbol", "neighbors", "distance"),
    [
        ("fcc", "Cu", 12, 2**-0.5),
        ("bcc", "Fe", 8, 0.75**0.5),
        ("sc", "Po", 6, 1.0),
        ("diamond", "C", 4, 3**0.5 / 4),
        ("hcp", "Mg", 12, 1.0),
    ],
)
def test_crystals_have_their_coordination(lattice: str, symbol: str, neighbors: int, distance: Any) -> None:
    builder = SystemBuilder.from_crystal(symbol, lattice, 3.5, repeat=(3, 3, 3))
    atoms = builder.select(np.zeros(3), np.ones(3))
    built = ase.Atoms(numbers=[1] * builder.n_total, positions=atoms["position"], cell=builder.cell.matrix, pbc=1)
    lengths = built.get_all_distances(mic=True)[0]
    assert np.sum((lengths > 0.1) & (lengths < 3.5 * distance * 1.001)) == neighbors
    assert np.min(lengths[1:]) == pytest.approx(3.5 * distance, rel=1e-9)


@pytest.mark.parametrize("lattice", BASES)
def test_unit_cells_are_those_of_ase(lattice: str) -> None:
    """To the last bit, in the same order; hcp also with an axis of its own."""
    for a in (2.87, 3.61, 4.09, 5.7802):
        shape = {} if lattice == "hcp" else {"cubic": True}
        for ours, theirs in (
            (unit_cell("Cu", lattice, a), ase.build.bulk("Cu", lattice, a=a, **shape)),
            (unit_cell("Cu", "hcp", a, 1.7 * a), ase.build.bulk("Cu", "hcp", a=a, c=1.7 * a)),
        ):
            assert np.array_equal(ours.positions, theirs.positions) and np.array_equal(ours.numbers, theirs.numbers)
            assert np.array_equal(ours.cell.array, theirs.cell.array)


def test_rattle_belongs_to_the_atom_not_to_the_brick() -> None:
    flat = SystemBuilder.from_crystal("Ag", "fcc", 4.09, repeat=(6, 6, 6)).select(np.zeros(3), np.ones(3))
    shaken = SystemBuilder.from_crystal("Ag", "fcc", 4.09, repeat=(6, 6, 6), rattle=0.3, seed=5)
    whole = shaken.select(np.zeros(3), np.ones(3))
    moved = whole["position"] - flat["position"]
    assert moved.std() == pytest.approx(0.3, rel=0.03) and abs(moved.mean()) < 0.03
    for lower, upper in bricks((3, 2, 4), (True, True, True)):
        part = shaken.select(lower, upper)
        assert np.array_equal(part["position"], whole["position"][part["id"]])
        assert set(part["id"]) >= set(whole["id"][owned(shaken, whole, lower, upper)])
    other = SystemBuilder.from_crystal("Ag", "fcc", 4.09, repeat=(6, 6, 6), rattle=0.3, seed=6)
    assert not np.allclose(other.select(np.zeros(3), np.ones(3))["position"], whole["position"], atol=1e-3)


def test_memory_follows_the_share_not_the_system() -> None:
    def peak(repeat: Any, edge: Any) -> Any:
        builder = SystemBuilder.from_crystal("Ag", "fcc", 4.09, repeat=repeat, rattle=0.01)
        tracemalloc.start()
        atoms = builder.select(np.zeros(3), np.array(edge))
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return len(atoms["id"]), top

    small, small_peak = peak((40, 40, 40), (0.5, 0.5, 0.5))
    large, large_peak = peak((3000, 3000, 3000), (20 / 3000, 20 / 3000, 20 / 3000))  # 10¹¹ atoms
    assert large == pytest.approx(small, rel=0.1)
    assert large_peak < 1.1 * small_peak


def test_mass_makes_the_species(tmp_path: Path) -> None:
    atoms = ase.Atoms("HOH", positions=np.eye(3), masses=[2.014, None, None])
    builder = structure(tmp_path, atoms)
    table = builder.species_table
    assert table.symbols == ("H", "H", "O")
    assert np.allclose(table.masses, [1.008, 2.014, 15.999])
    whole = builder.select(np.full(3, -np.inf), np.full(3, np.inf))
    assert whole["species"].tolist() == [1, 2, 0]
    assert not builder.has_velocities and not whole["velocity"].any()
    assert not builder.cell.bounded
    overridden = structure(tmp_path, atoms, masses={"H": 1.0}).species_table
    assert overridden.masses.tolist() == [1.0, 15.999]


def test_frames_are_counted_from_either_end(tmp_path: Path) -> None:
    path = tmp_path / "many.extxyz"
    write(path, [bulk(s) for s in ("Cu", "Ag", "Au")])
    for frame, symbol in ((0, "Cu"), (2, "Au"), (-1, "Au"), (-3, "Cu")):
        builder = SystemBuilder.from_structure(path, options=ReadOptions(frame=frame), comm=SERIAL)
        assert builder.species_table.symbols == (symbol,)
    for frame in (3, -4):
        with pytest.raises(InputError, match=f"no frame {frame}"):
            SystemBuilder.from_structure(path, options=ReadOptions(frame=frame), comm=SERIAL)


def test_a_mass_of_an_absent_element_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="system.masses names Cu, .* has H, O"):
        structure(tmp_path, ase.Atoms("HOH", positions=np.eye(3)), masses={"H": 2.0, "Cu": 63.0})
    with pytest.raises(InputError, match="system.masses names Cu"):
        SystemBuilder.from_crystal("Ag", "fcc", 4.09, masses={"Cu": 63.0})


def test_bad_input_is_named(tmp_path: Path) -> None:
    def complains(match: Any, atoms: Any, **options: Any) -> None:
        with pytest.raises(InputError, match=match):
            structure(tmp_path, atoms, **options)

    complains("not finite", ase.Atoms("Ar2", positions=[[0, 0, 0], [np.nan, 0, 0]]))
    complains("no vector", ase.Atoms("Ar"), periodic=(True, False, False))
    complains("cannot be repeated along axis 1", ase.Atoms("Ar", cell=[3, 0, 0]), repeat=(2, 2, 1))
    complains("no volume", ase.Atoms("Ar", cell=[[1, 0, 0], [2, 0, 0], [0, 0, 1]], pbc=True))
    complains("dummy atoms", ase.Atoms("X"))
    complains("beyond 1e.08 Å", ase.Atoms("Ar", positions=[[0, 1e200, 0]]))
    complains("beyond 1e.08 Å", ase.Atoms("Ar", positions=[[0, 1e11, 0]], cell=[5, 5, 5], pbc=(True, False, True)))
    complains("longer than 1e.08 Å", ase.Atoms("Ar", cell=[5, 5, 1e200]))
    complains("no positive mass", ase.Atoms("Ar", masses=[0.0]))
    with pytest.raises(InputError, match="no such"):
        SystemBuilder.from_structure(tmp_path / "absent.xyz", comm=SERIAL)
    for name, text in (
        ("a.xyz", "nonsense\n"),
        ("b.cif", "\0\0"),
        ("c.toml", "a = 1"),
        ("d.extxyz", "2\n\nAr 0 0 0\n"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(InputError, match=name):
            SystemBuilder.from_structure(tmp_path / name, comm=SERIAL)


def test_supercell_equals_ase(tmp_path: Path) -> None:
    """Independent of our id rule: as a set of points, `repeat` is ASE's make_supercell."""
    primitive = bulk("Cu")
    builder = structure(tmp_path, primitive, repeat=(2, 3, 4))
    expected = make_supercell(primitive, np.diag([2, 3, 4]))
    assert np.allclose(builder.cell.matrix, expected.cell.array)
    found = ase.Atoms(positions=builder.select(np.zeros(3), np.ones(3))["position"], cell=expected.cell, pbc=True)
    for atom in expected.positions:
        away = ase.geometry.find_mic(found.positions - atom, expected.cell)[1]
        assert np.sum(away < 1e-8) == 1
