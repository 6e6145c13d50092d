"""The training loop: epochs of steps, validation, checkpoints, an end.

Every process holds the weights and takes its share of each step's frames; gradients are added over the processes, so
the steps are those of one process up to rounding. The order of frames depends on seed and epoch only, and everything
else the future depends on is in the checkpoint: a continued training equals one that was never interrupted.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from allegro_md.comm import Comm
from allegro_md.config.training import TrainingInput
from allegro_md.errors import InputError, InterruptedRun, PhysicsError
from allegro_md.models.allegro.network import Network
from allegro_md.stopping import REASONS, StopRequest
from allegro_md.training.batches import Batch, Samples, packed, shuffled
from allegro_md.training.checkpoint import State, read_state, write_state
from allegro_md.training.loss import Objective, counts
from allegro_md.training.metrics import ErrorAccumulator, Metrics
from allegro_md.training.optimization import LearningRateSchedule, Optimizer, WeightEMA, copy_into
from allegro_md.training.prediction import Prediction, predict
from allegro_md.training.progress import Progress

VALIDATION_EDGES = 20_000
"""Edges of a batch that is only evaluated: keeps it within the cache."""


@dataclass
class TrainingState:
    """Progress of a training, beside weights and optimizer.

    Attributes:
        epoch: how many are done.
        best: smallest validation error watched so far.
        best_epoch: the epoch it was reached in; 0: none yet.
        seconds: spent in all epochs.
        errors: of the validation frames at the best epoch, as in the history.
    """

    epoch: int = 0
    best: float = math.inf
    best_epoch: int = 0
    seconds: float = 0.0
    errors: dict[str, float] = field(default_factory=dict)


class Trainer:
    """One network, its data and all that moves it.

    Attributes:
        network: with the weights of the best epoch inside when `run` has returned.
        course: where the training stands.
        reason: why `run` ended.
    """

    reason: str

    def __init__(
        self, network: Network, samples: tuple[Samples, Samples], config: TrainingInput, seed: int, digest: str,
        stop: StopRequest, comm: Comm,
    ) -> None:
        """Puts the parts together.

        Args:
            network: with its first weights.
            samples: training and validation frames.
            config: the input.
            seed: of the order of the frames.
            digest: of all that a continuation must not change.
            stop: asked before every step.
            comm: the processes.
        """
        self.network, self.course = network, TrainingState()
        self._train, self._validation = samples
        self._fit, self._seed, self._digest, self._stop, self._comm = config.training, seed, digest, stop, comm
        self._device = device_of(config)
        network.to(self._device)
        self._parameters = [p for p in network.parameters() if p.requires_grad]
        self._optimizer = Optimizer(self._parameters, config.training)
        self._mean = WeightEMA(self._parameters, config.training.ema)
        self._best = [p.detach().clone() for p in self._parameters]
        self._rate = LearningRateSchedule(config.training)
        self._objective = Objective(config.loss)
        self._stress = config.loss.stress != 0.0

    def run(self, directory: Path) -> None:
        """Trains to the end, from the checkpoint in the directory if it has one.

        Raises:
            InputError: the checkpoint is of another training.
            InterruptedRun: an end was asked for; the epoch under way is lost.
            PhysicsError: the loss is no longer a number.
        """
        began = time.monotonic()
        resumed = self._resume(directory)
        with self._comm.collective_errors():
            progress = Progress(directory, self.course.epoch if resumed else None) if self._comm.rank == 0 else None
        reason = self._finished(late=False)  # whatever the walltime, a start makes an epoch
        try:
            while not reason:
                row = self.epoch()
                reason = self._finished(late=time.monotonic() - began > (self._fit.walltime or math.inf))
                with self._comm.collective_errors():
                    if progress is not None:
                        progress.row(self.course.epoch, row)
                        if reason or self.course.epoch % self._fit.save_every == 0:
                            write_state(directory, self._state())
        finally:
            if progress is not None:
                progress.close()  # a terminal without its cursor would outlive an interrupted training
        copy_into(self._parameters, self._best)
        self.reason = reason

    def epoch(self) -> dict[str, float]:
        """One pass over the training frames, then validation; the row of the history."""
        start, course, fit = time.perf_counter(), self.course, self._fit
        weights = self._objective.weights(course.epoch)
        steps = shuffled(self._train, fit.batch, fit.batch_edges, self._seed, course.epoch)
        accumulated, losses = ErrorAccumulator(), []
        for k, indices in enumerate(steps):
            rate = self._rate(course.epoch + k / len(steps))
            losses.append(self._step(indices, weights, rate, accumulated))
        course.epoch += 1
        with self._mean.in_use():
            penalties, validation = self._validate()
        errors = validation.row("val_")
        # Weights of the last epoch: losses of epochs with different weights could not be compared.
        last = float(penalties @ self._objective.weights(fit.epochs))
        watched = {"loss": last, "energy": errors["val_energy_rmse"], "force": errors["val_force_rmse"]}
        self._rate.after_epoch(watched)
        if watched[fit.watch] < course.best:
            course.best, course.best_epoch, course.errors = watched[fit.watch], course.epoch, errors
            for best, value in zip(self._best, self._mean.values, strict=True):
                best.copy_(value)
        seconds = self._comm.on_root(lambda: time.perf_counter() - start)
        course.seconds += seconds
        left = course.seconds / course.epoch * (fit.epochs - course.epoch)
        row = self._together(accumulated).metrics().row("train_") | errors
        row |= {"train_loss": float(np.mean(losses)), "val_loss": float(penalties @ weights)}
        return row | {"learning_rate": rate, "seconds": seconds, "left_s": left}

    def _step(
        self, indices: Sequence[int], weights: tuple[float, float, float], rate: float, accumulated: ErrorAccumulator
    ) -> float:
        """One step of the optimizer; the loss before it."""
        own = indices[self._comm.rank :: self._comm.size]
        penalties = labels = torch.zeros(3, dtype=torch.float64)
        stop = self._stop.wanted()
        batch: Batch | None = None
        for parameter in self._parameters:
            parameter.grad = torch.zeros_like(parameter)
        if own:
            batch = self._train.batch(own, self._device)
            prediction = predict(self.network, batch, differentiable=True)
            penalties = self._objective.penalties(prediction, batch, self._stress)
            labels = counts(batch).cpu()
            _add(accumulated, self._train, own, prediction, self._stress)
        *shared, stop = self._comm.sum_float_inexact(np.append(labels.numpy(), stop)).tolist()
        if stop:
            raise InterruptedRun(f"{REASONS[1]} in epoch {self.course.epoch + 1} (--resume makes it again)")
        labels = torch.tensor(shared, dtype=torch.float64)
        shares = torch.tensor(weights, dtype=torch.float64) / labels.clamp(min=1.0)
        loss = (penalties * shares.to(penalties.device)).sum()
        if batch is not None:
            loss.backward()
        total = self._add_up(float(loss.detach()))
        if not math.isfinite(total):
            raise PhysicsError(
                f"the loss is {total} in epoch {self.course.epoch + 1} — is training.learning_rate too high? "
                "training.clip bounds the gradient"
            )
        self._optimizer.step(rate)
        self._mean.update()
        return total

    def _add_up(self, loss: float) -> float:
        """Adds the gradients, and the loss, over the processes."""
        if self._comm.size == 1:
            return loss
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        flat = torch.cat([g.double().flatten().cpu() for g in gradients]).numpy()
        total = torch.from_numpy(self._comm.sum_float_inexact(np.append(flat, loss)))
        for gradient, part in zip(gradients, total[:-1].split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))
        return float(total[-1])

    def _validate(self) -> tuple[NDArray[np.float64], Metrics]:
        """Mean penalties (3,) of energies, forces, stresses, and errors of the validation frames."""
        accumulated, sums = ErrorAccumulator(), np.zeros((2, 3))
        own = range(len(self._validation))[self._comm.rank :: self._comm.size]
        with torch.no_grad():
            evaluate = self.network.prepare(device=self._device)
        for indices in packed(self._validation, own, VALIDATION_EDGES):
            batch = self._validation.batch(indices, self._device)
            prediction = predict(evaluate, batch)
            sums[0] += self._objective.penalties(prediction, batch, self._stress).cpu().numpy()
            sums[1] += counts(batch).cpu().numpy()
            _add(accumulated, self._validation, indices, prediction, self._stress)
        penalties, labels = self._comm.sum_float_inexact(sums.ravel()).reshape(2, 3)
        return penalties / np.maximum(labels, 1.0), self._together(accumulated).metrics()

    def _together(self, accumulated: ErrorAccumulator) -> ErrorAccumulator:
        """The errors of all processes as one."""
        first, *others = self._comm.allgather(accumulated)
        for other in others:
            first.merge(other)
        return first

    def _finished(self, late: bool) -> str:
        """Returns the reason why training ends here, on all processes; empty if it continues."""
        fit, course = self._fit, self.course
        if course.epoch >= fit.epochs:
            return "all epochs are done"
        if fit.stop_after is not None and course.epoch - course.best_epoch >= fit.stop_after:
            return f"no better validation error for {fit.stop_after} epochs"
        if self._rate(course.epoch) < fit.smallest_rate:
            return "the learning rate has become smaller than training.smallest_rate"
        return "training.walltime is over (--resume continues)" if self._comm.any(late) else ""

    # --- continuation ---

    def _names(self) -> list[str]:
        return [name for name, p in self.network.named_parameters() if p.requires_grad]

    def _groups(self) -> dict[str, Sequence[torch.Tensor]]:
        """Returns the entries of a checkpoint, one per parameter."""
        return {"weights": self._parameters, "mean": self._mean.values, "best": self._best}

    def _state(self) -> State:
        tensors = {group: dict(zip(self._names(), values, strict=True)) for group, values in self._groups().items()}
        tensors["optimizer"] = self._optimizer.state()
        course = {key: value for key, value in vars(self.course).items() if key != "epoch"}
        numbers = {"digest": self._digest, "course": course, "rate": self._rate.state, "mean_steps": self._mean.steps}
        return State(self.course.epoch, tensors, numbers)

    def _resume(self, directory: Path) -> bool:
        """Takes up the checkpoint of a directory; whether there was one."""
        with self._comm.collective_errors():
            state = read_state(directory)
            if state is None:
                return False
            if state.numbers["digest"] != self._digest:
                raise InputError("data, model, loss or training differ from those of the checkpoint", str(directory),
                                 "--resume may change training.epochs, walltime, stop_after, smallest_rate, save_every "
                                 "and threads only; --overwrite starts again")
        for group, targets in self._groups().items():
            copy_into(targets, [state.tensors[group][name] for name in self._names()])
        self._optimizer.load(state.tensors.get("optimizer", {}))
        self.course = TrainingState(epoch=state.epoch, **state.numbers["course"])
        self._rate.state = state.numbers["rate"]
        self._mean.steps = state.numbers["mean_steps"]
        return True


def _add(
    accumulated: ErrorAccumulator, samples: Samples, indices: Sequence[int], prediction: Prediction, stress: bool
) -> None:
    """Counts the errors of a prediction."""
    arrays = [t.detach().cpu().numpy() for t in (prediction.energy, prediction.forces, prediction.stress)]
    accumulated.add([samples.frames[k] for k in indices], arrays[0], arrays[1], arrays[2] if stress else None)


def device_of(config: TrainingInput) -> torch.device:
    """Returns the device to train on.

    Raises:
        InputError: a GPU is asked for that is not there.
    """
    wanted, there = config.training.device, torch.cuda.is_available()
    if wanted == "cuda" and not there:
        raise InputError("no CUDA device is available", "training.device", 'use "auto" or "cpu"')
    device = torch.device("cuda" if there and wanted != "cpu" else "cpu")
    tf32 = config.training.precision == "tf32"
    if tf32 and device.type == "cpu":
        raise InputError("tf32 exists on NVIDIA GPUs only", "training.precision", 'use "float32"')
    torch.backends.cuda.matmul.allow_tf32 = tf32
    return device


