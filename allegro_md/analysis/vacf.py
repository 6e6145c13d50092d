"""Velocity autocorrelation, the vibrational density of states, and self-diffusion by Green and Kubo.

VACF(τ) = ⟨v(t) · v(t + τ)⟩ over the atoms of a group and origins t, with v relative to the velocity of the center of
mass. The density of states is the cosine transform of the mass-weighted VACF, Σ m v·v / Σ m v²: Dickey and Paskin,
Phys. Rev. 188, 1407 (1969). D = ⅓ ∫ VACF dτ: Allen and Tildesley, "Computer Simulation of Liquids", 2nd ed., Oxford
(2017), section 2.7.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from scipy.fft import dct

from allegro_md.accumulators.blocks import ENOUGH, Blocks, standard_error
from allegro_md.analysis.base import Sample, System
from allegro_md.analysis.classes import Classes
from allegro_md.analysis.comoving import center_of_mass
from allegro_md.analysis.green_kubo import are_independent, plateau, running_integral, too_short
from allegro_md.analysis.history import LaggedSums
from allegro_md.analysis.lags import Window
from allegro_md.analysis.result import Array, Column, Line, Panel, Result, Value
from allegro_md.analysis.table import GroupedTable
from allegro_md.analysis.time_axis import require_interval
from allegro_md.analysis.tracked import Tracked
from allegro_md.comm import Comm
from allegro_md.config.fields import Time, Whole
from allegro_md.errors import InputError
from allegro_md.units import A2_PER_FS_IN_CM2_PER_S

BITS = 60
"""Quanta of 2⁻⁶⁰ Å²/fs²; products are below 256 Å²/fs², velocities below 16 Å/fs."""

COARSE = 0.01
"""Part of the density of states in the last fifth below the Nyquist frequency that tells of too coarse sampling."""


class VacfTable(GroupedTable):
    """Velocity autocorrelation, vibrational density of states, Green-Kubo diffusion.

    Attributes:
        window: longest time of the correlation, fs.
        origin_every: samples between origins of time; memory is 24 bytes per atom for each origin within the window.
    """

    kind: Literal["vacf"]
    window: Time = 2000.0
    origin_every: Annotated[int, Whole(1)] = 10


class Vacf(Tracked[LaggedSums]):
    """Sums of products of velocities, by class of atoms and lag."""

    fields = ("position", "velocity")
    _lags: Window

    def __init__(self, table: VacfTable, system: System, where: str) -> None:
        """Sums without terms.

        Raises:
            InputError: a group that does not exist, no time between samples, or a window of less than three samples.
        """
        self._interval = require_interval(system, where)
        longest = int(table.window / self._interval + 1e-6) + 1
        if longest < 3:
            what = f"window = {table.window:g} fs holds fewer than 3 samples, which are {self._interval:g} fs apart"
            raise InputError(what, where, "choose a longer window, or take samples more often")
        self._classes = Classes(table, system, where, by_species=True)
        self._masses = system.species_table.masses
        self._lags = Window(longest, table.origin_every)
        self._where = where
        self._blocks = Blocks(lambda: LaggedSums(self._classes.count, longest, BITS))

    def add(self, sample: Sample) -> None:
        """Multiplies the velocities of a sample with earlier ones."""
        assert sample.velocity is not None
        own = sample.by_id(velocity=sample.velocity, species=sample.species)
        if self._history is None:
            position = sample.by_id(position=sample.position)["position"]
            self._history = self._new_history(sample, own["species"], position)
        mean = center_of_mass(own["velocity"], self._masses[own["species"]], sample.comm, "momentum")
        self._history.add(sample.number, own["velocity"] - mean, self._blocks.at(sample.number), product=True)

    def result(self, comm: Comm) -> Result:
        """Returns the VACF of each group, and what follows from it, with errors from blocks."""
        blocks = self._blocks.reduced(comm)
        lags = self._lags.table(blocks.n_samples)
        if len(lags) < 3:
            raise InputError(f"{blocks.n_samples} samples give no correlation", self._where, "3 are needed at least")
        time = np.asarray(lags * self._interval, dtype=np.float64)
        joined, length = blocks.joined(ENOUGH)
        joined = joined if are_independent(len(joined), length, len(lags)) else []
        members, masses = self._classes.members, self._masses[self._classes.species]
        whole = blocks.whole()
        vacf = whole.means(members)[:, : len(lags)]
        each = np.array([block.means(members)[:, : len(lags)] for block in joined]).reshape(-1, *vacf.shape)
        weighted = whole.means(members, masses)[:, : len(lags)]
        result = Result("Velocity autocorrelation", [Column("time_fs", time)])
        if not joined:
            result.notes.append(too_short(blocks.n_samples, len(lags), self._interval))
        panels = [_vacf(result, time, self._classes.names, vacf, each)]
        panels.append(_density_of_states(result, time, self._classes.names, weighted))
        panels.append(_green_kubo(result, time, self._classes.names, vacf, each))
        result.panels = panels
        return result

    def bytes_held(self, n_local: int) -> float:
        blocks = 32.0 * 40.0 * self._lags.longest * max(self._classes.count, len(self._masses))
        return (24.0 * self._lags.slots(0)[0] + 16.0) * n_local + blocks


def _vacf(result: Result, time: Array, names: tuple[str, ...], vacf: Array, each: Array) -> Panel:
    """Adds the correlation functions to a result, normalized and not.

    Args:
        result: changed.
        time: (lags,) fs.
        names: of the groups.
        vacf: (groups, lags) Å²/fs².
        each: (blocks, groups, lags) Å²/fs².
    """
    errors = standard_error(each)
    columns, lines = list(result.columns), []
    for k, name in enumerate(names):
        columns.append(Column(f"vacf_{name}", vacf[k] / vacf[k, 0]))
        lines.append(Line(time / 1000.0, vacf[k] / vacf[k, 0], name, errors[k] / vacf[k, 0]))
    for k, name in enumerate(names):
        columns += [Column(f"vacf_{name}_A2_fs2", vacf[k]), Column(f"vacf_{name}_err_A2_fs2", errors[k])]
    result.columns = columns
    return Panel(lines, "time (ps)", "VACF / VACF(0)", level=0.0)


def density_of_states(vacf: Array, interval: float) -> tuple[Array, Array]:
    """Cosine transform of a correlation function, damped by a Hann window to zero at its end.

    g(ν) = 12 ∫ C(τ) cos(2π ν τ) dτ, with C(0) = 1: its integral over ν is 3, for the three motions of an atom.

    Args:
        vacf: (lags,) any unit.
        interval: fs between lags.

    Returns:
        Frequencies (lags,) in THz up to the Nyquist frequency, and g (lags,) in 1/THz.
    """
    n = len(vacf) - 1
    step = interval / 1000.0
    damped = vacf / vacf[0] * np.cos(0.5 * np.pi * np.arange(n + 1) / n) ** 2
    return np.arange(n + 1) / (2.0 * n * step), 6.0 * step * np.asarray(dct(damped, type=1))


def _density_of_states(result: Result, time: Array, names: tuple[str, ...], weighted: Array) -> Panel:
    """Adds the density of states of each group to a result: `time` (lags,) fs, `weighted` (groups, lags) VACF."""
    columns: list[Column] = []
    lines = []
    for name, vacf in zip(names, weighted, strict=True):
        frequency, density = density_of_states(vacf, float(time[1]))
        columns = columns or [Column("frequency_THz", frequency)]
        columns.append(Column(f"dos_{name}", density))
        lines.append(Line(frequency, density, name))
        high = float(np.abs(density[4 * len(density) // 5 :]).sum() / np.abs(density).sum())
        if high > COARSE:
            result.notes.append(
                f"Warning: {100.0 * high:.1f} % of the density of states of {name} are just below the highest "
                f"frequency that samples every {time[1]:g} fs resolve, {frequency[-1]:.3g} THz. Higher ones appear at "
                "wrong frequencies: take samples more often."
            )
    result.more["dos"] = columns
    result.notes.append(
        "The density of states is mass-weighted, its integral over frequency is 3 per atom, and a Hann window makes "
        f"lines {1000.0 / time[-1]:.2g} THz wide."
    )
    return Panel(lines, "frequency (THz)", "density of states (1/THz)")


def _green_kubo(result: Result, time: Array, names: tuple[str, ...], vacf: Array, each: Array) -> Panel:
    """Adds the running integral and D of each group, its mean over the second half of the window.

    Args:
        result: changed.
        time: (lags,) fs.
        names: of the groups.
        vacf: (groups, lags) Å²/fs².
        each: (blocks, groups, lags) Å²/fs², of independent blocks.
    """
    scale = A2_PER_FS_IN_CM2_PER_S / 3.0
    integral, blocks = (scale * running_integral(values, float(time[1])) for values in (vacf, each))
    errors = standard_error(blocks)
    columns, lines = [Column("time_fs", time)], []
    for k, name in enumerate(names):
        columns += [Column(f"D_{name}_cm2_s", integral[k]), Column(f"D_{name}_err_cm2_s", errors[k])]
        lines.append(Line(time / 1000.0, integral[k], name, errors[k]))
        value, error, note = plateau(integral[k], blocks[:, k])
        label = f"self-diffusion coefficient of {name} (Green-Kubo)"
        result.values.append(Value(f"D_{name}", label, value, error, "cm2/s"))
        if note:
            result.notes.append(f"{name}: the running integral of the VACF {note}.")
    result.more["green-kubo"] = columns
    return Panel(lines, "time (ps)", "∫ VACF / 3 (cm²/s)", level=0.0)


def build(table: VacfTable, system: System, where: str) -> Vacf:
    """Makes the quantity of a table."""
    return Vacf(table, system, where)
