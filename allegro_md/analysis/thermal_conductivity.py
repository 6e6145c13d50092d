"""Thermal conductivity by Green and Kubo: κ = 1/(3 V kB T²) ∫ ⟨J(0)·J(t)⟩ dt, with the heat flux J of `heat_flux`.

M. S. Green, J. Chem. Phys. 22, 398 (1954); R. Kubo, J. Phys. Soc. Jpn. 12, 570 (1957). Of a solid, κ does not depend
on the constant from which the energy of an atom is counted: A. Marcolongo, P. Umari, S. Baroni, Nat. Phys. 12, 80
(2016).
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np

from allegro_md.accumulators.blocks import ENOUGH, Blocks, standard_error
from allegro_md.accumulators.counts import Counts, Joint
from allegro_md.accumulators.fixed_point import FixedPointSum
from allegro_md.analysis.base import Quantity, Sample, System
from allegro_md.analysis.green_kubo import Recent, are_independent, lags_of, notes_of, plateau, running_integral
from allegro_md.analysis.heat_flux import IN_RUN_ONLY, NEEDS, heat_flux, mean_energies
from allegro_md.analysis.result import Array, Column, Line, Panel, Result, Value
from allegro_md.analysis.surroundings import require_volume
from allegro_md.analysis.table import QuantityTable
from allegro_md.analysis.time_axis import require_interval
from allegro_md.comm import Comm
from allegro_md.config.fields import Time
from allegro_md.config.groups import AXES
from allegro_md.errors import InputError
from allegro_md.evaluation import Needs
from allegro_md.units import BOLTZMANN, EV_PER_A2_FS_IN_GW_PER_M2, EV_PER_A_FS_K_IN_W_PER_M_K

PRODUCTS = 64
"""Bits of the sums of products of J/√V: below 16 eV²/(Å·fs²), quanta 2⁻⁶⁴; a fluctuation is 1e-14 to 1e-2."""

MEANS = 36
"""Bits of the sums of temperature (K) and volume (Å³), which are below 2³²."""


class ThermalConductivityTable(QuantityTable):
    """Thermal conductivity by Green and Kubo, from the heat flux of every few fs.

    Attributes:
        window: longest time of the correlation, fs. The conductivity is the mean of the running integral over its
            second half.
    """

    only_in_run: ClassVar[str] = IN_RUN_ONLY

    kind: Literal["thermal-conductivity"]
    window: Time = 10000.0


class _Sums(Joint):
    """By lag and axis the products of J/√V, eV²/(Å·fs²), and their number; sums of temperature (K) and volume (Å³)."""

    def __init__(self, lags: int) -> None:
        self.products, self.terms = FixedPointSum(3 * lags, PRODUCTS), Counts(lags)
        self.means = FixedPointSum(2, MEANS)
        super().__init__(products=self.products, terms=self.terms, means=self.means)

    def correlation(self, n_lags: int) -> Array:
        """(3, n_lags) eV²/(Å·fs²), of each axis, mean over origins."""
        with np.errstate(invalid="ignore"):
            return np.asarray(self.products.value().reshape(-1, 3)[:n_lags].T / self.terms.counts[:n_lags])


class ThermalConductivity(Quantity):
    """Sums of products of heat fluxes by lag; every sample is an origin. All ranks keep the same."""

    fields = ("velocity",)
    needs: ClassVar[Needs] = NEEDS
    divided: ClassVar[Literal["frames", "atoms", "no"]] = "no"

    def __init__(self, table: ThermalConductivityTable, system: System, where: str) -> None:
        """Sums without terms.

        Raises:
            InputError: a system without volume, no time between samples, or a window of less than five samples.
        """
        require_volume(system.cell, where)
        self._interval = require_interval(system, where)
        self._longest = lags_of(table.window, self._interval, where)
        self._where, self._n_elements = where, len(set(system.species_table.symbols))
        self._zero: Array | None = None  # (n_species,) eV
        self._recent = Recent(self._longest, 3)
        self._blocks = Blocks(lambda: _Sums(self._longest))

    def add(self, sample: Sample) -> None:
        """Multiplies the heat flux of a sample with earlier ones."""
        assert sample.thermo is not None
        if self._zero is None:
            self._zero = mean_energies(sample)
        carried, pushed = heat_flux(sample, self._zero)
        flux = (carried + pushed) / np.sqrt(sample.thermo.volume)
        block, earlier = self._blocks.at(sample.number), self._recent.push(sample.number, flux)
        block.products.add(slice(0, 3 * len(earlier)), (earlier * flux).ravel())
        block.terms.counts[: len(earlier)] += 1
        block.means.add(slice(None), np.array([sample.thermo.temperature, sample.thermo.volume]))

    def result(self, comm: Comm) -> Result:
        """Returns the correlation, its running integral and the conductivity, with errors from blocks."""
        blocks = self._blocks
        n_lags = min(self._longest, blocks.n_samples)
        if n_lags < 5:
            raise InputError(f"{blocks.n_samples} samples give no correlation", self._where, "5 are needed at least")
        joined, length = blocks.joined(ENOUGH)
        joined = joined if are_independent(len(joined), length, n_lags) else []
        whole = blocks.whole()
        temperature, volume = whole.means.value() / whole.terms.counts[0]
        of_axes = whole.correlation(n_lags)
        each = np.array([block.correlation(n_lags) for block in joined]).reshape(-1, 3, n_lags)
        scale = EV_PER_A_FS_K_IN_W_PER_M_K / (BOLTZMANN * temperature**2)
        running, in_blocks = (scale * running_integral(values, self._interval) for values in (of_axes, each))
        mean, errors = running.mean(axis=0), standard_error(in_blocks.mean(axis=1))
        correlation, correlation_error = of_axes.mean(axis=0), standard_error(each.mean(axis=1))
        time = np.asarray(self._interval * np.arange(n_lags), dtype=np.float64)
        density = EV_PER_A2_FS_IN_GW_PER_M2**2 / volume
        result = Result("Thermal conductivity", [
            Column("time_fs", time),
            Column("hfacf_GW2_m4", density * correlation), Column("hfacf_err_GW2_m4", density * correlation_error),
            Column("kappa_W_mK", mean), Column("kappa_err_W_mK", errors),
            *(Column(f"kappa_{axis}_W_mK", values) for axis, values in zip(AXES, running, strict=True)),
        ])  # fmt: skip
        value, error, note = plateau(mean, in_blocks.mean(axis=1))
        result.values = [Value("kappa", "thermal conductivity (Green-Kubo)", value, error, "W/(m·K)")]
        for a, axis in enumerate(AXES):
            value, error, _ = plateau(running[a], in_blocks[:, a])
            result.values.append(Value(f"kappa_{axis}", f"thermal conductivity along {axis}", value, error, "W/(m·K)"))
        result.notes = notes_of(correlation, self._interval, blocks.n_samples, bool(joined), note)
        if self._n_elements > 1:
            result.notes.append(
                "The system has more than one element: the value is its thermal conductivity if none of them diffuses."
            )
        relative, bands = (np.asarray(part / correlation[0]) for part in (correlation, correlation_error))
        result.panels = [
            Panel([Line(time / 1000.0, relative, "", bands)], "time (ps)", "⟨J(0) J(t)⟩ / ⟨J²⟩", level=0.0),
            Panel([Line(time / 1000.0, mean, "", errors)], "time (ps)", "thermal conductivity (W/(m·K))"),
        ]
        return result

    def state_dict(self, comm: Comm) -> dict[str, Any]:
        zero = None if self._zero is None else self._zero.tolist()
        return {"blocks": self._blocks.state_dict(), "recent": self._recent.rows.tolist(), "zero": zero}

    def load_state_dict(self, state: dict[str, Any], comm: Comm) -> None:
        self._blocks.load_state_dict(state["blocks"])
        self._recent.rows[:] = state["recent"]
        self._zero = None if state["zero"] is None else np.array(state["zero"])

    def bytes_held(self, n_local: int) -> float:
        return (32.0 * 80.0 + 24.0) * self._longest

    def bytes_while_called(self, n_local: int) -> float:
        return 400.0 * self._longest + 400.0 * n_local


def build(table: ThermalConductivityTable, system: System, where: str) -> ThermalConductivity:
    """Makes the quantity of a table."""
    return ThermalConductivity(table, system, where)
