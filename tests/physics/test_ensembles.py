"""The ensembles of given temperature, by `physical_validation`: argon and copper.

Kinetic energies have their gamma distribution, so have those of parts of the system, and the potential energies of two
temperatures differ by the ratio of their Boltzmann factors. Numbers drawn are those of fixed seeds.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ensembles
import numpy as np
import pytest

from allegro_md.potentials.base import Potential
from allegro_md.potentials.eam import Eam
from allegro_md.potentials.eam_file import read_eam
from allegro_md.potentials.lj import LennardJones
from allegro_md.state import SpeciesTable
from allegro_md.triggers import Every
from allegro_md.units import BOLTZMANN


@dataclass(frozen=True)
class Material:
    """A crystal to be heated to two temperatures.

    Attributes:
        symbol: element.
        lattice: fcc constant, Å.
        cells: along each axis.
        timestep: fs.
        kelvin: both temperatures; about two standard deviations of the potential energy apart.
    """

    symbol: str
    lattice: float
    cells: int
    timestep: float
    kelvin: tuple[float, float]


RELAXATION = 60.0
"""Of the kinetic energy, fs."""

# Hot and fluid, so that modes exchange energy fast and a short run will do; then Rahman's liquid, and a crystal.
ARGON, COPPER = Material("Ar", 6.0, 2, 8.0, (200.0, 245.0)), Material("Cu", 3.8, 2, 4.0, (2000.0, 2300.0))
LARGE_ARGON, LARGE_COPPER = Material("Ar", 5.7802, 5, 4.0, (94.4, 102.0)), Material("Cu", 3.66, 3, 4.0, (600.0, 690.0))


@dataclass(frozen=True)
class Figures:
    """What the checks of one ensemble have found.

    Attributes:
        distribution: p of the kinetic energy at both temperatures.
        parts: p of the kinetic energies of random halves.
        quantile: of the distributions of the potential energy at both temperatures, see `ensembles.slope_quantile`.
    """

    distribution: list[float]
    parts: list[float]
    quantile: float


def model(material: Material, shared: Path) -> Potential:
    """Lennard-Jones for argon; embedded atoms for copper (Foiles, Baskes, Daw, Phys. Rev. B 33, 7983 (1986))."""
    if material.symbol == "Ar":
        return LennardJones(np.array([[119.8 * BOLTZMANN]]), np.array([[3.405]]), 8.5)
    table = SpeciesTable(("Cu",), np.array([29]), np.array([63.546]))
    return Eam(read_eam(shared / "data" / "lammps_eam" / "Cu_u3.eam"), table)


def run(engine: Any, material: Material, potential: Potential, ensemble: str, kelvin: float, steps: int) -> Any:
    """Every tenth of `steps` steps in equilibrium, with velocities, as `ensembles.observed` gives it."""
    state = engine.crystal(material.symbol, material.lattice, material.cells, 2.0 * kelvin, rattle=0.05, seed=3)
    n, timestep = state.n_total, material.timestep
    settle = ensembles.thermostat("nvt-bussi", n, timestep, kelvin, RELAXATION)
    engine.simulate(state, potential, settle, steps // 4, recorder=engine.Recorder(trigger=Every(0)))
    integrator = ensembles.thermostat(ensemble, n, timestep, kelvin, RELAXATION, seed=7)
    recorder = engine.Recorder(trigger=Every(10), velocities=[])
    engine.simulate(state, potential, integrator, steps, recorder=recorder)
    return ensembles.observed(
        pytest.importorskip("physical_validation"), integrator, kelvin, recorder["kinetic"], recorder["potential"],
        np.full(n, state.species_table.masses[0]), state.cell.volume, np.array(recorder.velocities),
    )  # fmt: skip


def figures(engine: Any, material: Material, potential: Potential, ensemble: str, steps: int) -> Figures:
    """All three checks of one ensemble."""
    validation = pytest.importorskip("physical_validation")
    runs = [run(engine, material, potential, ensemble, kelvin, steps) for kelvin in material.kelvin]
    apart = [ensembles.uncorrelated(validation, r) for r in runs]
    whole = [float(validation.kinetic_energy.distribution(r, strict=True, verbosity=0)) for r in runs]
    parts = validation.kinetic_energy.equipartition(
        apart[0], strict=True, random_divisions=2, random_groups=2, random_division_seed=1, verbosity=0,
        data_is_uncorrelated=True,
    )  # fmt: skip
    found = Figures(whole, [float(p) for p in parts], ensembles.slope_quantile(validation, *apart))
    print(material.symbol, ensemble, found)
    return found


def require_canonical(found: Figures) -> None:
    """All p are above 1 %, for as many as there are; the potential energies differ as they must."""
    assert min(found.distribution) > 0.01 / len(found.distribution)
    assert min(found.parts) > 0.01 / len(found.parts)
    assert found.quantile < 3.0


@pytest.mark.parametrize("ensemble", ensembles.CANONICAL)
@pytest.mark.parametrize(("material", "steps"), [(ARGON, 2000), (COPPER, 3000)], ids=["argon", "copper"])
def test_canonical(engine: Any, shared: Path, material: Material, steps: int, ensemble: str) -> None:
    require_canonical(figures(engine, material, model(material, shared), ensemble, steps))


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("ensemble", ensembles.CANONICAL)
@pytest.mark.parametrize("material", [LARGE_ARGON, LARGE_COPPER], ids=["argon", "copper"])
def test_canonical_long(engine: Any, shared: Path, material: Material, ensemble: str) -> None:
    require_canonical(figures(engine, material, model(material, shared), ensemble, 10_000))


def test_berendsen_is_not_canonical(engine: Any, shared: Path) -> None:
    """The mean is right; the distribution is so much too narrow that a short run tells."""
    validation = pytest.importorskip("physical_validation")
    seen = run(engine, ARGON, model(ARGON, shared), "nvt-berendsen", ARGON.kelvin[0], 2000)
    freedom = 3 * seen.system.natoms - seen.system.ndof_reduction_tra
    kinetic = seen.observables.kinetic_energy
    assert kinetic.mean() == pytest.approx(0.5 * freedom * BOLTZMANN * ARGON.kelvin[0], rel=0.02)
    assert np.var(kinetic) < 0.5 * (2.0 / freedom) * np.mean(kinetic) ** 2
    assert validation.kinetic_energy.distribution(seen, strict=True, verbosity=0) < 1e-3
