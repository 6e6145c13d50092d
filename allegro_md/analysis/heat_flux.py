"""The heat flux of a system of strictly local energies, J = Σ_i v_i (E_i + K_i) + Σ_j W_j v_j.

It is d/dt Σ_i x_i (E_i + K_i) written with relative positions. W_j = −Σ_i d_ij ⊗ ∂E_i/∂d_ij is the virial of atom j in
the centroid form. For pair energies shared equally this is the flux of Irving and Kirkwood. Z. Fan et al., Phys. Rev.
B 92, 094301 (2015); D. Surblys et al., Phys. Rev. E 99, 051301 (2019).
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np

from allegro_md.analysis.base import Sample
from allegro_md.analysis.observer import require_folder, sample_of
from allegro_md.analysis.result import Array
from allegro_md.analysis.table import QuantityTable
from allegro_md.evaluation import Needs
from allegro_md.exact import ExactSum
from allegro_md.io.row_writer import RowWriter
from allegro_md.reporting import PRIORITY, ObserverSetting, Snapshot
from allegro_md.triggers import After, Every
from allegro_md.units import AMU_A2_PER_FS2

IN_RUN_ONLY = "a trajectory holds neither energies nor virials of atoms, of which heat fluxes are made"
"""Reason why nothing that is stored will do."""

NEEDS: Needs = frozenset({"thermo", "centroid_virial"})

HEADER = ",".join([
    "step", "time_fs", *(f"{part}_{axis}_eV_A_per_fs" for part in ("convective", "virial") for axis in "xyz"),
    "temperature_K", "volume_A3",
])  # fmt: skip


class HeatFluxTable(QuantityTable):
    """The heat flux itself, a row for each sample: its convective part, and that of the virials."""

    only_in_run: ClassVar[str] = IN_RUN_ONLY

    kind: Literal["heat-flux"]


class HeatFluxWriter(RowWriter):
    """Observer that writes the heat flux of each sample."""

    priority = PRIORITY["write"]
    needs: ClassVar[Needs] = NEEDS
    fields = ("velocity",)

    def __init__(self, table: HeatFluxTable, setting: ObserverSetting) -> None:
        """Nothing is written before the first row."""
        self.name, self.trigger = table.label, Every(table.every) & After(setting.first_step + table.after)
        self.files = (f"{setting.results}/{table.label}.csv",)
        super().__init__(setting.directory / self.files[0], setting.comm)
        self._zero: Array | None = None  # (n_species,) eV

    def bytes_per_sample(self, n_atoms: int) -> float:
        """Bytes of a row."""
        return 190.0

    def bytes_held(self, n_local: int) -> float:
        """None but what the evaluation holds."""
        return 0.0

    def bytes_while_called(self, n_local: int) -> float:
        """Velocities, virials and terms."""
        return 400.0 * n_local

    def header(self, snapshot: Snapshot) -> str:
        """The first line."""
        return HEADER

    def numbers(self, snapshot: Snapshot) -> list[float]:
        """Time, both parts of the flux, temperature and volume."""
        sample, thermo = sample_of(snapshot, 0, self, self._comm), snapshot.thermo
        assert thermo is not None
        if self._zero is None:
            self._zero = mean_energies(sample)
        return [snapshot.time, *heat_flux(sample, self._zero).ravel(), thermo.temperature, thermo.volume]

    def state_dict(self) -> dict[str, Any]:
        """Adds the energies from which those of atoms are counted."""
        return super().state_dict() | {"zero": None if self._zero is None else self._zero.tolist()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Cuts the file back, and takes up these energies."""
        super().load_state_dict(state)
        if state and state["zero"] is not None:
            self._zero = np.array(state["zero"])


def heat_flux(sample: Sample, zero: Array) -> Array:
    """Heat flux relative to the center of mass (collective).

    Args:
        sample: with velocities, energies and centroid virials.
        zero: (n_species,) eV, from which the energy of an atom of each species is counted.

    Returns:
        (2, 3) eV·Å/fs, the convective part Σ v (E + K) and the part Σ W v of the forces.

    Raises:
        PhysicsError: a term is not finite or out of range.
    """
    assert sample.energy is not None and sample.centroid_virial is not None
    v, w = _relative_velocities(sample), sample.centroid_virial
    energy = sample.energy + _kinetic_energies(sample, v) - zero[sample.species]
    carried = v * energy[:, None]
    pushed = [w[:, a, 0] * v[:, 0] + w[:, a, 1] * v[:, 1] + w[:, a, 2] * v[:, 2] for a in range(3)]
    terms = np.concatenate([carried, np.stack(pushed, axis=1)], axis=1)
    return np.asarray(sample.comm.reduce(ExactSum.of(terms, "heat flux", sample.ids))).reshape(2, 3)


def mean_energies(sample: Sample) -> Array:
    """(n_species,) eV, mean of E + K of the atoms of each species; 0 of one without atoms (collective)."""
    assert sample.energy is not None
    count = len(sample.species_table.symbols)
    energy = sample.energy + _kinetic_energies(sample, _relative_velocities(sample))
    of_species = np.where(sample.species[:, None] == np.arange(count), energy[:, None], 0.0)
    total = sample.comm.reduce(ExactSum.of(of_species, "energy", sample.ids))
    atoms = sample.comm.sum(np.bincount(sample.species, minlength=count).astype(np.int64))
    return np.asarray(total / np.maximum(atoms, 1))


def _masses(sample: Sample) -> Array:
    """(n, 1) amu."""
    return np.asarray(sample.species_table.masses[sample.species][:, None])


def _relative_velocities(sample: Sample) -> Array:
    """(n, 3) Å/fs, relative to the center of mass of all atoms."""
    assert sample.velocity is not None
    mass = _masses(sample)
    momentum = sample.comm.reduce(ExactSum.of(mass * sample.velocity, "momentum", sample.ids))
    return np.asarray(sample.velocity - momentum / sample.comm.reduce(ExactSum.of(mass, "mass", sample.ids)))


def _kinetic_energies(sample: Sample, v: Array) -> Array:
    """(n,) eV, of velocities `v` (n, 3) Å/fs."""
    square = v[:, 0] * v[:, 0] + v[:, 1] * v[:, 1] + v[:, 2] * v[:, 2]
    return np.asarray(0.5 * AMU_A2_PER_FS2 * _masses(sample)[:, 0] * square)


def build(table: HeatFluxTable, setting: ObserverSetting) -> HeatFluxWriter:
    """Makes the observer of an input table.

    Raises:
        InputError: the place of its results is taken.
    """
    require_folder(setting)
    return HeatFluxWriter(table, setting)
