"""EAM against LAMMPS, against analytic functions tabulated by the test, and against ASE's reader."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from allegro_md.cell import Cell
from allegro_md.config import EamTerm
from allegro_md.config.potential import POTENTIALS
from allegro_md.errors import InputError, PhysicsError
from allegro_md.potentials.eam import Eam, hermite
from allegro_md.potentials.eam_file import read_eam

CUTOFF = 5.0
DECAY = {"Cu": 0.9, "Ni": 1.1}


def density(symbol: Any, r: Any) -> Any:
    return 3.0 * np.exp(-DECAY[symbol] * r) * (1.0 - r / CUTOFF) ** 3


def pair(a: Any, b: Any, r: Any) -> Any:
    return 4.0 * np.exp(-(DECAY[a] + DECAY[b]) * r) * (1.0 - r / CUTOFF) ** 3


def embedding(symbol: Any, rho: Any) -> Any:
    return -DECAY[symbol] * np.sqrt(rho + 0.1) + 0.02 * rho**2


def analytic(lab: Any, system: Any) -> Any:
    """Energy per atom from the functions themselves, over all images."""
    i, j, d = lab.pairs(system, CUTOFF)
    r = np.linalg.norm(d, axis=1)
    energy, rho = np.zeros(len(system.x)), np.zeros(len(system.x))
    names = np.array(system.symbols)[system.kind]
    for a in system.symbols:
        for b in system.symbols:
            of = (names[i] == a) & (names[j] == b)
            np.add.at(rho, i[of], density(b, r[of]))
            np.add.at(energy, i[of], 0.5 * pair(a, b, r[of]))
    return energy + np.array([embedding(s, x) for s, x in zip(names, rho, strict=True)])


def write_setfl(path: Path, elements: Any = ("Ni", "Cu"), n_rho: int = 2000, n_r: int = 2000) -> Any:
    """The functions above as a setfl file."""
    r, rho = np.linspace(0.0, CUTOFF, n_r), np.linspace(0.0, 20.0, n_rho)
    lines = ["made", "by a", "test", f"{len(elements)} " + " ".join(elements)]
    lines.append(f"{n_rho} {rho[1]:.17g} {n_r} {r[1]:.17g} {CUTOFF}")

    def write(values: Any) -> None:
        for row in range(0, len(values), 5):
            lines.append(" ".join(f"{v:.17g}" for v in values[row : row + 5]))

    for e in elements:
        lines.append("28 58.7 3.52 fcc")
        write(embedding(e, rho))
        write(density(e, r))
    for a, first in enumerate(elements):
        for second in elements[: a + 1]:
            write(r * pair(first, second, r))
    path.write_text("\n".join(lines))
    return path


def test_analytic_functions(lab: Any, tmp_path: Path) -> None:
    system = lab.liquid(("Cu", "Ni"), 2.5)  # the other order than in the file
    potential = POTENTIALS.builder("eam")(EamTerm(kind="eam", file=str(write_setfl(tmp_path / "x.eam.alloy"))),
        system.species)
    result = lab.run(potential, system)
    assert np.abs(result.energy - analytic(lab, system)).max() < 1e-8  # of the tables
    force, virial = lab.differences(lambda s: analytic(lab, s).sum(), system, 1e-4)
    assert np.abs(result.force - force).max() < 1e-6 * np.abs(force).max()
    assert np.abs(result.virial.sum(axis=0) - virial).max() < 1e-6 * np.abs(virial).max()


def test_forces_are_the_slope_of_the_tabulated_energy(lab: Any, tmp_path: Path) -> None:
    system = lab.liquid(("Cu", "Ni"), 2.5, seed=3)
    coarse = Eam(read_eam(write_setfl(tmp_path / "x.eam.alloy", n_rho=40, n_r=40)), system.species)
    force, virial = lab.differences(lambda s: lab.run(coarse, s, virial=False).energy.sum(), system)
    result = lab.run(coarse, system)
    assert np.abs(result.force - force).max() < 1e-7 * np.abs(force).max()
    assert np.abs(result.virial.sum(axis=0) - virial).max() < 1e-7 * np.abs(virial).max()


def test_every_bit_is_independent_of_skin_and_ranks(lab: Any, tmp_path: Path) -> None:
    system = lab.liquid(("Cu", "Ni"), 2.5, n=4)
    potential = Eam(read_eam(write_setfl(tmp_path / "x.eam.alloy")), system.species)
    whole = lab.run(potential, system, skin=0.0)
    assert np.abs(whole.fixed).max() > 0
    assert (whole.fixed.sum(axis=0) == 0).all()
    order = np.random.default_rng(1).permutation(64)
    for ranks, skin in [([np.arange(64)], 1.5), ([order], 0.4), (np.array_split(order, 3), 0.7)]:
        split = lab.run(potential, system, ranks, skin)
        assert (split.fixed == whole.fixed).all()
        assert (split.energy == whole.energy).all()
        assert (split.virial == whole.virial).all()


def fcc(lab: Any, symbol: Any, a: Any, n: Any) -> Any:
    basis = np.array([[0.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.5, 0.0, 0.5], [0.0, 0.5, 0.5]])
    cells = np.stack(np.meshgrid(*[np.arange(n)] * 3, indexing="ij"), -1).reshape(-1, 1, 3)
    x = a * (cells + basis).reshape(-1, 3)
    return lab.System(x, Cell(np.eye(3) * a * n), (symbol,), np.zeros(len(x), np.int16))


def test_lammps_copper(lab: Any, shared: Path) -> None:
    folder = shared / "data" / "lammps_eam"
    reference = json.loads((folder / "reference.json").read_text())["eam"]
    system = fcc(lab, "Cu", 3.615, 20)
    result = lab.run(Eam(read_eam(folder / "Cu_u3.eam"), system.species), system)
    assert result.energy.sum() == pytest.approx(-113280.00007, rel=1e-10)  # LAMMPS at full digits
    assert result.energy.sum() == pytest.approx(reference["thermo"][0][2], rel=1e-8)
    assert (result.fixed.sum(axis=0) == 0).all()
    # LAMMPS' metal units (its bar and its Boltzmann constant), 3N − 3 degrees of freedom at 1600 K.
    kinetic = 3 * (len(system.x) - 1) * 8.617343e-5 * 1600.0
    pressure = (kinetic + result.virial[:, :3].sum()) / (3.0 * system.cell.volume) * 1.6021765e6
    assert pressure == pytest.approx(reference["thermo"][0][4], rel=1e-6)
    assert pressure == pytest.approx(18703.5734, rel=1e-8)


def test_ase_reads_the_same_alloy(lab: Any, shared: Path) -> None:
    ase_eam = pytest.importorskip("ase.calculators.eam")
    from ase import Atoms

    path = shared / "data" / "lammps_eam" / "CuNi.eam.alloy"
    system = lab.liquid(("Cu", "Ni"), 2.3, n=4)
    result = lab.run(Eam(read_eam(path), system.species), system)
    names = np.array(system.symbols)[system.kind]
    atoms = Atoms(names, system.x, cell=system.cell.matrix, pbc=True)
    atoms.calc = ase_eam.EAM(potential=str(path))
    # ASE interpolates the same tables by other splines.
    assert result.energy.sum() == pytest.approx(atoms.get_potential_energy(), rel=1e-5)
    assert np.abs(result.force - atoms.get_forces()).max() < 1e-3 * np.abs(result.force).max()


def test_interpolation_is_exact_for_cubics_inside() -> None:
    x = np.arange(12.0)
    c = hermite(0.3 * x**3 - 2.0 * x**2 + x - 5.0)
    at = (((c[:, 0] * 0.25) + c[:, 1]) * 0.25 + c[:, 2]) * 0.25 + c[:, 3]
    t = x[:-1] + 0.25
    assert at[2:-2] == pytest.approx((0.3 * t**3 - 2.0 * t**2 + t - 5.0)[2:-2], abs=1e-12)


def test_density_beyond_the_table_goes_on_straight(lab: Any, tmp_path: Path) -> None:
    system = lab.System(np.array([[0.0, 0, 0], [0.9, 0, 0], [0, 0.9, 0], [0, 0, 0.9]]), Cell(np.eye(3) * 20), ("Ni",),
                        np.zeros(4, np.int16))
    tables = read_eam(write_setfl(tmp_path / "x.eam.alloy"))
    short = 100  # of 2,000 values: up to ρ = 0.99, below the density here
    object.__setattr__(tables, "embedding", tables.embedding[:, :short])
    result = lab.run(Eam(tables, system.species), system)
    r = np.linalg.norm(system.x[:, None] - system.x[None], axis=2)
    other = ~np.eye(4, dtype=bool)
    rho = np.where(other, density("Ni", r), 0.0).sum(axis=1)
    end = tables.rho_spacing * (short - 1)
    assert (rho > 1.1 * end).all()
    last = embedding("Ni", end)
    slope = (last - embedding("Ni", end - tables.rho_spacing)) / tables.rho_spacing
    expected = last + slope * (rho - end) + 0.5 * np.where(other, pair("Ni", "Ni", r), 0.0).sum(axis=1)
    assert result.energy == pytest.approx(expected, abs=1e-6)


def test_errors(lab: Any, tmp_path: Path) -> None:
    path = write_setfl(tmp_path / "x.eam.alloy")
    with pytest.raises(InputError, match="no functions for Ar"):
        Eam(read_eam(path), lab.liquid(("Ar",), 4.0).species)
    text = path.read_text()
    (tmp_path / "torn").write_text(text[: len(text) // 2])
    with pytest.raises(InputError, match="torn.*ends after"):
        read_eam(tmp_path / "torn")
    (tmp_path / "other").write_text("not\na\ntable\n")
    with pytest.raises(InputError, match="neither an EAM table"):
        read_eam(tmp_path / "other")
    two = lab.System(np.zeros((2, 3)), Cell(np.eye(3) * 20), ("Ni",), np.zeros(2, np.int16))
    with pytest.raises(PhysicsError, match="atom 0 .* nearest neighbor, atom 1, is 0 "):
        lab.run(Eam(read_eam(path), two.species), two)
