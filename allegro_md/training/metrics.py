"""Errors of predictions against labels, summed batch by batch: a set of any size needs the memory of a batch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allegro_md.config.fields import SYMBOLS
from allegro_md.io.labeled import Frame
from allegro_md.units import EV_PER_A3_IN_GPA

Array = NDArray[np.float64]

MILLI = 1e3
"""meV per eV, meV/Å per eV/Å."""

MPA = 1e3 * EV_PER_A3_IN_GPA
"""MPa per eV/Å³."""

_SIZE, _ENERGY, _PER_ATOM, _STRESS = "size", "energy", "energy_per_atom", "stress"


@dataclass(frozen=True)
class Error:
    """Errors of one quantity.

    Attributes:
        mae: mean of their absolute values.
        rmse: root of the mean of their squares.
        count: how many numbers were compared.
    """

    mae: float
    rmse: float
    count: int


@dataclass(frozen=True)
class Metrics:
    """Errors of a set of frames; None where no frame has the label.

    Attributes:
        frames: how many.
        atoms: of all of them.
        energy: of the total energies, meV.
        energy_per_atom: meV/atom.
        forces: of the force components, meV/Å.
        stress: of the nine stress components, MPa.
        forces_by_species: of the force components, meV/Å, per element.
        by_kind: per ``config_type``; empty where the frames have none.
    """

    frames: int
    atoms: int
    energy: Error | None
    energy_per_atom: Error | None
    forces: Error | None
    stress: Error | None
    forces_by_species: Mapping[str, Error]
    by_kind: Mapping[str, Metrics] = field(default_factory=dict)

    def row(self, prefix: str) -> dict[str, float]:
        """The columns of `progress.Progress` that are errors, with a prefix; NaN where there is no label."""
        nothing = Error(math.nan, math.nan, 0)
        energy, forces, stress = (part or nothing for part in (self.energy_per_atom, self.forces, self.stress))
        return {
            f"{prefix}energy_mae": energy.mae,
            f"{prefix}energy_rmse": energy.rmse,
            f"{prefix}force_mae": forces.mae,
            f"{prefix}force_rmse": forces.rmse,
            f"{prefix}stress_rmse": 1e-3 * stress.rmse,
        }

    def as_dict(self) -> dict[str, Any]:
        """Nested plain values, the names of ``allegro-md eval --json``."""
        parts = (
            ("energy_meV", self.energy), ("energy_meV_per_atom", self.energy_per_atom),
            ("forces_meV_per_A", self.forces), ("stress_MPa", self.stress),
        )
        result: dict[str, Any] = {"frames": self.frames, "atoms": self.atoms}
        result |= {name: vars(error) if error else None for name, error in parts}
        result["forces_by_species"] = {symbol: vars(error) for symbol, error in self.forces_by_species.items()}
        if self.by_kind:
            result["by_config_type"] = {kind: metrics.as_dict() for kind, metrics in self.by_kind.items()}
        return result


class ErrorAccumulator:
    """Sums from which `Metrics` follow; those of several processes are added with `merge`."""

    def __init__(self) -> None:
        """Nothing summed yet."""
        # Per kind, per part (or element, for forces): (3,) numbers compared, Σ|error|, Σ error².
        self._sums: dict[str, dict[str, Array]] = {}

    def add(self, frames: Sequence[Frame], energy: Array, forces: Array, stress: Array | None = None) -> None:
        """Compares the predictions of some frames with their labels.

        Args:
            frames: B of them, with A atoms together.
            energy: (B,) eV.
            forces: (A, 3) eV/Å.
            stress: (B, 3, 3) eV/Å³; None: not predicted.
        """
        first = 0
        for i, frame in enumerate(frames):
            n = len(frame.numbers)
            self._add(frame.kind, _SIZE, np.array([1.0, n, 0.0]))
            if frame.energy is not None:
                error = np.array([MILLI * (energy[i] - frame.energy)])
                self._add(frame.kind, _ENERGY, _sums(error))
                self._add(frame.kind, _PER_ATOM, _sums(error / n))
            if frame.forces is not None:
                error = MILLI * (forces[first : first + n] - frame.forces)
                for number in np.unique(frame.numbers).tolist():
                    self._add(frame.kind, SYMBOLS[number - 1], _sums(error[frame.numbers == number]))
            if frame.stress is not None and stress is not None:
                self._add(frame.kind, _STRESS, _sums(MPA * (stress[i] - frame.stress)))
            first += n

    def merge(self, other: ErrorAccumulator) -> None:
        """Adds the sums of another process."""
        for kind, parts in other._sums.items():
            for part, sums in parts.items():
                self._add(kind, part, sums)

    def metrics(self) -> Metrics:
        """The errors of everything added so far."""
        kinds = sorted(self._sums)
        return self._of(kinds, {kind: self._of([kind]) for kind in kinds} if any(kinds) else {})

    def _add(self, kind: str, part: str, sums: Array) -> None:
        """Adds `sums` (3,) float64 — count, sum of absolute errors, sum of squares — to those of a kind and part."""
        parts = self._sums.setdefault(kind, {})
        parts[part] = parts.get(part, np.zeros(3)) + sums

    def _of(self, kinds: Sequence[str], by_kind: Mapping[str, Metrics] | None = None) -> Metrics:
        total: dict[str, Array] = {}
        for kind in kinds:
            for part, sums in self._sums[kind].items():
                total[part] = total.get(part, np.zeros(3)) + sums
        species = {symbol: total[symbol] for symbol in SYMBOLS if symbol in total}
        size = total.get(_SIZE, np.zeros(3))
        return Metrics(
            frames=int(size[0]),
            atoms=int(size[1]),
            energy=_error(total.get(_ENERGY)),
            energy_per_atom=_error(total.get(_PER_ATOM)),
            forces=_error(sum(species.values(), np.zeros(3))),
            stress=_error(total.get(_STRESS)),
            forces_by_species={symbol: error for symbol, sums in species.items() if (error := _error(sums))},
            by_kind=by_kind or {},
        )


def _sums(error: Array) -> Array:
    """Count, sum of absolute values and sum of squares (3,) of `error` (n, …), in its unit."""
    return np.array([error.size, np.abs(error).sum(), np.square(error).sum()])


def _error(sums: Array | None) -> Error | None:
    """The errors that follow from `sums` (3,): count, sum of absolute errors, sum of squares; None without any."""
    if sums is None or sums[0] == 0.0:
        return None
    count, absolute, square = sums.tolist()
    return Error(absolute / count, math.sqrt(square / count), int(count))
