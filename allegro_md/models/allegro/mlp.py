"""Multilayer perceptrons without biases: their weights, their scaled matrices, their activations."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch

from allegro_md.kernels.tile import matmul

SILU_NORM = 1.6791767923989418
"""The 2023 code scales SiLU to unit second moment by this number, e3nn's estimate from 10⁶ normal deviates
(the exact integral would be 1.67653…; trained weights need the number they were trained with)."""


ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "silu": torch.nn.functional.silu,
    "gelu": torch.nn.functional.gelu,
    "mish": torch.nn.functional.mish,
}


class MlpWeights(torch.nn.Module):
    """Matrices W_k of shape (fan in, fan out), entries of unit variance, applied as x @ (W · gain / √fan).

    Attributes:
        activation: name, or None where the MLP is linear (also when it has one matrix).
        gain: factor of every matrix that follows an activation (forward normalization), or precedes one.
    """

    def __init__(
        self, widths: Sequence[int], activation: str | None, gain: float, dtype: torch.dtype,
        forward_normalize: bool = True,
    ) -> None:
        super().__init__()
        self.activation = activation if len(widths) > 2 else None
        pairs = list(zip(widths[:-1], widths[1:], strict=True))
        self.weights = torch.nn.ParameterList(torch.nn.Parameter(torch.empty(p, dtype=dtype)) for p in pairs)
        self._scales = []
        for k, (fan_in, fan_out) in enumerate(pairs):
            plain = self.activation is None or k == (0 if forward_normalize else len(pairs) - 1)
            fan = fan_in if forward_normalize else fan_out
            self._scales.append((1.0 if plain else gain) / math.sqrt(fan))

    def initialize(self, generator: torch.Generator) -> None:
        """Uniform entries of unit variance."""
        for weight in self.weights:
            uniform_(weight, generator)

    def matrices(self) -> list[torch.Tensor]:
        """Scaled float64 matrices with an activation between each two; a linear MLP is one matrix."""
        scaled = [w.double() * scale for w, scale in zip(self.weights, self._scales, strict=True)]
        if self.activation is not None:
            return scaled
        total = scaled[0]
        for matrix in scaled[1:]:
            total = total @ matrix
        return [total]


def matrices_of(module: torch.nn.Module) -> list[torch.Tensor]:
    """`MlpWeights.matrices` of an element of a module list."""
    assert isinstance(module, MlpWeights)
    return module.matrices()


def uniform_(weight: torch.Tensor, generator: torch.Generator) -> None:
    """Fills `weight` (…) with U(−√3, √3)."""
    with torch.no_grad():
        drawn = torch.rand(weight.shape, generator=generator, dtype=torch.float64)
        weight.copy_((2.0 * drawn - 1.0) * math.sqrt(3.0))


def normal_(weight: torch.Tensor, generator: torch.Generator) -> None:
    """Fills `weight` (…) with N(0, 1)."""
    with torch.no_grad():
        weight.copy_(torch.randn(weight.shape, generator=generator, dtype=torch.float64))


def apply_inner(x: torch.Tensor, matrices: Sequence[torch.Tensor], activation: str | None) -> torch.Tensor:
    """Carries `x` (rows, width) from before the first activation to after the last, through the matrices in between."""
    if activation is None:
        return x
    act = ACTIVATIONS[activation]
    x = act(x)
    for matrix in matrices:
        x = act(matmul(x, matrix))
    return x
