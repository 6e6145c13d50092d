"""Linear maps that follow one another without an activation between them are one matrix.

In the dense form the scalars of a layer are the output of a last, linear matrix and are read, linearly, by every later
layer and by the readout. So each consumer's input is a sum over *sources* (values after an activation) of source @
matrix, and the matrices of one source stand side by side in one product.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from allegro_md.kernels.tile import matmul

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


@dataclass(frozen=True)
class _Source:
    matrix: torch.Tensor
    consumers: tuple[str, ...]
    widths: tuple[int, ...]


class LinearMaps:
    """Who feeds whom: from consumer → form to one matrix per source."""

    def __init__(self, feeds: dict[str, Form], dtype: torch.dtype, device: torch.device) -> None:
        by_source: dict[str, dict[str, torch.Tensor]] = {}
        for consumer, form in feeds.items():
            for source, matrix in form.items():
                by_source.setdefault(source, {})[consumer] = matrix
        self._sources = {
            source: _Source(
                torch.cat(list(parts.values()), dim=1).to(device=device, dtype=dtype),
                tuple(parts),
                tuple(m.shape[1] for m in parts.values()),
            )
            for source, parts in by_source.items()
        }

    def feed(self, name: str, value: torch.Tensor, inputs: dict[str, torch.Tensor]) -> None:
        """Adds what a source (rows, width) gives to the inputs of its consumers."""
        source = self._sources.get(name)
        if source is None:
            return
        parts = matmul(value, source.matrix).split(source.widths, dim=1)
        for consumer, part in zip(source.consumers, parts, strict=True):
            inputs[consumer] = inputs[consumer] + part if consumer in inputs else part
