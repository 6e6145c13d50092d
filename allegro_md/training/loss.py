"""Loss function: weighted means of penalties of the errors of energies, forces and stresses."""

from __future__ import annotations

import math

import torch

from allegro_md.config.training import LossConfig, Ramp
from allegro_md.training.batches import Batch
from allegro_md.training.prediction import Prediction

STRATA = ((100.0, 1.0), (200.0, 0.7), (300.0, 0.4), (math.inf, 0.1))
"""Force up to which, eV/Å, and the factor of `LossConfig.delta` there."""


def counts(batch: Batch) -> torch.Tensor:
    """(3,) labels of energies, force components and stress components in a batch."""
    return torch.stack([torch.isfinite(labels).sum() for labels in (batch.energy, batch.forces, batch.stress)]).double()


class Objective:
    """The loss of a batch."""

    def __init__(self, config: LossConfig) -> None:
        self._config = config

    def weights(self, epoch: int) -> tuple[float, float, float]:
        """Of energy, force and stress in an epoch."""
        c = self._config
        return weight(c.energy, epoch), weight(c.force, epoch), weight(c.stress, epoch)

    def penalties(self, prediction: Prediction, batch: Batch, stress: bool) -> torch.Tensor:
        """(3,) sums of the penalties over the labels there are, of energies, forces and stresses.

        Args:
            prediction: of the batch.
            batch: the labels.
            stress: whether stresses count; without, their sum is 0.
        """
        size = batch.atoms if self._config.per_atom else torch.ones_like(batch.atoms)
        energy = self._sum(prediction.energy / size, batch.energy / size)
        factor = None
        if self._config.kind == "stratified-huber":
            factor = stratum(batch.forces)[:, None].expand_as(batch.forces)
        force = self._sum(prediction.forces, batch.forces, factor)
        rest = self._sum(prediction.stress, batch.stress) if stress else torch.zeros_like(energy)
        return torch.stack([energy, force, rest])

    def _sum(self, value: torch.Tensor, label: torch.Tensor, factor: torch.Tensor | None = None) -> torch.Tensor:
        """Sum of the penalties of errors; unknown labels (NaN) are left out.

        Args:
            value: (n, …) real, predicted; eV, eV/Å or eV/Å³.
            label: (n, …), as `value`.
            factor: (n, …) factors of the Huber limit; None: 1.
        """
        known = torch.isfinite(label)
        error = value[known] - label[known]
        if self._config.kind == "mse":
            return error.pow(2).sum()
        delta = self._config.delta * (torch.ones_like(error) if factor is None else factor[known])
        size = error.abs()
        return torch.where(size < delta, 0.5 * error * error, delta * (size - 0.5 * delta)).sum()


def stratum(forces: torch.Tensor) -> torch.Tensor:
    """Factors (A,) of the Huber limit by the size of the labeled force: `forces` (A, 3) real, eV/Å."""
    size = forces.norm(dim=1)
    factor = torch.full_like(size, STRATA[-1][1])
    for limit, value in reversed(STRATA[:-1]):
        factor = torch.where(size < limit, value, factor)
    return factor


def weight(value: float | Ramp, epoch: int) -> float:
    """A weight in an epoch (counted from 0)."""
    if not isinstance(value, Ramp):
        return value
    share = min(1.0, max(0.0, (epoch - value.begin) / (value.end - value.begin)))
    return value.first * (value.last / value.first) ** share
