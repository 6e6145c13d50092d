"""A trained network of one layer, rewritten: radial functions per ordered species pair, one tensor sum, small matrices.

Everything before the sum over neighbors depends on the two species and the distance alone, and so do its linear
images in every later pre-activation. What is left of an edge (i, j) with slots s and levels k = 0 … K:

    A_i[lm, u] = Σ_j env_lu(r_ij) Y_lm(ij)                        environment of the center
    s[slot(l, u)] += own_lu(r) Σ_m Y_lm A_i[lm, u]                coupling coefficients and path weights are in own
    z_0 = f_0(r) + c_0(r) · s W_0,  z_k = f_k(r) + c_k(r) · act(z_{k−1}) W_k
    E_i = factor_i Σ_j z_K + shift_i

with f_k (absent in most levels) and c_k (the envelope, or 1) radial. Two maps without an activation between them are
one level. A model whose only level is z_K is *bilinear* in sums over the neighbors, since it is linear in s; else it
is a *single-layer* network. Musaelian et al., Nat. Commun. 14, 579 (2023) for the network.

Arguments: x (E,) float64 reduced distances; pair (E,) int64, center species · n + neighbor species; norms (n,) float64,
1/√⟨N⟩ by species of the center; cutoffs (n, n) float64 Å.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ase.data import atomic_numbers
from numpy.typing import NDArray

from allegro_md.errors import InputError
from allegro_md.models.allegro.architecture import Architecture
from allegro_md.models.allegro.dense import DenseWeights
from allegro_md.models.allegro.irreps import coupling
from allegro_md.models.allegro.mlp import matrices_of
from allegro_md.models.allegro.network import Network
from allegro_md.models.allegro.residual import ResidualWeights
from allegro_md.models.allegro.residual_evaluator import NEW, OLD, ResidualEvaluator
from allegro_md.models.allegro.zbl import HALF_E2, screening_length
from allegro_md.models.fused.layers import Array, Columns, Layers, dense_layers, residual_layers

MOST_DEGREES = 3
"""Highest l_max with kernels."""


class UnfoldableError(InputError):
    """A network without a folded form, or whose tables would be too coarse; `what` says which."""


@dataclass(frozen=True)
class Level:
    """z = f(r) + c(r) · (input @ matrix), then the activation.

    Attributes:
        matrix: (fan in, width).
        radial: whether there is an f(r).
        cut: whether c is the envelope.
        activation: None in the last level.
    """

    matrix: Array
    radial: bool
    cut: bool
    activation: str | None


@dataclass(frozen=True)
class Fold:
    """A folded network for the species of a system, in float64.

    Attributes:
        degrees: l_max + 1.
        channels: C.
        shared: the scalars of all degrees are added up (slot u), or kept apart (slot l · C + u).
        levels: see the module; none in a multi-layer network.
        cutoffs: (n, n) Å, [center, neighbor].
        factors: (n,) eV per unit of Σ_j z_K, by species of the center.
        shifts: (n,) eV.
        repulsion: (3, n, n) ½ e² Z Z' (eV·Å), inverse screening length (1/Å) and cutoff (Å); (3, 0, 0) without.
        pairs: (n, n) ordered pair of the model.
        columns: the radial functions: env, own, the f_k that there are, the envelope if used; of a multi-layer
            network those of `layers`.
        layers: of a multi-layer network.
    """

    degrees: int
    channels: int
    shared: bool
    levels: tuple[Level, ...]
    cutoffs: Array
    factors: Array
    shifts: Array
    repulsion: Array
    pairs: NDArray[np.int64]
    columns: Columns
    layers: Layers | None = None

    @property
    def kind(self) -> str:
        """The class: "bilinear", "single-layer" or "multi-layer"."""
        if self.layers is not None:
            return "multi-layer"
        return "bilinear" if len(self.levels) == 1 else "single-layer"

    def sample(self, center: int, neighbor: int, x: Array) -> Array:
        """(len(x), columns) radial functions of an ordered pair at reduced distances 0 < x ≤ 1."""
        pair = torch.full((len(x),), int(self.pairs[center, neighbor]), dtype=torch.int64)
        with torch.no_grad():
            values: Array = torch.cat(self.columns(torch.from_numpy(x), pair), dim=1).numpy()
        return values


def obstacle(a: Architecture) -> str | None:
    """Names the reason why a network of this architecture cannot be folded; None if it can."""
    if a.l_max > MOST_DEGREES:
        return f"l_max = {a.l_max}; no more than {MOST_DEGREES} is built"
    return None


def class_reason(a: Architecture) -> str:
    """Says in a phrase what decides the class of a network of this architecture."""
    if a.layers > 1:
        return f"{a.layers} layers"
    maps = (("the latent MLP", a.latent), ("the readout", a.readout))
    bent = [f"{name} ({mlp.activation})" for name, mlp in maps if mlp.widths and mlp.activation]
    beyond = f"not linear: {', '.join(bent)}" if bent else "all linear"
    return f"one layer, beyond the sum over neighbors {beyond}"


def fold(network: Network, symbols: Sequence[str]) -> Fold:
    """Folds a network for the species of a system (all of them known to it).

    Raises:
        ValueError: see `obstacle`.
    """
    a, body = network.architecture, network.weights
    if problem := obstacle(a):
        raise ValueError(problem)
    species = np.array([a.symbols.index(s) for s in symbols], dtype=np.int64)
    norms = torch.tensor(a.neighbors_per_species, dtype=torch.float64)
    layers: Layers | None = None
    levels: tuple[Level, ...] = ()
    with torch.no_grad():
        if isinstance(body, DenseWeights):
            shared, double_counting = True, 2.0
            layers, columns = dense_layers(body, norms.rsqrt().numpy()[species])
            if a.layers == 1:
                levels, columns = _lowered(layers, columns, norms.rsqrt())
                layers = None
        else:
            assert isinstance(body, ResidualWeights)
            shared, double_counting = False, 1.0
            if a.layers == 1:
                levels, columns = _residual(body, norms.rsqrt())
            else:
                layers, columns = residual_layers(body, norms.rsqrt().numpy()[species])
        factors = (network.scales / torch.sqrt(double_counting * norms)).numpy()[species]
        shifts = network.shifts.numpy()[species]
    n = len(a.symbols)
    every = np.array(a.pair_cutoffs) if a.pair_cutoffs else np.full((n, n), a.cutoff)
    cutoffs = every[np.ix_(species, species)]
    return Fold(
        a.l_max + 1, a.channels, shared, levels, cutoffs, factors, shifts,
        _repulsion(symbols, cutoffs) if a.zbl else np.zeros((3, 0, 0)), species[:, None] * n + species, columns,
        layers,
    )


def _repulsion(symbols: Sequence[str], cutoffs: Array) -> Array:
    numbers = np.array([atomic_numbers[s] for s in symbols], dtype=np.float64)
    return np.stack([HALF_E2 * np.outer(numbers, numbers), 1.0 / screening_length(numbers[:, None], numbers), cutoffs])


def _coupling(degrees: int) -> torch.Tensor:
    """(degrees,) float64, coefficient of l × l → scalar, the same for all components."""
    return torch.tensor([coupling(degree, degree, 0)[0, 0, 0] for degree in range(degrees)], dtype=torch.float64)


def _lowered(layers: Layers, columns: Columns, norms: torch.Tensor) -> tuple[tuple[Level, ...], Columns]:
    """The levels of a description with one layer, and its radial functions with norms and coefficients in them.

    Args:
        layers: of one layer; nodes after its scalars have one source each.
        columns: its radial functions: own, environment.0, those of the other nodes.
        norms: (species,) float64, of the environments, by species of the model.
    """
    n = len(norms)
    chain: list[Level] = []
    merged: torch.Tensor | None = None
    for node in layers.nodes[2:]:
        ((_, array),) = node.sources.items()
        matrix = torch.from_numpy(array) if merged is None else merged @ torch.from_numpy(array)
        merged = matrix if node.activation is None and node.name != "energy" else None
        if merged is None:
            chain.append(Level(np.ascontiguousarray(matrix.numpy()), node.radial, False, node.activation))
    ((product,),) = layers.products
    degrees = int(product.terms.a.max(initial=0) ** 0.5) + 1
    rows = [int(np.flatnonzero(product.terms.a == degree**2)[0]) for degree in range(degrees)]
    paths = torch.from_numpy(product.coefficient[rows].reshape(1, -1))

    def lowered(x: torch.Tensor, pair: torch.Tensor) -> list[torch.Tensor]:
        own, environment, *rest = columns(x, pair)
        return [environment * norms[pair // n][:, None], own * paths, *rest]

    return tuple(chain), lowered


def _residual(weights: ResidualWeights, norms: torch.Tensor) -> tuple[tuple[Level, ...], Columns]:
    """Derives levels and radial functions of the residual form; norms (species,) float64."""
    a = weights.architecture
    n, degrees, width = len(a.symbols), a.l_max + 1, (a.l_max + 1) * a.channels
    latent, readout = matrices_of(weights.latents[0]), weights.readout.matrices()
    from_latents, from_scalars = latent[0][: a.latents], latent[0][a.latents :]
    by_degree = from_scalars.reshape(a.channels, degrees, -1).transpose(0, 1).reshape(width, -1)
    first, linear = readout[0], len(latent) == 1
    if linear:
        chain = [Level((NEW * by_degree @ first).numpy(), True, True, a.readout.activation)]
    else:
        act = a.latent.activation
        chain = [Level(by_degree.numpy(), True, False, act)]
        chain += [Level(m.numpy(), False, False, act) for m in latent[1:-1]]
        chain.append(Level((NEW * latent[-1] @ first).numpy(), True, True, a.readout.activation))
    chain += [Level(m.numpy(), False, False, a.readout.activation) for m in readout[1:]]
    plan = ResidualEvaluator(weights, torch.float64, torch.device("cpu"))
    split = matrices_of(weights.environments[0])[0].reshape(a.latents, 2, a.channels, degrees).transpose(2, 3)
    own, environment = (split[:, k].reshape(a.latents, width) for k in range(2))
    own = own * _coupling(degrees).repeat_interleave(a.channels)

    def columns(x: torch.Tensor, pair: torch.Tensor) -> list[torch.Tensor]:
        cut, latents = plan.two_body(x, pair)
        parts = [latents @ environment * norms[pair // n][:, None], latents @ own]
        old = OLD * latents
        if linear:
            old = old + NEW * cut * (latents @ from_latents)
        else:
            parts.append(latents @ from_latents)
        return [*parts, old @ first, cut]

    return _finished(chain), columns


def _finished(chain: list[Level]) -> tuple[Level, ...]:
    """The last level has no activation."""
    last = chain[-1]
    return (*chain[:-1], Level(np.ascontiguousarray(last.matrix), last.radial, last.cut, None))
