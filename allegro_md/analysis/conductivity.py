"""Ionic conductivity: of ions that move independently (Nernst and Einstein), and of the motion of all charges.

σ_NE = e²/(V kB T) Σ N q² D over the ions, and σ = e²/(6 V kB T) d/dτ ⟨|ΔM|²⟩ with M = Σ q r, all relative to the center
of mass of the atoms. Their ratio, σ_NE/σ, is the Haven ratio. Charges are formal ones. Marcolongo and Marzari, Phys.
Rev. Materials 1, 025402 (2017); France-Lanord and Grossman, Phys. Rev. Lett. 122, 136001 (2019).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationInfo

from allegro_md.accumulators.blocks import Blocks
from allegro_md.accumulators.total import Total
from allegro_md.analysis.base import Quantity, Sample, System
from allegro_md.analysis.diffusion import FEWEST_BLOCKS, Diffusion, Displacements, diffusion
from allegro_md.analysis.history import History, LaggedSums
from allegro_md.analysis.lags import Logarithmic, Points
from allegro_md.analysis.msd import Msd, MsdTable
from allegro_md.analysis.result import Array, Column, Line, Panel, Result, Value
from allegro_md.analysis.surroundings import require_volume
from allegro_md.analysis.table import QuantityTable
from allegro_md.comm import Comm
from allegro_md.config.fields import Marker, Temperature, element, problem, quoted, show
from allegro_md.errors import InputError
from allegro_md.exact import ExactSum
from allegro_md.units import A2_PER_FS_IN_CM2_PER_S, BOLTZMANN, E2_PER_EV_A_FS_IN_S_PER_CM

BITS = 30
"""Quanta of 2⁻³⁰ e²Å²; squares of changes of the dipole are below 2.7e11 e²Å²."""

LARGEST_CHARGE = 10.0


class _Charges(Marker):
    def parse(self, value: Any, info: ValidationInfo) -> dict[str, float]:
        if not isinstance(value, dict) or not value:
            raise problem(f"expected a table of charges, got {show(value)}", "for example { Li = 1, P = 5, S = -2 }")
        for symbol, charge in value.items():
            element(symbol)
            if type(charge) not in (int, float) or not abs(charge) <= LARGEST_CHARGE:
                raise problem(f"{show(charge)} is no charge of an ion", "give it in elementary charges", str(symbol))
        return {symbol: float(charge) for symbol, charge in value.items()}


class ConductivityTable(QuantityTable):
    """Ionic conductivity, of independent ions and of all charges together, and the Haven ratio.

    Attributes:
        charges: charge of each element, in elementary charges, for example { Li = 1, S = -2 }.
        temperature: of the system, K.
        points: samples kept per factor of 4 in time, a multiple of 4: 24 · points bytes per atom for each factor.
    """

    kind: Literal["conductivity"]
    charges: Annotated[dict[str, float], _Charges()] = Field(examples=["{ Li = 1, P = 5, S = -2 }"])
    temperature: Temperature = Field(examples=["600"])
    points: Points = 16


class Conductivity(Quantity):
    """Displacements of ions, and of the dipole; the latter are the same on all ranks."""

    fields = ("position", "image")
    divided: ClassVar[Literal["frames", "atoms", "no"]] = "atoms"

    def __init__(self, table: ConductivityTable, system: System, where: str) -> None:
        """Sums without terms.

        Raises:
            InputError: an element has no charge, none of them has, or there is no volume.
        """
        require_volume(system.cell, where)
        ions = _ions(table, tuple(dict.fromkeys(system.species_table.symbols)), where)
        self._table = table
        self._ions = Msd(MsdTable(kind="msd", every=1, species=ions, points=table.points), system, where)
        self._of_species = np.array([table.charges[symbol] for symbol in system.species_table.symbols])
        self._interval, self._symbols = system.interval, system.species_table.symbols
        self._lags = Logarithmic(table.points)
        self._n_lags = len(self._lags.table(max(system.n_samples, 2)))
        self._dipoles = History(self._lags, np.zeros(1, np.int64), 1)
        self._blocks = Blocks(lambda: LaggedSums(1, self._n_lags, BITS))
        self._charge: Array | None = None  # (n_own,) e, which may be none on a rank
        self._count: NDArray[np.int64] = np.zeros(len(self._symbols), np.int64)  # atoms of each species
        self._volume = Total()

    def add(self, sample: Sample) -> None:
        """Compares positions and the dipole of a sample with earlier ones."""
        if self._charge is None:
            species = sample.by_id(species=sample.species)["species"]
            self._charge = self._of_species[species]
            self._count = sample.comm.sum(np.bincount(species, minlength=len(self._symbols)).astype(np.int64))
        self._ions.add(sample)
        moment = ExactSum.of(self._ions.newest() * self._charge[:, None], "dipole")
        dipole = np.asarray(sample.comm.reduce(moment))
        self._dipoles.add(sample.number, dipole[None], self._blocks.at(sample.number), product=False)
        self._volume.add(np.array([sample.cell.volume]))

    def result(self, comm: Comm) -> Result:
        """Returns both conductivities, with errors from blocks, and their ratio."""
        ions = self._ions.displacements(comm)
        found = {name: diffusion(name, moved, self._ions.spacing) for name, moved in ions.items()}
        together = self._together()
        collective = diffusion("All charges", together, np.nan, "e2 cm2/s")
        volume = float(self._volume.value()[0]) / self._blocks.n_samples
        scale = E2_PER_EV_A_FS_IN_S_PER_CM / (A2_PER_FS_IN_CM2_PER_S * volume * BOLTZMANN * self._table.temperature)
        time = np.asarray(together.lags * together.interval, dtype=np.float64)
        apart = np.sum([self._weight(name) * moved.msd for name, moved in ions.items()], axis=0)
        result = Result("Ionic conductivity", [
            Column("time_fs", time), Column("collective_e2_A2", together.msd),
            Column("collective_err_e2_A2", together.errors), Column("independent_e2_A2", apart),
        ])  # fmt: skip
        result.notes += [one.note for one in (*found.values(), collective)]
        independent, error = self._independent(found, result.notes)
        sigma = [scale * number for number in (independent, error, collective.value, collective.error)]
        haven = sigma[0] / sigma[2]
        relative = np.hypot(sigma[1] / sigma[0], sigma[3] / sigma[2])
        result.values = [
            Value("sigma_NE", "conductivity of independent ions (Nernst-Einstein)", sigma[0], sigma[1], "S/cm"),
            Value("sigma", "conductivity of all charges", sigma[2], sigma[3], "S/cm"),
            Value("haven_ratio", "Haven ratio, Nernst-Einstein over that of all charges", haven, haven * relative, ""),
        ]
        result.more["ions"] = self._table_of_ions(found, scale)
        result.notes += self._doubts()
        lines = [
            Line(time[1:] / 1000.0, together.msd[1:], "all charges", together.errors[1:]),
            Line(time[1:] / 1000.0, apart[1:], "independent ions"),
        ]
        result.panels = [Panel(lines, "time (ps)", "⟨|Δ Σ q r|²⟩ (e²Å²)", logarithmic=True)]
        return result

    def _doubts(self) -> list[str]:
        """The sentence on charges that do not add up to zero."""
        total = float(self._of_species @ self._count)
        if abs(total) <= 1e-6:
            return []
        return [
            f"Warning: the charges add up to {total:g} e. The conductivity of all charges is then that in the frame of "
            "the center of mass, and another in other frames."
        ]

    def state_dict(self, comm: Comm) -> dict[str, Any]:
        dipoles = {name: rows.tolist() for name, rows in self._dipoles.rows().items()}
        return {
            "ions": self._ions.state_dict(comm), "dipoles": dipoles, "blocks": self._blocks.state_dict(),
            "lags": self._n_lags, "volume": self._volume.state_dict(), "count": self._count.tolist(),
        }  # fmt: skip

    def load_state_dict(self, state: dict[str, Any], comm: Comm) -> None:
        self._ions.load_state_dict(state["ions"], comm)
        self._n_lags = max(self._n_lags, state["lags"])
        self._blocks.load_state_dict(state["blocks"])
        rows = {name: np.array(values) for name, values in state["dipoles"].items()}
        self._dipoles = History.restored(self._lags, 1, rows)
        self._volume.load_state_dict(state["volume"])
        self._count = np.array(state["count"], dtype=np.int64)

    def rows(self) -> Mapping[str, NDArray[Any]]:
        return {} if self._charge is None else {**self._ions.rows(), "charge": self._charge}

    def load_rows(self, rows: Mapping[str, NDArray[Any]]) -> None:
        self._ions.load_rows(rows)
        self._charge = rows["charge"]

    def bytes_held(self, n_local: int) -> float:
        return self._ions.bytes_held(n_local) + 8.0 * n_local

    def _weight(self, symbol: str) -> float:
        """N q² of an element, e²."""
        of = [k for k, name in enumerate(self._symbols) if name == symbol]
        return float(self._count[of].sum()) * self._table.charges[symbol] ** 2

    def _together(self) -> Displacements:
        """Those of the dipole, in e Å."""
        n = self._blocks.n_samples
        lags = self._lags.table(n)
        joined, length = self._blocks.joined(FEWEST_BLOCKS)
        each = np.array([block.means([[0]])[0, : len(lags)] for block in joined]).reshape(-1, len(lags))
        msd = self._blocks.whole().means([[0]])[0, : len(lags)]
        return Displacements(lags, self._lags.strides(n), self._interval, n, 3, msd, each, length)

    def _independent(self, found: Mapping[str, Diffusion], notes: list[str]) -> tuple[float, float]:
        """Σ N q² D of the ions and its standard error, e² cm²/s; ions that stay in their places do not count."""
        value, variance = 0.0, 0.0
        for name, one in found.items():
            if np.isfinite(one.limit):
                notes.append(f"{name} does not diffuse: it is left out of the conductivity of independent ions.")
                continue
            value += self._weight(name) * one.value
            variance += (self._weight(name) * one.error) ** 2
        return (value, float(np.sqrt(variance))) if value != 0.0 else (np.nan, np.nan)

    def _table_of_ions(self, found: Mapping[str, Diffusion], scale: float) -> list[Column]:
        """Charge, number, D and conductivity of each element; `scale` is S/cm per e² cm²/s."""
        weights = np.array([self._weight(name) for name in found])
        d, error = (np.array([getattr(one, name) for one in found.values()]) for name in ("value", "error"))
        return [
            Column("element", list(found)),
            Column("charge_e", np.array([self._table.charges[name] for name in found])),
            Column("D_cm2_s", d), Column("D_err_cm2_s", error),
            Column("sigma_S_cm", scale * weights * d), Column("sigma_err_S_cm", scale * weights * error),
        ]  # fmt: skip


def _ions(table: ConductivityTable, symbols: tuple[str, ...], where: str) -> tuple[str, ...]:
    """The elements among `symbols`, those of the system, that have a charge.

    Raises:
        InputError: charges are missing, or of other elements.
    """
    remedy = f"give the charges of {quoted(symbols)}; 0 for an element without"
    for symbol in symbols:
        if symbol not in table.charges:
            raise InputError(f"no charge is given for {symbol}", where, remedy)
    for symbol in table.charges:
        if symbol not in symbols:
            raise InputError(f"there is no {symbol} in the system", where, remedy)
    ions = tuple(symbol for symbol in symbols if table.charges[symbol] != 0.0)
    if not ions:
        raise InputError("all charges are 0", where, "give those of the ions")
    return ions


def build(table: ConductivityTable, system: System, where: str) -> Conductivity:
    """Makes the quantity of a table."""
    return Conductivity(table, system, where)
