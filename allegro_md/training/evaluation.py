"""Evaluation of trained models on labeled frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from allegro_md.comm import Comm
from allegro_md.errors import PhysicsError
from allegro_md.io.labeled import Frame
from allegro_md.models.allegro.network import Evaluator, Network
from allegro_md.training.batches import Samples, packed
from allegro_md.training.metrics import ErrorAccumulator, Metrics
from allegro_md.training.prediction import predict

Array = NDArray[np.float64]

PRECISIONS = {"float64": torch.float64, "float32": torch.float32}

CHUNK_FRAMES, CHUNK_EDGES = 64, 8192
"""Frames whose neighbors are in memory at a time, and edges evaluated at a time (a larger frame is evaluated alone)."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Labels of N frames with A atoms together, and what the M members of a committee (one model: M = 1) predict.

    Attributes:
        counts: (N,) atoms of each frame.
        numbers: (A,) atomic numbers.
        labeled_energy: (N,) eV; NaN where a frame has none.
        labeled_forces: (A, 3) eV/Å; NaN where a frame has none.
        member_energy: (M, N) eV.
        member_forces: (M, A, 3) eV/Å.
        metrics: errors of the members' mean.
        member_metrics: errors of each member.
    """

    counts: NDArray[np.int64]
    numbers: NDArray[np.int64]
    labeled_energy: Array
    labeled_forces: Array
    member_energy: Array
    member_forces: Array
    metrics: Metrics
    member_metrics: Sequence[Metrics]

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """(N,) the first atom of each frame."""
        return np.cumsum(self.counts) - self.counts

    @cached_property
    def energy(self) -> Array:
        """(N,) eV, mean of the members."""
        return np.asarray(self.member_energy.mean(axis=0))

    @cached_property
    def forces(self) -> Array:
        """(A, 3) eV/Å, mean of the members."""
        return np.asarray(self.member_forces.mean(axis=0))

    @cached_property
    def force_std(self) -> Array:
        """(A,) eV/Å, √(Σ |F_m − F|² / M) over the members' forces F_m and their mean F, as `potentials` has it."""
        return np.asarray(np.sqrt(np.square(self.member_forces - self.forces).sum(axis=2).mean(axis=0)))

    @cached_property
    def energy_error(self) -> Array:
        """(N,) eV per atom, prediction less label; NaN without a label."""
        return np.asarray((self.energy - self.labeled_energy) / self.counts)

    @cached_property
    def force_error(self) -> Array:
        """(A, 3) eV/Å, prediction less label; NaN without a label."""
        return self.forces - self.labeled_forces

    @cached_property
    def frame_force_rmse(self) -> Array:
        """(N,) eV/Å, over the components of each frame; NaN where there is no label."""
        squares = np.square(self.force_error).mean(axis=1)
        return np.asarray(np.sqrt(np.add.reduceat(squares, self.starts) / self.counts))

    def worst(self, count: int) -> list[int]:
        """Frames with the largest force errors, the worst first; by energies per atom where none has forces."""
        by_forces = self.frame_force_rmse
        badness = np.abs(self.energy_error) if np.isnan(by_forces).all() else by_forces
        order = np.argsort(-badness, kind="stable")  # NaN comes last
        return [int(k) for k in order[:count] if not np.isnan(badness[k])]


class _Part(NamedTuple):
    """Some of the frames; fields as of `Evaluation`, accumulated errors of the mean and of each member."""

    counts: NDArray[np.int64]
    numbers: NDArray[np.int64]
    labeled_energy: Array
    labeled_forces: Array
    member_energy: Array
    member_forces: Array
    accumulated: list[ErrorAccumulator]


def evaluate(
    networks: Sequence[Network], frames: Sequence[Frame], precision: str = "float64", comm: Comm | None = None
) -> Evaluation:
    """Evaluates one model or a committee; the ranks divide the frames, and all get the whole result.

    Args:
        networks: the members.
        frames: at least one, of elements that all members know; the same on all ranks.
        precision: of the networks, of `PRECISIONS`; geometry and sums are always float64.
        comm: the ranks; None: this process alone.

    Raises:
        PhysicsError: a prediction is not finite.
    """
    comm = comm or Comm.serial()
    first, last = (len(frames) * rank // comm.size for rank in (comm.rank, comm.rank + 1))
    own: list[_Part] = []
    with comm.collective_errors(), torch.no_grad():
        members = [(n, n.prepare(PRECISIONS[precision], n.scales.device)) for n in networks]
        for k in range(first, last, CHUNK_FRAMES):
            own.append(_part(members, frames[k : min(k + CHUNK_FRAMES, last)]))
    parts = [part for rank in comm.allgather(own) for part in rank]
    accumulated = [ErrorAccumulator() for _ in range(1 + len(networks))]
    for part in parts:
        for total, errors in zip(accumulated, part.accumulated, strict=True):
            total.merge(errors)
    mean, *each = (errors.metrics() for errors in accumulated)
    counts, numbers, energy, forces = (np.concatenate([part[k] for part in parts]) for k in range(4))
    member_energy, member_forces = (np.concatenate([part[k] for part in parts], axis=1) for k in (4, 5))
    return Evaluation(counts, numbers, energy, forces, member_energy, member_forces, mean, each)


def _part(members: Sequence[tuple[Network, Evaluator]], frames: Sequence[Frame]) -> _Part:
    samples: dict[tuple[tuple[str, ...], bytes], Samples] = {}  # members that see the same neighbors share them
    energies, forces, stresses = [], [], []
    for network, evaluator in members:
        key = (network.architecture.symbols, evaluator.cutoffs.tobytes())
        if key not in samples:
            samples[key] = Samples(frames, key[0], evaluator.cutoffs)
        energy, force, stress = _predict(evaluator, samples[key], network.scales.device)
        _refuse_nonsense(frames, energy, force)
        energies.append(energy)
        forces.append(force)
        stresses.append(stress)
    predictions = [(np.mean(energies, axis=0), np.mean(forces, axis=0), np.mean(stresses, axis=0))]
    predictions += zip(energies, forces, stresses, strict=True)
    accumulated = []
    for prediction in predictions:
        accumulated.append(ErrorAccumulator())
        accumulated[-1].add(frames, *prediction)
    return _Part(
        np.array([len(frame.numbers) for frame in frames]),
        np.concatenate([frame.numbers for frame in frames]),
        np.array([np.nan if frame.energy is None else frame.energy for frame in frames]),
        np.concatenate([np.full(f.position.shape, np.nan) if f.forces is None else f.forces for f in frames]),
        np.stack(energies), np.stack(forces), accumulated,
    )


def _predict(evaluator: Evaluator, samples: Samples, device: torch.device) -> tuple[Array, Array, Array]:
    """Energies (n,), forces (a, 3) and stresses (n, 3, 3) of some frames."""
    steps = packed(samples, range(len(samples)), CHUNK_EDGES)
    found = [predict(evaluator, samples.batch(step, device)) for step in steps]
    energy, forces, stress = (
        torch.cat([getattr(prediction, name) for prediction in found]).cpu().numpy()
        for name in ("energy", "forces", "stress")
    )
    return energy, forces, stress


def _refuse_nonsense(frames: Sequence[Frame], energy: Array, forces: Array) -> None:
    """Checks that a model's energies and forces are finite.

    Args:
        frames: the frames evaluated.
        energy: (F,) eV.
        forces: (A, 3) eV/Å, atoms of all frames.

    Raises:
        PhysicsError: a number is not finite.
    """
    first = 0
    for frame, value in zip(frames, energy, strict=True):
        last = first + len(frame.numbers)
        if not (np.isfinite(value) and np.isfinite(forces[first:last]).all()):
            raise PhysicsError(f"{frame.source}: the model's energy or forces are not finite")
        first = last
