"""The rule of exchanges, on energies drawn from known canonical distributions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, stats

from allegro_md.io.exchanges import Exchanges
from allegro_md.simulation.tempering import count_exchanges, exchanged, pairs_of
from allegro_md.units import BOLTZMANN

KELVIN = (300.0, 360.0, 432.0, 518.4)
FREEDOM = 30
"""Harmonic degrees of freedom: the potential energy has a Gamma distribution of shape FREEDOM/2 and scale k_B T."""


def accepted(low: float, high: float) -> float:
    """Mean of min(1, exp Δ) over both Gamma distributions, by integration; `low` and `high` K."""
    cold, hot = (stats.gamma(0.5 * FREEDOM, scale=BOLTZMANN * kelvin) for kelvin in (low, high))
    beta = 1.0 / (BOLTZMANN * low) - 1.0 / (BOLTZMANN * high)

    def inner(u: float) -> float:  # u of the cold one: accepted for sure below it, else with exp(β (u − v))
        tail = integrate.quad(lambda v: np.exp(beta * (u - v)) * hot.pdf(v), u, hot.ppf(1 - 1e-12))[0]
        return float(hot.cdf(u) + tail) * float(cold.pdf(u))

    return float(integrate.quad(inner, 0.0, cold.ppf(1 - 1e-12), epsabs=1e-9)[0])


@pytest.fixture(scope="module")
def rows() -> Exchanges:
    """Ten thousand exchanges; between any two, energies are drawn anew at the temperature that each replica has."""
    rng, n = np.random.default_rng(5), len(KELVIN)
    holders = list(range(n))
    temperatures, potentials = [], []
    for number in range(1, 10_001):
        now = np.array([KELVIN[holders.index(k)] for k in range(n)])
        energies = rng.gamma(0.5 * FREEDOM, BOLTZMANN * now)
        holders = exchanged(holders, energies.tolist(), KELVIN, number, seed=3)
        temperatures.append([KELVIN[holders.index(k)] for k in range(n)])
        potentials.append(energies)
    return Exchanges(np.arange(1, 10_001), np.array(temperatures), np.array(potentials))


def test_accepted_as_often_as_gamma_distributions_overlap(rows: Exchanges) -> None:
    attempted, done = count_exchanges(rows, np.array(KELVIN), every=1)
    assert attempted.tolist() == [5000, 5000, 5000]
    for k in range(3):
        expected = accepted(KELVIN[k], KELVIN[k + 1])
        error = np.sqrt(expected * (1.0 - expected) / attempted[k])
        assert abs(done[k] / attempted[k] - expected) < 3.5 * error, (k, done[k] / attempted[k], expected)


def test_energies_at_each_temperature_stay_canonical(rows: Exchanges) -> None:
    """Those before an exchange are drawn; those that an exchange leaves behind must have the same distribution."""
    start = np.array(KELVIN)
    for energies in (
        rows.by_temperature(start), np.take_along_axis(rows.potentials, np.argsort(rows.temperatures, axis=1), axis=1)
    ):  # fmt: skip
        for k, kelvin in enumerate(KELVIN):
            mean = 0.5 * FREEDOM * BOLTZMANN * kelvin
            error = mean / np.sqrt(0.5 * FREEDOM * len(energies))
            assert abs(energies[:, k].mean() - mean) < 4.0 * error
            assert stats.kstest(energies[:, k], stats.gamma(0.5 * FREEDOM, scale=BOLTZMANN * kelvin).cdf).pvalue > 1e-3


def test_every_replica_visits_every_temperature_equally(rows: Exchanges) -> None:
    """A quarter of the time each; the visits are correlated, so that the bound is that of a few hundred round trips."""
    for replica in range(4):
        shares = [float(np.mean(rows.temperatures[:, replica] == kelvin)) for kelvin in KELVIN]
        assert np.allclose(shares, 0.25, atol=0.04), shares


def test_pairs_alternate() -> None:
    assert [list(pairs_of(number, 5)) for number in (1, 2, 3)] == [[0, 2], [1, 3], [0, 2]]
    assert [list(pairs_of(number, 2)) for number in (1, 2)] == [[0], []]


def test_the_lower_energy_goes_to_the_lower_temperature() -> None:
    assert exchanged([0, 1], [-1.0, -2.0], (300.0, 310.0), 1, seed=1) == [1, 0]
    assert exchanged([1, 0], [-1.0, -2.0], (300.0, 310.0), 2, seed=1) == [1, 0]  # no pair in even exchanges of two
    assert exchanged([1, 0], [0.0, -500.0], (300.0, 310.0), 1, seed=1) == [1, 0]  # would cost 500 eV
