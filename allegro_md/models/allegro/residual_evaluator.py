"""Evaluation of the residual form: parameters made ready once, then edge energies block after block.

Arguments, float32 or float64: value (E, width); matrix (latents, columns); tensor and environment (rows, components,
C); part (E, (2l + 1) · paths, C); mixing (numbers,) flat, as `ResidualWeights.mixings`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from allegro_md.kernels.contract import product, weighting
from allegro_md.kernels.tile import matmul
from allegro_md.models.allegro.architecture import Residual
from allegro_md.models.allegro.edges import Geometry
from allegro_md.models.allegro.geometry import radial_functions
from allegro_md.models.allegro.irreps import Layer, TensorProduct, separate_paths
from allegro_md.models.allegro.mlp import apply_inner, matrices_of
from allegro_md.models.allegro.residual import ResidualWeights, prefactor

Ready = Callable[[torch.Tensor], torch.Tensor]

OLD, NEW = 1.0 / math.sqrt(1.25), 0.5 / math.sqrt(1.25)
"""Weights of the old latents and of the update: a ratio of 1/2 at unit variance."""


class ResidualEvaluator:
    """Scaled parameters of the residual form, in the precision and on the device of the evaluation.

    Attributes:
        weights: latents → tensor weights per layer, columns l · C + u; those of the first tensor before the first's.
        layers: the layers.
        readout: matrices of the edge-energy MLP.
    """

    def __init__(self, weights: ResidualWeights, dtype: torch.dtype, device: torch.device) -> None:
        a = self._a = weights.architecture
        self._dtype = dtype

        def ready(tensor: torch.Tensor) -> torch.Tensor:
            return tensor.to(device=device, dtype=dtype)

        self._roots, self._scale, self._shift = (t.to(device) for t in _basis(weights))
        two_body = weights.two_body.matrices()
        n = len(a.symbols)
        first = two_body[0]
        pairs = first[:n].repeat_interleave(n, dim=0) + first[n : 2 * n].repeat(n, 1)
        self._pairs, self._basis = ready(pairs), ready(first[2 * n :])
        self._two_body = [ready(m) for m in two_body[1:]]
        self.weights = [ready(self._split_weights(matrices_of(m)[0])) for m in weights.environments]
        self._terms = weights.weight_terms
        self.layers = [
            _LayerPlan(layer, mixing, latent, a, ready)
            for layer, mixing, latent in zip(weights.layers, weights.mixings, weights.latents, strict=True)
        ]
        self.readout = [ready(m) for m in weights.readout.matrices()]
        self._norms = ready(torch.tensor(a.neighbors_per_species, dtype=torch.float64).rsqrt())

    def _split_weights(self, matrix: torch.Tensor) -> torch.Tensor:
        """Columns [set][u][l] → [set][l][u]."""
        rows, channels, degrees = len(matrix), self._a.channels, self._a.l_max + 1
        return matrix.reshape(rows, -1, channels, degrees).transpose(2, 3).reshape(rows, -1)

    def edge_energies(self, g: Geometry) -> torch.Tensor:
        """(E,) energies before all normalization by ⟨N⟩, scales and shifts."""
        a = self._a
        cut, latents = self.two_body(g.x, g.pair)
        tensor = None
        for k, layer in enumerate(self.layers):
            factors = matmul(latents, self.weights[k]).reshape(len(latents), -1, a.channels)
            if tensor is None:
                own, factors = factors.split(a.l_max + 1, dim=1)
                tensor = weighting(own, g.harmonics, self._terms, g.on_edges)
            environment = weighting(factors, g.harmonics, self._terms, g.to_centers)
            environment = environment * self._norms[g.center_species][:, None, None]
            parts = layer.multiply(tensor, environment, g)
            scalars = parts[0].reshape(len(latents), -1)
            if k + 1 < a.layers:
                tensor = torch.cat([layer.mix(part, c) for c, part in enumerate(parts)], dim=1)
            update = matmul(latents, layer.from_latents) + matmul(scalars, layer.from_scalars)
            latents = OLD * latents + NEW * (cut * _finish(update, layer.rest, a.latent.activation))
        first, rest = self.readout[0], self.readout[1:]
        return _finish(matmul(latents, first), rest, a.readout.activation)[:, 0]

    def two_body(self, x: torch.Tensor, pair: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Evaluates all that depends on species and distance alone: envelope (E, 1) and first latents (E, latents).

        Args:
            x: (E,) reduced distance.
            pair: (E,) int64, center species · n + neighbor species.
        """
        a = self._a
        columns = radial_functions(x, self._roots, a.envelope, self._scale, self._shift).to(self._dtype)
        radial, cut = columns.split([a.bessel, 1], dim=1)
        value = matmul(radial, self._basis) + torch.nn.functional.embedding(pair, self._pairs)
        return cut, cut * _finish(value, self._two_body, a.two_body.activation)


def _basis(weights: ResidualWeights) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Roots, scales and shifts of the standardized radial functions, and last those of the envelope alone."""
    inverse_std = weights.basis_inverse_std
    parts = (
        (weights.roots, 1.0),
        (prefactor(weights.architecture.cutoff) * inverse_std, 0.0),
        (-weights.basis_mean * inverse_std, 1.0),
    )
    roots, scale, shift = (torch.cat([values, values.new_tensor([last])]) for values, last in parts)
    return roots, scale, shift


def _finish(value: torch.Tensor, rest: list[torch.Tensor], activation: str | None) -> torch.Tensor:
    """From the value after an MLP's first matrix to its output."""
    return matmul(apply_inner(value, rest[:-1], activation), rest[-1]) if rest else value


class _LayerPlan:
    """One layer: products to each irrep, their mixing, and the latent MLP's matrices.

    Attributes:
        products: to each irrep of the result, with paths kept apart; the scalars come first.
        coefficients: (terms, C) of each.
        mixings: (paths · C, C) of each.
        from_latents, from_scalars: rows of the latent MLP's first matrix, those of the scalars path · C + u.
        rest: its other matrices.
    """

    def __init__(self, layer: Layer, mixing: torch.Tensor, latent: torch.nn.Module, a: Residual, ready: Ready) -> None:
        self._channels = channels = a.channels
        self.products: list[TensorProduct] = []
        self.coefficients: list[torch.Tensor] = []
        self.mixings: list[torch.Tensor] = []
        self._degrees = [2 * l + 1 for l, _ in layer.out]  # noqa: E741
        start = 0
        for c in range(len(layer.out)):
            part = separate_paths(layer, c)
            self.products.append(part)
            self.coefficients.append(ready(torch.as_tensor(part.value)[:, None].expand(-1, channels)).contiguous())
            n_paths = part.terms.sizes[2] // self._degrees[c]
            stop = start + channels * channels * n_paths
            block = mixing[start:stop].double().reshape(channels, channels, n_paths)  # out, in, path
            matrix = block.permute(2, 1, 0).reshape(n_paths * channels, channels)
            self.mixings.append(ready(matrix / math.sqrt(channels * n_paths)))
            start = stop
        matrices = matrices_of(latent)
        from_scalars = matrices[0][a.latents :]
        n_scalars, width = len(from_scalars) // channels, from_scalars.shape[1]
        path_major = from_scalars.reshape(channels, n_scalars, width).transpose(0, 1).reshape(-1, width)
        self.from_latents, self.from_scalars = ready(matrices[0][: a.latents]), ready(path_major)
        self.rest = [ready(m) for m in matrices[1:]]

    def multiply(self, tensor: torch.Tensor, environment: torch.Tensor, g: Geometry) -> list[torch.Tensor]:
        """Per result irrep (E, (2l + 1) · paths, C), path faster than component; the scalars come first."""
        return [
            product(coefficient, tensor, environment, part.terms, g.with_centers)
            for coefficient, part in zip(self.coefficients, self.products, strict=True)
        ]

    def mix(self, part: torch.Tensor, c: int) -> torch.Tensor:
        """Full linear map over paths and channels, (E, (2l + 1) · paths, C) → (E, 2l + 1, C)."""
        rows = part.reshape(len(part) * self._degrees[c], -1)
        return matmul(rows, self.mixings[c]).reshape(len(part), self._degrees[c], self._channels)
