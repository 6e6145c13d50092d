"""A direct-force potential is one file and one registry line: it runs at constant temperature, and `verify` fits it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from allegro_md.comm import Comm
from allegro_md.config import load_input
from allegro_md.config.potential import POTENTIALS
from allegro_md.config.registry import Entry
from allegro_md.simulation.certificate import verify_full
from allegro_md.simulation.run import Simulation

INPUT = """
[system]
crystal = { symbol = "Ar", lattice = "fcc", a = 5.3, repeat = [3, 3, 3], rattle = 0.1 }
velocities = { temperature = 80.0, seed = 1 }
[potential]
kind = "crowded"
cutoff = 5.0
[dynamics]
ensemble = "nvt-bussi"
timestep = 2.0
steps = 200
temperature = 80.0
thermostat_time = 20.0
[output]
thermo = { every = 1 }
"""


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    POTENTIALS.register("crowded", Entry("direct_force:CrowdedTerm", "direct_force:build"))
    (tmp_path / "input.toml").write_text(INPUT)
    yield tmp_path / "input.toml"
    POTENTIALS.unregister("crowded")
    sys.modules.pop("direct_force", None)


def test_runs_at_constant_temperature(source: Path) -> None:
    """3N degrees of freedom, since its forces need not sum to zero; energies are not numbers, the temperature is."""
    simulation = Simulation.from_config(load_input(source), Comm.serial())
    assert simulation.loop.integrator.degrees_of_freedom == 3 * 108
    simulation.run()
    rows = np.genfromtxt(source.parent / "run" / "thermo.csv", delimiter=",", names=True)
    assert np.isnan(rows["potential_eV"]).all() and np.isnan(rows["pressure_GPa"]).all()
    assert rows["temperature_K"][50:].mean() == pytest.approx(80.0, abs=8.0)


def test_verify_applies_what_fits_and_names_the_rest(source: Path) -> None:
    checks = {check["name"]: check for check in verify_full(load_input(source), Comm.serial()).as_dict()["checks"]}
    assert [name for name, check in checks.items() if not check["passed"]] == []
    for name in ("environment", "locality", "repeat", "rebuild", "wrapping", "permutation", "rotation", "reflection"):
        assert checks[name]["compared"] > 0, name
    for name in ("force", "virial", "cutoff", "strain", "drift"):
        assert checks[name]["compared"] == 0 and "not derived from an energy" in checks[name]["explanation"], name
    assert checks["net force"]["compared"] == 0
