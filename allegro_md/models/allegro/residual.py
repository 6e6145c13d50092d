"""The residual form of Allegro (the 2023 paper): its parameters.

Musaelian et al., Nat. Commun. 14, 579 (2023); `residual_evaluator` evaluates it.
"""

from __future__ import annotations

import math

import torch

from allegro_md.models.allegro.architecture import Residual
from allegro_md.models.allegro.geometry import bessel
from allegro_md.models.allegro.irreps import Irrep, both_parities, build_layers, harmonics, weighted_harmonics
from allegro_md.models.allegro.mlp import SILU_NORM, MlpWeights, normal_

SAMPLES = 4000
"""Distances k · cutoff / 4000, k = 1 … 4000, over which the radial functions are standardized."""


def standardization(roots: torch.Tensor, cutoff: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and inverse unbiased standard deviation (n,) of the radial functions; `roots` (n,) float64."""
    x = torch.arange(1, SAMPLES + 1, dtype=torch.float64, device=roots.device) / SAMPLES
    values = bessel(x, roots) * prefactor(cutoff)
    return values.mean(0), 1.0 / values.std(0, unbiased=True)


def prefactor(cutoff: float) -> float:
    """Turns sin(π w x) / (π x) into (2 / r_c) sin(w π r / r_c) / r, 1/Å²."""
    return 2.0 * math.pi / cutoff**2


class ResidualWeights(torch.nn.Module):
    """Parameters of the residual form, shaped as those of the 2023 code.

    Attributes:
        roots: (n,) float64, Bessel roots over π; basis_mean, basis_inverse_std: (n,) their standardization.
        two_body: MLP of one-hot center | one-hot neighbor | radial functions → latents.
        environments: linear map per layer, latents → weights; the first also makes the first tensor's, which come
            first. Columns u · (l_max + 1) + l.
        latents: MLP per layer, latents | scalars (column u · paths + path) → update.
        mixings: per layer a flat vector, one block (out channel, in channel, path) per result irrep. The last one
            has no effect (its result is not read) but belongs to the published model.
        readout: MLP latents → edge energy.
        layers: the tensor products.
    """

    basis_mean: torch.Tensor
    basis_inverse_std: torch.Tensor

    def __init__(self, architecture: Residual, dtype: torch.dtype) -> None:
        super().__init__()
        a = self.architecture = architecture
        roots = torch.arange(1, a.bessel + 1, dtype=torch.float64)
        self.roots = torch.nn.Parameter(roots, requires_grad=a.trainable_bessel)
        mean, inverse_std = standardization(roots, a.cutoff)
        self.register_buffer("basis_mean", mean)
        self.register_buffer("basis_inverse_std", inverse_std)
        sphere, carried = carried_irreps(a)
        self.layers = build_layers(sphere, carried, a.layers, narrowing=True)
        self.weight_terms = weighted_harmonics(sphere)
        degrees = a.l_max + 1

        def mlp(fan_in: int, widths: tuple[int, ...], fan_out: int, activation: str | None) -> MlpWeights:
            return MlpWeights([fan_in, *widths, fan_out], activation, SILU_NORM, dtype)

        self.two_body = mlp(2 * len(a.symbols) + a.bessel, a.two_body.widths, a.latents, a.two_body.activation)
        self.environments = torch.nn.ModuleList(
            mlp(a.latents, (), (2 if k == 0 else 1) * degrees * a.channels, None) for k in range(a.layers)
        )
        self.latents = torch.nn.ModuleList(
            mlp(a.latents + scalars * a.channels, a.latent.widths, a.latents, a.latent.activation)
            for scalars in (sum(path[2] == 0 for path in layer.paths) for layer in self.layers)
        )
        self.mixings = torch.nn.ParameterList(
            torch.nn.Parameter(torch.empty(a.channels**2 * len(layer.paths), dtype=dtype)) for layer in self.layers
        )
        self.readout = mlp(a.latents, a.readout.widths, 1, a.readout.activation)

    def initialize(self, generator: torch.Generator) -> None:
        """Draws all weights as the paper's runs did."""
        for weights in self.mixings:
            normal_(weights, generator)
        for module in self.modules():
            if isinstance(module, MlpWeights):
                module.initialize(generator)


def carried_irreps(a: Residual) -> tuple[tuple[Irrep, ...], tuple[Irrep, ...]]:
    """Irreps of the spherical harmonics, and those that may be carried between layers."""
    if a.parity == "so3":
        sphere = harmonics(a.l_max, parity=1)
        return sphere, sphere
    sphere = harmonics(a.l_max)
    return sphere, both_parities(a.l_max) if a.parity == "o3_full" else sphere
