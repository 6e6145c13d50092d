"""Ionic conductivity of ions that hop alone, together, or in neutral pairs."""

from __future__ import annotations

import numpy as np
import pytest
from feeding import Array, Frames, columns, fed, made

from allegro_md.cell import Cell
from allegro_md.comm import Comm
from allegro_md.errors import InputError

SAMPLES, IONS, SIZE, INTERVAL, TEMPERATURE = 1500, 40, 0.5, 10.0, 800.0
CHARGES = {"Li": 1.0, "I": -1.0}


def ions(together: int, seed: int = 1) -> Frames:
    """Li that jump in groups of so many, and I at rest, which carry the center of mass."""
    rng = np.random.default_rng(seed)
    jumps = np.repeat(rng.normal(scale=SIZE, size=(SAMPLES, IONS // together, 3)), together, axis=1)
    start = rng.uniform(0, 20, (2 * IONS, 3))
    moved = np.concatenate([np.cumsum(jumps, axis=0), np.zeros((SAMPLES, IONS, 3))], axis=1)
    return Frames(start + moved, ["Li"] * IONS + ["I"] * IONS, interval=INTERVAL)


def expected() -> float:
    """σ_NE in S/cm, in SI units by hand, of D = size²/(2 Δt)."""
    d = (SIZE * 1e-10) ** 2 / (2 * INTERVAL * 1e-15)
    return IONS * 1.602176634e-19**2 * d / (20e-10**3 * 1.380649e-23 * TEMPERATURE) * 0.01


@pytest.mark.parametrize("together", [1, 4])
def test_the_haven_ratio_tells_how_many_move_together(together: int) -> None:
    quantity = fed(ions(together), kind="conductivity", charges=CHARGES, temperature=TEMPERATURE)
    independent, collective, haven = quantity.result(Comm.serial()).values
    assert abs(independent.value - expected()) < 3.5 * independent.error + 0.02 * expected()
    assert abs(collective.value - together * expected()) < 3.5 * collective.error
    assert collective.error < 0.5 * collective.value
    assert abs(haven.value - 1 / together) < 3.5 * haven.error
    table = columns(quantity, "ions")
    assert table["element"] == ["I", "Li"] and table["charge_e"].tolist() == [-1.0, 1.0]
    assert any("I does not diffuse: it is left out" in note for note in quantity.result(Comm.serial()).notes)


def test_the_dipole_against_numpy() -> None:
    """At lags with all origins, to 1e-9; the frame is that of the center of mass."""
    frames = ions(1)
    found = columns(fed(frames, kind="conductivity", charges=CHARGES, temperature=TEMPERATURE))
    weights = frames.masses / frames.masses.sum()
    moved = frames.position - np.einsum("i,tik->tk", weights, frames.position)[:, None]
    charge = np.repeat([1.0, -1.0], IONS)
    dipole: Array = np.einsum("i,tik->tk", charge, moved)
    both = [np.mean(np.sum((dipole[lag:] - dipole[: SAMPLES - lag]) ** 2, axis=1)) for lag in range(16)]
    alone = [
        np.sum(charge**2 * np.mean(np.sum((moved[lag:] - moved[: SAMPLES - lag]) ** 2, axis=2), axis=0))
        for lag in range(16)
    ]
    np.testing.assert_allclose(found["collective_e2_A2"][:16], both, rtol=1e-8)
    np.testing.assert_allclose(found["independent_e2_A2"][:16], alone, rtol=1e-9)


def test_neutral_pairs_carry_no_charge() -> None:
    rng = np.random.default_rng(2)
    jumps = np.cumsum(rng.normal(scale=SIZE, size=(SAMPLES, 20, 3)), axis=0)
    frames = Frames(np.concatenate([jumps, jumps], axis=1), ["Li"] * 20 + ["I"] * 20, interval=INTERVAL)
    independent, collective, _ = fed(
        frames, kind="conductivity", charges=CHARGES, temperature=TEMPERATURE
    ).result(Comm.serial()).values
    assert independent.value > 0.0 and np.isnan(collective.value)


def test_charges_that_do_not_add_up_are_told() -> None:
    frames = ions(1)
    frames.position = frames.position[:100]
    result = fed(frames, kind="conductivity", charges={"Li": 1.0, "I": 0.0}, temperature=300.0).result(Comm.serial())
    assert any("the charges add up to 40 e" in note for note in result.notes)


def test_what_cannot_be_is_refused() -> None:
    frames = ions(1)
    keys = {"kind": "conductivity", "temperature": 300.0}
    for charges, message in (
        ({"Li": 1.0}, "no charge is given for I"), ({"Li": 1, "I": -1, "O": -2}, "there is no O in the system"),
        ({"Li": 0.0, "I": 0.0}, "all charges are 0"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=message):
            made(frames, charges=charges, **keys)
    for wrong in ({}, {"Xx": 1.0}, {"Li": "one"}, {"Li": float("nan")}):
        with pytest.raises(ValueError):
            made(frames, charges=wrong, **keys)
    frames.cells = [Cell(np.eye(3), (False, False, False), absent=(True, True, True))]
    with pytest.raises(InputError, match="the system has no box"):
        made(frames, charges=CHARGES, **keys)
