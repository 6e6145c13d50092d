"""The ensembles of given temperature and pressure, by `physical_validation`: solid argon and solid copper.

Kinetic energies have their gamma distribution, so have those of parts of the system. Enthalpies of two temperatures
differ by the ratio of their Boltzmann factors, and so do volumes of two pressures. Solids, because nothing holds the
shape of a fluid's cell.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import barostats
import numpy as np
import pytest

from allegro_md.potentials.base import Potential
from allegro_md.potentials.eam import Eam
from allegro_md.potentials.eam_file import read_eam
from allegro_md.potentials.lj import LennardJones
from allegro_md.triggers import Every
from allegro_md.units import BOLTZMANN, EV_PER_A3_IN_GPA


@dataclass(frozen=True)
class Solid:
    """A crystal at two temperatures and two pressures, each about two standard deviations apart.

    Attributes:
        symbol: element.
        lattice: fcc constant, Å.
        cells: along each axis.
        timestep: fs.
        kelvin: both temperatures.
        pressure: both pressures, GPa.
        thermostat_time: fs.
        barostat_time: of npt-mtk, fs; elastic forces make the cell vibrate about twenty times as fast.
        relaxation: of npt-crescale, fs.
        compressibility: about, 1/GPa.
    """

    symbol: str
    lattice: float
    cells: int
    timestep: float
    kelvin: tuple[float, float]
    pressure: tuple[float, float]
    thermostat_time: float
    barostat_time: float
    relaxation: float
    compressibility: float


SMALL_ARGON = Solid("Ar", 5.45, 2, 8.0, (55.0, 67.0), (0.0, 0.06), 100.0, 1500.0, 100.0, 0.6)
ARGON = Solid("Ar", 5.50, 3, 8.0, (70.0, 78.0), (0.0, 0.032), 100.0, 1500.0, 200.0, 0.85)
COPPER = Solid("Cu", 3.69, 3, 4.0, (900.0, 1020.0), (0.0, 1.7), 60.0, 600.0, 200.0, 0.009)
"""Warm enough that the vibrations of the cell exchange energy with those of the atoms within a picosecond."""


@dataclass(frozen=True)
class Figures:
    """What the checks of one barostat have found.

    Attributes:
        distribution: p of the kinetic energy in each run.
        parts: p of the kinetic energies of random halves.
        pressures: standard errors between the slope of the logarithm of both distributions of the volume and the
            difference of P/kT.
        temperatures: likewise, of the enthalpy and the difference of 1/kT; none of a single temperature.
    """

    distribution: list[float]
    parts: list[float]
    pressures: list[float]
    temperatures: list[float] = field(default_factory=list)


def model(solid: Solid, state: Any, shared: Path) -> Potential:
    """Argon's Lennard-Jones; embedded atoms for copper (Foiles, Baskes, Daw, Phys. Rev. B 33, 7983 (1986))."""
    if solid.symbol == "Ar":
        return LennardJones(np.array([[0.0103408]]), np.array([[3.405]]), 8.5)
    return Eam(read_eam(shared / "data" / "lammps_eam" / "Cu_u3.eam"), state.species_table)


def run(
    engine: Any, solid: Solid, shared: Path, keys: dict[str, Any], kelvin: float, pressure: float, steps: int
) -> Any:
    """Every tenth of `steps` steps in equilibrium, as `barostats.observed` gives it."""
    state = engine.crystal(solid.symbol, solid.lattice, solid.cells, 2.0 * kelvin, rattle=0.05, seed=3)
    potential = model(solid, state, shared)
    common = {
        "timestep": solid.timestep, "temperature": kelvin, "pressure": pressure,
        "thermostat_time": solid.thermostat_time,
    }  # fmt: skip
    stochastic = {"barostat_time": solid.relaxation, "compressibility": solid.compressibility, "seed": 7}
    settle = barostats.barostat(potential.info, state, ensemble="npt-crescale", **common, **stochastic)
    engine.simulate(state, potential, settle, steps // 5, recorder=engine.Recorder(trigger=Every(0)))
    own = {"barostat_time": solid.barostat_time} if keys["ensemble"] == "npt-mtk" else stochastic
    integrator = barostats.barostat(potential.info, state, **common, **own, **keys)
    recorder = engine.Recorder(trigger=Every(10), velocities=[])
    engine.simulate(state, potential, integrator, steps, recorder=recorder)
    masses = np.full(state.n_total, state.species_table.masses[0])
    return barostats.observed(
        pytest.importorskip("physical_validation"), integrator, kelvin, pressure, recorder, masses,
        np.array(recorder.velocities),
    )  # fmt: skip


def figures(engine: Any, solid: Solid, shared: Path, keys: dict[str, Any], steps: int, hot: bool = True) -> Figures:
    """All checks of one barostat: runs at two pressures and, if `hot`, at the higher temperature."""
    validation = pytest.importorskip("physical_validation")
    (cold, warm), (low, high) = solid.kelvin, solid.pressure
    states = [(cold, low), (cold, high), *([(warm, low)] if hot else [])]
    runs = [run(engine, solid, shared, keys, *state, steps) for state in states]
    whole = [float(validation.kinetic_energy.distribution(r, strict=True, verbosity=0)) for r in runs]
    parts = validation.kinetic_energy.equipartition(
        runs[0], strict=True, random_divisions=2, random_groups=2, random_division_seed=1, verbosity=0
    )
    apart = [[float(q) for q in validation.ensemble.check(runs[0], other, verbosity=0)] for other in runs[1:]]
    found = Figures(whole, [float(p) for p in parts], *apart)
    print(solid.symbol, keys, found)
    return found


def require_isobaric(found: Figures) -> None:
    """All p are above 1 %, for as many as there are; enthalpies and volumes differ as they must."""
    assert min(found.distribution) > 0.01 / len(found.distribution)
    assert min(found.parts) > 0.01 / len(found.parts)
    assert max([*found.pressures, *found.temperatures]) < 3.0


@pytest.mark.parametrize(("barostat", "steps"), [("mtk-flexible", 1500), ("crescale-anisotropic", 4000)])
def test_isobaric(engine: Any, shared: Path, barostat: str, steps: int) -> None:
    require_isobaric(figures(engine, SMALL_ARGON, shared, barostats.ISOBARIC[barostat], steps, hot=False))


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("barostat", barostats.ISOBARIC)
@pytest.mark.parametrize("solid", [ARGON, COPPER], ids=["argon", "copper"])
def test_isobaric_long(engine: Any, shared: Path, solid: Solid, barostat: str) -> None:
    keys = barostats.ISOBARIC[barostat]
    steps = 6000
    if keys["ensemble"] == "npt-crescale":  # a volume without inertia changes more slowly: more steps between frames
        steps = 12_000 if solid is COPPER else 36_000
    require_isobaric(figures(engine, solid, shared, keys, steps))


def berendsen(engine: Any, shared: Path, steps: int) -> list[Any]:
    """Runs at two pressures, 20 MPa apart."""
    solid = replace(SMALL_ARGON, relaxation=50.0)
    return [run(engine, solid, shared, {"ensemble": "npt-berendsen"}, 55.0, p, steps) for p in (0.0, 0.02)]


def test_berendsen_has_too_small_fluctuations(engine: Any, shared: Path) -> None:
    """Its mean volumes are right, and the compressibility κ that they give asks for the variance k_B T κ V."""
    low, high = (r.observables.volume for r in berendsen(engine, shared, 1500))
    canonical = BOLTZMANN * 55.0 * EV_PER_A3_IN_GPA * (low.mean() - high.mean()) / 0.02
    assert low.var() < 0.5 * canonical


@pytest.mark.long
def test_berendsen_is_not_isobaric(engine: Any, shared: Path) -> None:
    validation = pytest.importorskip("physical_validation")
    assert max(validation.ensemble.check(*berendsen(engine, shared, 10_000), verbosity=0)) > 3.0
