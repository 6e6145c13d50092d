"""Linear maps that follow one another without an activation between them are one matrix.

In the dense form the scalars of a layer are the output of a last, linear matrix and are read, linearly, by every later
layer and by the readout. So each consumer's input is a sum over *sources* (values after an activation) of source @
matrix.

Arguments, float32 or float64: matrix (width, new width); value (rows, width).
"""

from __future__ import annotations

import torch

from allegro_md.kernels.tile import fanned_matmul

Form = dict[str, torch.Tensor]
"""A linear combination of sources: source → matrix (source width, width)."""


def through(form: Form, matrix: torch.Tensor) -> Form:
    """The form multiplied by one more matrix from the right."""
    return {source: m @ matrix for source, m in form.items()}


def total(forms: list[Form]) -> Form:
    """The sum of forms of equal width."""
    result: Form = {}
    for form in forms:
        for source, matrix in form.items():
            result[source] = result[source] + matrix if source in result else matrix
    return result


def columns(form: Form, start: int, stop: int) -> Form:
    """A part of the columns."""
    return {source: m[:, start:stop] for source, m in form.items()}


class LinearMaps:
    """Regroups forms by source: from consumer → form to the matrices of each source."""

    def __init__(self, feeds: dict[str, Form], dtype: torch.dtype, device: torch.device) -> None:
        self._sources: dict[str, dict[str, torch.Tensor]] = {}
        for consumer, form in feeds.items():
            for source, matrix in form.items():
                self._sources.setdefault(source, {})[consumer] = matrix.to(device=device, dtype=dtype).contiguous()

    def feed(self, source: str, value: torch.Tensor, inputs: dict[str, torch.Tensor]) -> None:
        """Adds what a source (rows, width) gives to the inputs of its consumers."""
        consumers = self._sources.get(source, {})
        parts = fanned_matmul(value, list(consumers.values())) if consumers else []
        for consumer, part in zip(consumers, parts, strict=True):
            inputs[consumer] = inputs[consumer] + part if consumer in inputs else part
