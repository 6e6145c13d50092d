"""Optimizers, the schedule of the learning rate, and the exponential moving average of the weights."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from allegro_md.config.training import Cosine, Plateau, TrainingConfig

SMALLEST_MATRIX = 5
"""Sides from which Muon moves a matrix: of fewer rows or columns an orthogonal one is no better than a scaled one."""

BESIDE_MUON = 0.3
"""Learning rate of what Muon leaves to Adam, in that of Muon."""


class Optimizer:
    """One or two of torch's optimizers, moved at one learning rate.

    Muon: K. Jordan et al. (2024); its steps scaled to the size of Adam's: J. Liu et al., arXiv:2502.16982.
    """

    def __init__(self, parameters: Sequence[torch.nn.Parameter], config: TrainingConfig) -> None:
        """Takes charge of the parameters."""
        self._parameters = parameters
        self._clip = config.clip
        matrices = [p for p in parameters if p.ndim == 2 and min(p.shape) >= SMALLEST_MATRIX]
        rest = [p for p in parameters if not any(p is m for m in matrices)]
        rate, decay = config.learning_rate, config.weight_decay
        self._parts: list[tuple[torch.optim.Optimizer, float]] = []
        if config.optimizer == "adamw":
            self._parts = [(torch.optim.AdamW(parameters, rate, weight_decay=decay), 1.0)]
        elif config.optimizer == "muon" and matrices:
            muon = torch.optim.Muon(matrices, rate, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")
            self._parts = [(muon, 1.0)] + ([(torch.optim.Adam(rest, rate), BESIDE_MUON)] if rest else [])
        else:
            self._parts = [(torch.optim.Adam(parameters, rate, amsgrad=config.optimizer == "amsgrad"), 1.0)]

    def step(self, rate: float) -> None:
        """Moves the parameters along their gradients."""
        if self._clip is not None:
            torch.nn.utils.clip_grad_norm_(self._parameters, self._clip)
        for optimizer, factor in self._parts:
            for group in optimizer.param_groups:
                group["lr"] = rate * factor
            optimizer.step()

    def state(self) -> dict[str, torch.Tensor]:
        """All that the next step depends on, beside parameters and gradients."""
        return {
            f"{part}.{index}.{name}": value
            for part, (optimizer, _) in enumerate(self._parts)
            for index, entries in optimizer.state_dict()["state"].items()
            for name, value in entries.items()
        }

    def load(self, state: Mapping[str, torch.Tensor]) -> None:
        """Takes over what `state` returned."""
        for part, (optimizer, _) in enumerate(self._parts):
            whole: dict[str, Any] = optimizer.state_dict()
            whole["state"] = {}
            for key, value in state.items():
                owner, index, name = key.split(".", 2)
                if int(owner) == part:
                    whole["state"].setdefault(int(index), {})[name] = value
            optimizer.load_state_dict(whole)


class LearningRateSchedule:
    """The course of the learning rate.

    Attributes:
        state: numbers that decide its future: best error so far, epochs without a better one, the present factor.
    """

    def __init__(self, config: TrainingConfig) -> None:
        self._config = config
        self.state = {"best": math.inf, "waited": 0.0, "factor": 1.0}

    def __call__(self, epoch: float) -> float:
        """The rate after so many epochs, whole and begun."""
        schedule, rate = self._config.schedule, self._config.learning_rate
        if isinstance(schedule, Cosine):
            start = min(1.0, (epoch + 1e-3) / schedule.warmup) if schedule.warmup else 1.0
            wave = 0.5 * (1.0 + math.cos(math.pi * min(1.0, epoch / self._config.epochs)))
            return rate * start * (schedule.last + (1.0 - schedule.last) * wave)
        return rate * self.state["factor"]

    def after_epoch(self, errors: Mapping[str, float]) -> None:
        """Takes note of the validation errors of an epoch: "loss", "energy" and "force"."""
        schedule, state = self._config.schedule, self.state
        if not isinstance(schedule, Plateau):
            return
        error = errors[schedule.watch]
        if error < state["best"]:
            state["best"], state["waited"] = error, 0.0
            return
        state["waited"] += 1.0
        if state["waited"] > schedule.patience:
            state["factor"] *= schedule.factor
            state["waited"] = 0.0


class WeightEMA:
    """Exponential running mean of the parameters; young, it follows them faster.

    Attributes:
        values: one tensor per parameter.
        steps: how many it has seen.
    """

    def __init__(self, parameters: Sequence[torch.nn.Parameter], decay: float) -> None:
        self._parameters, self._decay = parameters, decay
        self.values = [p.detach().clone() for p in parameters]
        self.steps = 0

    @torch.no_grad()
    def update(self) -> None:
        """Takes in the present parameters."""
        self.steps += 1
        decay = min(self._decay, (1.0 + self.steps) / (10.0 + self.steps)) if self._decay else 0.0
        torch._foreach_lerp_(self.values, list(self._parameters), 1.0 - decay)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """The network has the mean values inside."""
        kept = [p.detach().clone() for p in self._parameters]
        copy_into(self._parameters, self.values)
        try:
            yield
        finally:
            copy_into(self._parameters, kept)


@torch.no_grad()
def copy_into(parameters: Sequence[torch.Tensor], values: Sequence[torch.Tensor]) -> None:
    """Overwrites parameters."""
    for parameter, value in zip(parameters, values, strict=True):
        parameter.copy_(value)
