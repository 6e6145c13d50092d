"""Constants against ASE and published numbers; quantities with units."""

from __future__ import annotations

import pytest
from ase import units as ase_units
from scipy import constants

from allegro_md import units
from allegro_md.errors import InputError
from allegro_md.units import parse_quantity


def test_against_ase() -> None:
    """ASE's table is CODATA 2014: they agree to its precision."""
    assert units.BOLTZMANN == pytest.approx(ase_units.kB, rel=1e-6)
    assert units.EV_PER_A3_IN_GPA == pytest.approx(1.0 / ase_units.GPa, rel=1e-6)
    # ASE's unit of time is Å·sqrt(amu/eV).
    assert units.AMU_A2_PER_FS2 == pytest.approx(1.0 / ase_units.fs**2, rel=1e-6)


def test_published_numbers() -> None:
    assert units.BOLTZMANN == pytest.approx(8.617333262e-5, rel=1e-10)  # exact in the SI of 2019
    assert units.EV_PER_A3_IN_GPA == pytest.approx(160.2176634, rel=1e-12)
    assert units.AMU_A2_PER_FS2 == pytest.approx(1.66053906892e-17 / 1.602176634e-19, rel=1e-12)
    assert units.COULOMB_EV_A == pytest.approx(14.3996454784, rel=1e-9)
    assert constants.value("atomic mass constant") == pytest.approx(1.66053906892e-27, rel=1e-12)  # CODATA 2022


@pytest.mark.parametrize(
    ("text", "dimension", "value"),
    [
        ("2 fs", "time", 2.0), ("0.002ps", "time", 2.0), (2, "time", 2.0), ("1e-15 s", "time", 1.0),
        ("0.34 nm", "length", 3.4), ("1 bohr", "length", 0.529177210544), ("3.4", "length", 3.4),
        ("1 bar", "pressure", 1e-4), ("1 atm", "pressure", 1.01325e-4), ("1 eV/Å^3", "pressure", 160.2176634),
        ("1 kcal/mol", "energy", 0.0433641042), ("119.8 K", "energy", 119.8 * 8.617333262145e-5),
        ("1 Ha", "energy", 27.211386246), ("1 Ry", "energy", 13.605693123), ("96.48533212 kJ/mol", "energy", 1.0),
        ("-3.5e1 meV", "energy", -0.035), (".5 m/s", "velocity", 0.5e-5), ("+1 A/ps", "velocity", 1e-3),
        ("12 Da", "mass", 12.0), ("1/ps", "rate", 1e-3), ("0.5 1/fs", "rate", 0.5), ("2/ns", "rate", 2e-6),
    ],
)  # fmt: skip
def test_quantities(text: float | str, dimension: str, value: float) -> None:
    assert parse_quantity(text, dimension) == pytest.approx(value, rel=1e-8)


@pytest.mark.parametrize("bad", ["2 Å", "fs", "", "two fs", "1 2 fs", "nan", "1e999 fs", True, None, [1], float("inf")])
def test_faults_say_where(bad: object) -> None:
    with pytest.raises(InputError, match=r"input\.toml: dynamics\.timestep"):
        parse_quantity(bad, "time", "input.toml: dynamics.timestep")  # type: ignore[arg-type]
