"""Shear viscosity by Green and Kubo: η = V / (kB T) ∫ ⟨σ(0) σ(t)⟩ dt.

The mean is over the five independent components of the traceless part of the stress: xy, xz, yz, (xx − yy)/2 and
(2 zz − xx − yy)/(2√3). That is the average over all directions of Daivis and Evans, J. Chem. Phys. 100, 541 (1994).
Allen and Tildesley, "Computer Simulation of Liquids", 2nd ed., Oxford (2017), section 2.7.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from allegro_md.accumulators.blocks import ENOUGH, Blocks, standard_error
from allegro_md.accumulators.counts import Counts, Joint
from allegro_md.accumulators.fixed_point import FixedPointSum
from allegro_md.analysis.base import Quantity, Sample, System
from allegro_md.analysis.green_kubo import Recent, are_independent, lags_of, notes_of, plateau, running_integral
from allegro_md.analysis.result import Array, Column, Line, Panel, Result, Value
from allegro_md.analysis.surroundings import require_volume
from allegro_md.analysis.table import QuantityTable
from allegro_md.analysis.time_axis import require_interval
from allegro_md.comm import Comm
from allegro_md.config.fields import Time
from allegro_md.errors import InputError, PhysicsError
from allegro_md.evaluation import Needs
from allegro_md.units import BOLTZMANN, EV_PER_A3_IN_GPA, GPA_FS_IN_MPA_S

PRODUCTS = 50
"""Bits of the sums of products: stresses are below 512 GPa, quanta 2⁻⁵⁰ GPa²."""

MEANS = 36
"""Bits of the sums of stress (GPa), temperature (K) and volume (Å³), which are below 2³²."""


class ViscosityTable(QuantityTable):
    """Shear viscosity by Green and Kubo, from the stress of every few fs.

    Attributes:
        window: longest time of the correlation, fs. The viscosity is the mean of the running integral over its second
            half.
    """

    of_thermo: ClassVar[bool] = True

    kind: Literal["viscosity"]
    window: Time = 4000.0


class _Sums(Joint):
    """By lag the products of stresses, GPa², and their number; sums of stress (GPa), temperature (K), volume (Å³)."""

    def __init__(self, lags: int) -> None:
        self.products, self.terms, self.means = FixedPointSum(lags, PRODUCTS), Counts(lags), FixedPointSum(7, MEANS)
        super().__init__(products=self.products, terms=self.terms, means=self.means)

    def correlation(self, n_lags: int) -> Array:
        """(n_lags,) GPa², mean over components and origins."""
        with np.errstate(invalid="ignore"):
            return np.asarray(self.products.value()[:n_lags] / (5.0 * self.terms.counts[:n_lags]))

    def averages(self) -> Array:
        """(7,) means of five stresses (GPa), temperature (K) and volume (Å³)."""
        return np.asarray(self.means.value() / self.terms.counts[0])


class Viscosity(Quantity):
    """Sums of products of stresses by lag; every sample is an origin. All ranks do the same."""

    fields = ()
    needs: ClassVar[Needs] = frozenset({"thermo"})
    divided: ClassVar[Literal["frames", "atoms", "no"]] = "no"

    def __init__(self, table: ViscosityTable, system: System, where: str) -> None:
        """Sums without terms.

        Raises:
            InputError: a system without volume, no time between samples, or a window of less than five samples.
        """
        require_volume(system.cell, where)
        self._interval = require_interval(system, where)
        self._longest = lags_of(table.window, self._interval, where)
        self._where = where
        self._recent = Recent(self._longest, 5)
        self._blocks = Blocks(lambda: _Sums(self._longest))

    def add(self, sample: Sample) -> None:
        """Multiplies the stress of a sample with earlier ones."""
        thermo = sample.thermo
        assert thermo is not None
        stress = traceless(thermo.stress)
        if not (np.isfinite(stress).all() and np.isfinite(thermo.volume)):
            raise PhysicsError(f"the stress at step {sample.step} is not finite, or the potential gives none")
        block, earlier = self._blocks.at(sample.number), self._recent.push(sample.number, stress)
        block.products.add(slice(0, len(earlier)), (earlier * stress).sum(axis=1))
        block.terms.counts[: len(earlier)] += 1
        block.means.add(slice(None), np.array([*stress, thermo.temperature, thermo.volume]))

    def result(self, comm: Comm) -> Result:
        """Returns the correlation, its running integral and the viscosity, with errors from blocks."""
        blocks = self._blocks
        n_lags = min(self._longest, blocks.n_samples)
        if n_lags < 5:
            raise InputError(f"{blocks.n_samples} samples give no correlation", self._where, "5 are needed at least")
        joined, length = blocks.joined(ENOUGH)
        joined = joined if are_independent(len(joined), length, n_lags) else []
        whole = blocks.whole()
        means = whole.averages()
        temperature, volume = means[5:]
        scale = GPA_FS_IN_MPA_S * volume / (BOLTZMANN * temperature * EV_PER_A3_IN_GPA)
        correlation = whole.correlation(n_lags)
        each = np.array([block.correlation(n_lags) for block in joined]).reshape(-1, n_lags)
        running, in_blocks = (scale * running_integral(values, self._interval) for values in (correlation, each))
        value, error, note = plateau(running, in_blocks)
        time = np.asarray(self._interval * np.arange(n_lags), dtype=np.float64)
        result = Result("Shear viscosity", [
            Column("time_fs", time),
            Column("correlation_GPa2", correlation), Column("correlation_err_GPa2", standard_error(each)),
            Column("viscosity_mPa_s", running), Column("viscosity_err_mPa_s", standard_error(in_blocks)),
        ])  # fmt: skip
        result.notes = notes_of(correlation, self._interval, blocks.n_samples, bool(joined), note)
        if static := _static_shear(means[:5], np.array([block.averages()[:5] for block in joined])):
            value, error = np.nan, np.nan
            result.notes.append(static)
        result.values = [Value("viscosity", "shear viscosity (Green-Kubo)", value, error, "mPa·s")]
        relative, bands = (np.asarray(part / correlation[0]) for part in (correlation, standard_error(each)))
        result.panels = [
            Panel([Line(time / 1000.0, relative, "", bands)], "time (ps)", "⟨σ(0) σ(t)⟩ / ⟨σ²⟩", level=0.0),
            Panel([Line(time / 1000.0, running, "", standard_error(in_blocks))], "time (ps)", "viscosity (mPa·s)"),
        ]
        return result

    def state_dict(self, comm: Comm) -> dict[str, Any]:
        return {"blocks": self._blocks.state_dict(), "recent": self._recent.rows.tolist()}

    def load_state_dict(self, state: dict[str, Any], comm: Comm) -> None:
        self._blocks.load_state_dict(state["blocks"])
        self._recent.rows[:] = state["recent"]

    def bytes_held(self, n_local: int) -> float:
        return (32.0 * 40.0 + 40.0) * self._longest

    def bytes_while_called(self, n_local: int) -> float:
        return 200.0 * self._longest


def traceless(stress: NDArray[np.float64]) -> Array:
    """(5,) independent components of the traceless part of `stress` (6,), in Voigt order xx yy zz yz xz xy."""
    xx, yy, zz, yz, xz, xy = stress.tolist()
    return np.array([xy, xz, yz, 0.5 * (xx - yy), (2.0 * zz - xx - yy) / (2.0 * np.sqrt(3.0))])


def _static_shear(means: Array, each: Array) -> str:
    """The sentence on a stress that does not decay, and so has no viscosity; empty if there is none.

    Args:
        means: (5,) GPa, of the components.
        each: (blocks, 5) GPa, likewise in each block.
    """
    if len(each) == 0 or not (np.abs(means) > 5.0 * standard_error(each)).any():
        return ""
    largest = float(means[np.argmax(np.abs(means))])
    return (
        f"The mean shear stress is not zero: {largest:.3g} GPa. That is no fluid in equilibrium, and has no viscosity."
    )


def build(table: ViscosityTable, system: System, where: str) -> Viscosity:
    """Makes the quantity of a table."""
    return Viscosity(table, system, where)
