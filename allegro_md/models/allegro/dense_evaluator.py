"""Evaluation of the dense form: parameters made ready once, then edge energies block after block.

Arguments: x (E,) reduced distances; pair (E,) int64, center species · n + neighbor species; value and values (E,
width); matrix and a linear map (width in, width out); paths (1 or C, paths) path weights. Real numbers are float32 or
float64.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch

from allegro_md.kernels.contract import Rows, Terms, product, weighting
from allegro_md.kernels.tile import matmul
from allegro_md.models.allegro.architecture import Bessel, Spline
from allegro_md.models.allegro.dense import DenseWeights
from allegro_md.models.allegro.edges import Geometry
from allegro_md.models.allegro.geometry import radial_functions, spline_basis
from allegro_md.models.allegro.irreps import TensorProduct, summed_paths
from allegro_md.models.allegro.linear import Form, LinearMaps, columns, through, total
from allegro_md.models.allegro.mlp import MlpWeights, apply_inner, matrices_of


class DenseEvaluator:
    """Scaled and merged parameters of the dense form, in the precision and on the device of the evaluation.

    Differentiable with respect to the parameters when built with gradients enabled.

    Attributes:
        merged: the linear maps between activations, float64.
        products: the tensor product of each layer.
        coefficients: (terms, C) of each.
    """

    def __init__(self, weights: DenseWeights, dtype: torch.dtype, device: torch.device) -> None:
        a = self._a = weights.architecture
        self._embedding = _Embedding(weights, dtype, device)
        merged = self.merged = MergedMaps(weights, self._embedding.first)
        self._inner = {
            name: [m.to(device=device, dtype=dtype) for m in chain] for name, chain in merged.inner.items()
        }
        self._maps = LinearMaps(merged.feeds, dtype, device)
        self._last = None if merged.last is None else merged.last.to(device=device, dtype=dtype)
        self._terms = (weights.tensor_terms, weights.environment_terms)
        self.products = [summed_paths(layer) for layer in weights.layers]
        self.coefficients = [
            _coefficients(paths, p, a.channels).to(device=device, dtype=dtype)
            for paths, p in zip(weights.paths, self.products, strict=True)
        ]
        norms = torch.tensor(a.neighbors_per_species, dtype=torch.float64).rsqrt()
        self._norms = norms.to(device=device, dtype=dtype)

    def edge_energies(self, g: Geometry) -> torch.Tensor:
        """(E,) energies before all normalization by ⟨N⟩, scales and shifts."""
        a = self._a
        inputs = self.two_body(g.x, g.pair)
        tensor = weighting(_channels(inputs["tensor"], a.channels), g.harmonics, self._terms[0], g.on_edges)
        for k in range(a.layers):
            factors = _channels(inputs[f"environment.{k}"], a.channels)
            environment = weighting(factors, g.harmonics, self._terms[1], g.to_centers)
            environment = environment * self._norms[g.center_species][:, None, None]
            tensor = product(self.coefficients[k], tensor, environment, self.products[k].terms, g.with_centers)
            self._maps.feed(f"scalars.{k}", tensor[:, 0], inputs)
            if f"latent.{k}" in inputs:
                self._advance(f"latent.{k}", inputs[f"latent.{k}"], a.latent.activation, inputs)
        energy = inputs["readout"]
        if self._last is not None:
            energy = matmul(apply_inner(energy, self._inner["readout"], a.readout.activation), self._last)
        return energy[:, 0]

    def two_body(self, x: torch.Tensor, pair: torch.Tensor) -> dict[str, torch.Tensor]:
        """Evaluates all that depends on species and distance alone: consumer → (E, width).

        Args:
            x: (E,) reduced distance.
            pair: (E,) int64, center species · n + neighbor species.
        """
        inputs: dict[str, torch.Tensor] = {}
        self._advance("two_body", self._embedding(x, pair), self._a.two_body.activation, inputs)
        return inputs

    def _advance(
        self, name: str, value: torch.Tensor, activation: str | None, inputs: dict[str, torch.Tensor]
    ) -> None:
        """Carries an MLP to its last activation and hands that value, then its scalar block, to their consumers."""
        nonlinear = activation if name in self._inner else None
        self._maps.feed(name, apply_inner(value, self._inner.get(name, []), nonlinear), inputs)
        block = f"{name}.block"
        if block in inputs:
            self._maps.feed(block, inputs[block], inputs)


class _Embedding:
    """Two-body embedding up to the first activation of the two-body MLP.

    Attributes:
        first: the matrix left to the linear maps where that MLP is linear, else None.
    """

    def __init__(self, weights: DenseWeights, dtype: torch.dtype, device: torch.device) -> None:
        a = weights.architecture
        self._kind = a.embedding
        self._dtype = dtype
        matrices = weights.two_body.matrices()
        self.first = None if len(matrices) > 1 else matrices[0]
        after = matrices[0] if len(matrices) > 1 else torch.eye(a.embedding_width, dtype=torch.float64)
        if isinstance(a.embedding, Bessel):
            self._roots = weights.roots.to(device)
            basis = weights.basis.matrices()[0]
            species = _species_table(weights)
            self._species: torch.Tensor | None = None
            if len(a.symbols) == 1:  # a constant factor per column: part of the matrices on both sides
                basis = (basis * species[0]) @ after
            else:
                self._species = species.to(device=device, dtype=dtype)
            self._basis = basis.to(device=device, dtype=dtype)
        else:
            count, width = a.embedding.count, a.embedding_width
            table = weights.splines.reshape(-1, width, count).transpose(1, 2)  # (pairs, spline, D)
            self._splines = table.to(device=device)
            self._spline_terms = _spline_terms(count)
        self._after = None
        if len(a.symbols) > 1 or isinstance(a.embedding, Spline):
            self._after = None if self.first is not None else after.to(device=device, dtype=dtype)

    def __call__(self, x: torch.Tensor, pair: torch.Tensor) -> torch.Tensor:
        """(E, width of the first activation, or D)."""
        if isinstance(self._kind, Bessel):
            radial = radial_functions(x, self._roots, self._kind.envelope)
            value = matmul(radial.to(self._dtype), self._basis)
            if self._species is not None:
                value = value * torch.nn.functional.embedding(pair, self._species)
        else:
            radial = spline_basis(x, self._kind.count, self._kind.span)
            n = len(x)
            rows = Rows(n, (pair, None, None), (len(self._splines), n, n))
            value = weighting(self._splines, radial, self._spline_terms, rows)[:, 0].to(self._dtype)
        return value if self._after is None else matmul(value, self._after)


@cache
def _spline_terms(count: int) -> Terms:
    """Spline times spline, summed."""
    each = np.arange(count, dtype=np.int64)
    return Terms(each, each, np.zeros_like(each), (count, count, 1))


def _species_table(weights: DenseWeights) -> torch.Tensor:
    """(pairs of species, D) float64: center's vector | neighbor's vector."""
    n = len(weights.architecture.symbols)
    center = weights.center_embedding.double().repeat_interleave(n, dim=0)
    neighbor = weights.neighbor_embedding.double().repeat(n, 1)
    return torch.cat([center, neighbor], dim=1)


class MergedMaps:
    """Works out the linear maps between activations.

    Attributes:
        feeds: consumer → linear form of sources.
        inner: per MLP with an activation, the matrices between its first and last activation.
        last: last matrix of a readout with an activation.
    """

    def __init__(self, weights: DenseWeights, linear_two_body: torch.Tensor | None) -> None:
        """`linear_two_body` is the matrix (embedding width, width) of a two-body MLP that is linear, else None."""
        a = self._a = weights.architecture
        self.feeds: dict[str, Form] = {}
        self.inner: dict[str, list[torch.Tensor]] = {}
        s, l_count = a.scalars, a.l_max + 1
        latents = [matrices_of(latent) for latent in weights.latents]
        readout = weights.readout.matrices()
        self._demand = [  # columns that scalar block k feeds to later consumers
            sum(m[0].shape[1] for m in latents[k:]) + readout[0].shape[1] for k in range(a.layers + 1)
        ]
        tensor = _channel_fastest(weights.tensor.matrices()[0], a.channels, l_count)
        projection = weights.projection.matrices()[0]
        environment = projection[:, s:]
        degrees = environment.shape[1] // a.channels
        environment = _channel_fastest(environment, a.channels, degrees)
        scalars = self._two_body(weights.two_body, linear_two_body, tensor.shape[1] + environment.shape[1])
        self.feeds["tensor"] = through(scalars, tensor)
        self.feeds["environment.0"] = through(scalars, environment)
        blocks = [through(scalars, projection[:, :s])]
        for k, matrices in enumerate(latents):
            first = [matrices[0][j * s : (j + 1) * s] for j in range(k + 1)]
            form = total([through(block, m) for block, m in zip(blocks, first, strict=True)])
            form[f"scalars.{k}"] = matrices[0][(k + 1) * s :]
            out = self._latent(k, form, matrices)
            blocks.append(columns(out, 0, s))
            if k + 1 < a.layers:
                weights_out = columns(out, s, s + degrees * a.channels)
                self.feeds[f"environment.{k + 1}"] = {
                    source: _channel_fastest(m, a.channels, degrees) for source, m in weights_out.items()
                }
            blocks[-1] = self._block(f"latent.{k}", blocks[-1], self._demand[k + 1])
        first = [readout[0][j * s : (j + 1) * s] for j in range(a.layers + 1)]
        self.feeds["readout"] = total([through(block, m) for block, m in zip(blocks, first, strict=True)])
        self.last = readout[-1] if len(readout) > 1 else None
        self.inner["readout"] = readout[1:-1]

    def _two_body(self, mlp: MlpWeights, linear: torch.Tensor | None, weights: int) -> Form:
        """The form of the two-body scalars; `linear` (width in, width out) is the matrix of an MLP that is linear."""
        if linear is not None:
            return {"two_body": linear}
        matrices = mlp.matrices()
        self.inner["two_body"] = matrices[1:-1]
        return self._block("two_body", {"two_body": matrices[-1]}, self._demand[0] + weights)

    def _latent(self, k: int, form: Form, matrices: list[torch.Tensor]) -> Form:
        """Output of a layer's MLP: of its own last activation, or, if linear, of its inputs."""
        if len(matrices) == 1:
            return form
        self.feeds[f"latent.{k}"] = form
        self.inner[f"latent.{k}"] = matrices[1:-1]
        return {f"latent.{k}": matrices[-1]}

    def _block(self, name: str, form: Form, demand: int) -> Form:
        """Merges a linear output into its consumers where that costs less than evaluating it."""
        if set(form) != {name}:
            return form
        fan, width = form[name].shape
        if fan * demand <= width * (fan + demand):
            return form
        self.feeds[f"{name}.block"] = form
        return {f"{name}.block": torch.eye(width, dtype=torch.float64)}


def _channel_fastest(matrix: torch.Tensor, channels: int, degrees: int) -> torch.Tensor:
    """Columns u · degrees + l → l · channels + u."""
    return matrix.reshape(-1, channels, degrees).transpose(1, 2).reshape(-1, degrees * channels)


def _channels(values: torch.Tensor, channels: int) -> torch.Tensor:
    """(E, degrees · C) → (E, degrees, C)."""
    return values.reshape(len(values), -1, channels)


def _coefficients(paths: torch.Tensor, tensor_product: TensorProduct, channels: int) -> torch.Tensor:
    """Path weight times coupling coefficient of each term, (n, C), from `paths` (1 or C, number of paths)."""
    per_path = paths.double().t().expand(-1, channels) if paths.shape[0] == 1 else paths.double().t()
    value = torch.as_tensor(tensor_product.value, device=paths.device)
    return per_path[torch.as_tensor(tensor_product.path, device=paths.device)] * value[:, None]
