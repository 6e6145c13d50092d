"""Means and errors of series whose mean, correlation and slope are known."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from periodic_reference import Frames, column
from scipy.signal import lfilter

from allegro_md.analysis.averages import Averages, AveragesTable, build
from allegro_md.analysis.base import Sample
from allegro_md.analysis.result import Result
from allegro_md.comm import Comm
from allegro_md.config import load_input
from allegro_md.errors import InputError, PhysicsError
from allegro_md.reporting import Thermo
from allegro_md.simulation.run import Simulation

SERIAL = Comm.serial()


def quantity(interval: float = 10.0) -> Averages:
    return build(AveragesTable(kind="averages", every=1), replace(Frames().system(), interval=interval), "observe")


VOLUME = 40849.752384


def samples(
    temperature: NDArray[np.float64], pressure: NDArray[np.float64], volume: float = VOLUME
) -> list[Sample]:
    blank = Frames(n_frames=1).samples()[0]
    return [
        replace(
            blank, number=k, step=k,
            thermo=Thermo(
                potential=-1e5 + 1e-6 * k, kinetic=0.1 * t, total=0.0, conserved=-1e5 + 2e-7 * k, temperature=t,
                pressure=p, volume=volume, stress=p * np.arange(6.0),
            ),
        )
        for k, (t, p) in enumerate(zip(temperature.tolist(), pressure.tolist(), strict=True))
    ]  # fmt: skip


def fed(found: Averages, series: list[Sample]) -> Result:
    """With a continuation in the middle."""
    for sample in series[: len(series) // 2]:
        found.add(sample)
    found.load_state_dict(json.loads(json.dumps(found.state_dict(SERIAL))), SERIAL)
    for sample in series[len(series) // 2 :]:
        found.add(sample)
    return found.result(SERIAL)


def autoregressive(phi: float, n: int, seed: int) -> NDArray[np.float64]:
    """Variance 1, correlation φᵏ."""
    noise = np.random.default_rng(seed).normal(size=n)
    noise[1:] *= np.sqrt(1.0 - phi**2)
    return np.asarray(lfilter([1.0], [1.0, -phi], noise))


def row(result: Result, name: str) -> dict[str, Any]:
    k = list(result.columns[0].values).index(name)
    return {c.name: c.values[k] for c in result.columns}


def test_known_series() -> None:
    temperature = 300.0 + 5.0 * autoregressive(0.9, 16000, 1)
    pressure = 0.1 + 0.02 * autoregressive(0.0, 16000, 2)
    result = fed(quantity(), samples(temperature, pressure))
    found = row(result, "temperature")
    assert found["mean"] == pytest.approx(temperature.mean(), rel=1e-13)
    assert found["tau_fs"] == pytest.approx(10.0 * 0.9 / (1.0 - 0.9), rel=0.3)
    assert found["err"] == pytest.approx(5.0 * np.sqrt(1.9 / 0.1 / 16000), rel=0.2)
    assert found["unit"] == "K" and np.isnan(found["needed_ps"])
    assert abs(found["mean"] - 300.0) < 4.0 * found["err"]
    assert row(result, "pressure")["tau_fs"] < 3.0
    assert row(result, "stress_xy")["mean"] == pytest.approx(5.0 * pressure.mean())
    volume = row(result, "volume")
    exact = {"mean": VOLUME, "err": 0.0, "tau_fs": 0.0, "drift_per_ps": 0.0, "drift_err_per_ps": 0.0}
    assert {name: volume[name] for name in exact} == exact
    slope = np.polyfit(0.01 * np.arange(16000), temperature, 1)[0]
    assert found["drift_per_ps"] == pytest.approx(slope, rel=1e-9)
    assert not any("temperature" in note for note in result.notes)


def test_the_error_of_the_drift_is_its_scatter() -> None:
    """Slopes of independent series, and their errors."""
    slopes, errors = [], []
    for seed in range(40):
        noise = autoregressive(0.5, 600, seed)
        found = row(fed(quantity(), samples(noise, noise)), "temperature")
        slopes.append(found["drift_per_ps"])
        errors.append(found["drift_err_per_ps"])
    assert np.std(slopes) == pytest.approx(np.sqrt(np.mean(np.square(errors))), rel=0.3)


def test_small_drifts_of_large_energies() -> None:
    noise = autoregressive(0.0, 2000, 3)
    result = fed(quantity(), samples(noise, noise))
    values = {value.name: value for value in result.values}
    drift = values["drift_conserved"]
    assert drift.value == pytest.approx(2e-7 * 100.0, rel=1e-3) and drift.unit == "eV/ps"
    assert any(note.startswith("Warning: the series drifts, potential by 0.002 ± ") for note in result.notes)
    assert not any("conserved by" in note for note in result.notes)


def test_how_long_a_series_should_be() -> None:
    """What is said to be missing is enough, in most cases, when it is there."""
    short = fed(quantity(), samples(autoregressive(0.99, 1000, 4), autoregressive(0.0, 1000, 5)))
    (note,) = [note for note in short.notes if "too short" in note]
    needed = row(short, "temperature")["needed_ps"]
    assert "errors of temperature, potential, kinetic, conserved: the true ones" in note
    slowest = np.nanmax(column(short.columns, "needed_ps"))
    assert f"{slowest / 10.0:.2g} times as long, {slowest:.3g} ps" in note
    n = int(needed / 0.01)
    long = fed(quantity(), samples(autoregressive(0.99, n, 6), autoregressive(0.0, n, 7)))
    assert n > 2000 and np.isnan(row(long, "temperature")["needed_ps"])


def test_without_volume_or_equal_spacing() -> None:
    noise = autoregressive(0.0, 50, 8)
    series = samples(noise, np.full(50, np.nan), volume=float("nan"))
    result = fed(quantity(float("nan")), series)
    assert list(result.columns[0].values) == ["temperature", "potential", "kinetic", "total", "conserved"]
    assert np.isnan(column(result.columns, "tau_fs")).all()
    assert result.notes[-1].startswith("The samples are not equally spaced in time")


def test_no_samples_and_broken_ones_are_refused() -> None:
    with pytest.raises(InputError, match="there are no samples"):
        quantity().result(SERIAL)
    noise = np.array([1.0, np.inf])
    with pytest.raises(PhysicsError, match="temperature is not finite at step 1"):
        fed(quantity(), samples(noise, np.ones(2)))


def test_of_a_run_as_numpy(tmp_path: Path) -> None:
    """Against the rows of its thermo.csv."""
    (tmp_path / "input.toml").write_text(
        """
        [system]
        crystal = { symbol = "Ar", lattice = "fcc", a = 5.5, repeat = [2, 2, 2], rattle = 0.1 }
        velocities = { temperature = 60.0, seed = 1 }
        [potential]
        kind = "lj"
        epsilon = 0.0103
        sigma = 3.4
        cutoff = 5.0
        [dynamics]
        ensemble = "nve"
        timestep = 4.0
        steps = 100
        [output]
        thermo = { every = 5 }
        observe = [{ kind = "averages", every = 5 }]
        """
    )
    Simulation.from_config(load_input(tmp_path / "input.toml"), SERIAL).run()
    thermo = np.genfromtxt(tmp_path / "run" / "thermo.csv", delimiter=",", names=True)
    lines = (tmp_path / "run" / "observe" / "averages.csv").read_text().splitlines()
    found = {line["name"]: line for line in csv.DictReader(line for line in lines if not line.startswith("#"))}
    assert float(found["temperature"]["mean"]) == pytest.approx(thermo["temperature_K"].mean(), rel=1e-9)
    assert float(found["stress_yz"]["mean"]) == pytest.approx(thermo["syz_GPa"].mean(), rel=1e-7)
    assert json.loads((tmp_path / "run" / "observe" / "averages.json").read_text())["samples"] == 21
