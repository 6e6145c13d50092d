"""The dense form of Allegro (today's nequip-allegro): its parameters.

A scalar track and a tensor track per edge. Layer k sums weighted spherical harmonics into each center's environment,
multiplies the edge's tensor with it, and makes new scalars of all earlier ones and of the product's scalars.
Musaelian et al., Nat. Commun. 14, 579 (2023), for the idea; `dense_evaluator` evaluates it.
"""

from __future__ import annotations

import math

import torch

from allegro_md.models.allegro.architecture import Bessel, Dense, Mlp
from allegro_md.models.allegro.irreps import both_parities, build_layers, harmonics, weighted_harmonics
from allegro_md.models.allegro.mlp import MlpWeights, normal_, uniform_

GAIN = math.sqrt(2.0)


class DenseWeights(torch.nn.Module):
    """Parameters of the dense form, shaped as nequip-allegro's.

    Attributes:
        roots: (n,) float64, Bessel roots over π; with them center_embedding, neighbor_embedding (species, D / 2)
            and the map `basis` n → D. Or splines: (pairs of species, D · count) float64, spline fastest.
        two_body: MLP D → S.
        tensor: linear map S → weights of the first tensor, column u · (l_max + 1) + l.
        projection: linear map S → first scalar block | weights of the first environment.
        latents: MLP per layer: all scalar blocks | scalar of the tensor → next block | weights of the next environment.
        paths: (C or 1, paths) per layer.
        readout: MLP of all scalar blocks → edge energy.
        layers: the tensor products.
    """

    def __init__(self, architecture: Dense, dtype: torch.dtype) -> None:
        super().__init__()
        a = self.architecture = architecture
        n, width = len(a.symbols), a.embedding_width
        if isinstance(a.embedding, Bessel):
            roots = torch.arange(1, a.embedding.count + 1, dtype=torch.float64)
            self.roots = torch.nn.Parameter(roots, requires_grad=a.embedding.trainable)
            self.center_embedding = torch.nn.Parameter(torch.empty((n, width // 2), dtype=dtype))
            self.neighbor_embedding = torch.nn.Parameter(torch.empty((n, width // 2), dtype=dtype))
            self.basis = self._mlp(a.embedding.count, Mlp(), width, dtype)
        else:
            self.splines = torch.nn.Parameter(torch.empty((n * n, width * a.embedding.count), dtype=torch.float64))
        sphere = harmonics(a.l_max)
        self.layers = build_layers(sphere, both_parities(a.l_max) if a.parity else sphere, a.layers, narrowing=False)
        self.tensor_terms = weighted_harmonics(sphere)
        self.environment_terms = weighted_harmonics(sphere, a.individual_weights)
        weights = self.environment_terms.sizes[0] * a.channels
        self.two_body = self._mlp(width, a.two_body, a.scalars, dtype)
        self.tensor = self._mlp(a.scalars, Mlp(), (a.l_max + 1) * a.channels, dtype)
        self.projection = MlpWeights([a.scalars, a.scalars + weights], None, GAIN, dtype)  # always by fan in
        self.latents = torch.nn.ModuleList()
        for k in range(a.layers):
            emitted = a.scalars + (weights if k + 1 < a.layers else 0)
            self.latents.append(self._mlp((k + 1) * a.scalars + a.channels, a.latent, emitted, dtype))
        self.paths = torch.nn.ParameterList(
            torch.nn.Parameter(torch.empty((a.channels if a.coupled else 1, len(layer.paths)), dtype=dtype))
            for layer in self.layers
        )
        self.readout = self._mlp((a.layers + 1) * a.scalars, a.readout, 1, dtype)

    def _mlp(self, fan_in: int, mlp: Mlp, fan_out: int, dtype: torch.dtype) -> MlpWeights:
        widths = [fan_in, *mlp.widths, fan_out]
        return MlpWeights(widths, mlp.activation, GAIN, dtype, self.architecture.forward_normalize)

    def initialize(self, generator: torch.Generator) -> None:
        """Draws all weights from nequip-allegro's distributions."""
        a = self.architecture
        if isinstance(a.embedding, Bessel):
            normal_(self.center_embedding, generator)
            normal_(self.neighbor_embedding, generator)
        else:
            uniform_(self.splines, generator)
            with torch.no_grad():
                self.splines.div_(math.sqrt(max(a.embedding.span, 1) if a.forward_normalize else a.embedding_width))
        for weights in self.paths:
            uniform_(weights, generator)
        for module in self.modules():
            if isinstance(module, MlpWeights):
                module.initialize(generator)
