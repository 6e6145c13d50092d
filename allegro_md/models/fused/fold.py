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
from typing import NamedTuple

import numpy as np
import torch
from ase.data import atomic_numbers
from numpy.typing import NDArray

from allegro_md.errors import InputError
from allegro_md.models.allegro.architecture import Architecture
from allegro_md.models.allegro.network import Network
from allegro_md.models.allegro.zbl import HALF_E2, screening_length
from allegro_md.models.fused.layers import Array, Columns, Layers, Node, describe

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
        described, columns = describe(body, norms.rsqrt().numpy()[species])
        if a.layers == 1:
            levels, columns = _lowered(described, columns, norms.rsqrt())
        else:
            layers = described
        double_counting = 1.0 if described.mixed else 2.0
        factors = (network.scales / torch.sqrt(double_counting * norms)).numpy()[species]
        shifts = network.shifts.numpy()[species]
    n = len(a.symbols)
    every = np.array(a.pair_cutoffs) if a.pair_cutoffs else np.full((n, n), a.cutoff)
    cutoffs = every[np.ix_(species, species)]
    return Fold(
        a.l_max + 1, a.channels, not described.mixed, levels, cutoffs, factors, shifts,
        _repulsion(symbols, cutoffs) if a.zbl else np.zeros((3, 0, 0)), species[:, None] * n + species, columns,
        layers,
    )


def _repulsion(symbols: Sequence[str], cutoffs: Array) -> Array:
    numbers = np.array([atomic_numbers[s] for s in symbols], dtype=np.float64)
    return np.stack([HALF_E2 * np.outer(numbers, numbers), 1.0 / screening_length(numbers[:, None], numbers), cutoffs])


def _lowered(layers: Layers, columns: Columns, norms: torch.Tensor) -> tuple[tuple[Level, ...], Columns]:
    """The levels of a description with one layer, and its radial functions with norms and coefficients in them.

    A node without an activation becomes part of the one it gives to: z' = f' + c · (f + s @ M) @ M'.

    Args:
        layers: of one layer; nodes after its scalars have one source each.
        columns: its radial functions: own, environment.0, those of the other nodes, the envelope if it is used.
        norms: (species,) float64, of the environments, by species of the model.
    """
    n, product = len(norms), layers.products[0][0]
    degrees = int(product.terms.a.max(initial=0) ** 0.5) + 1
    rows = [int(np.flatnonzero(product.terms.a == degree**2)[0]) for degree in range(degrees)]
    paths = torch.from_numpy(product.coefficient[rows].reshape(1, -1))
    steps = _merged(layers.nodes)
    widths = [paths.shape[1], *(node.width for node in layers.nodes if node.radial)]
    names = ["own", *(node.name for node in layers.nodes if node.radial)]

    def lowered(x: torch.Tensor, pair: torch.Tensor) -> list[torch.Tensor]:
        values = torch.cat(columns(x, pair), dim=1)
        cut = [values[:, sum(widths) :]] if any(step.level.cut for step in steps) else []
        radial = dict(zip(names, values[:, : sum(widths)].split(widths, dim=1), strict=True))
        found = [radial["environment.0"] * norms[pair // n][:, None], radial["own"] * paths]
        for step in steps:
            parts = [radial[name] @ m * (cut[0] if is_cut else 1.0) for name, m, is_cut in step.sources]
            parts += [radial[step.name]] if step.name in radial else []
            found += [sum(parts[1:], parts[0])] if parts else []
        return [*found, *cut]

    return tuple(step.level for step in steps), lowered


class _Step(NamedTuple):
    """A level, the node that it ends in, and the linear nodes with radial functions that went into it.

    Attributes:
        name: of the node.
        level: the maps put together.
        sources: name of a node, what its radial function is multiplied by, and whether the envelope is a factor.
    """

    name: str
    level: Level
    sources: list[tuple[str, torch.Tensor, bool]]


def _merged(nodes: Sequence[Node]) -> list[_Step]:
    """Goes along the nodes after the scalars, one source each, and puts linear ones into those that follow."""
    cut_of = {node.name: node.cut for node in nodes}
    radial_nodes = {node.name for node in nodes if node.radial}
    steps: list[_Step] = []
    before: _Step | None = None  # linear, not yet part of a level
    for node in nodes[2:]:
        ((source, array),) = node.sources.items()
        matrix, cut = torch.from_numpy(array), cut_of[source]
        sources: list[tuple[str, torch.Tensor, bool]] = []
        if before is not None:
            sources = [(name, m @ matrix, is_cut or cut) for name, m, is_cut in before.sources]
            sources += [(source, matrix, cut)] if source in radial_nodes else []
            matrix, cut = torch.from_numpy(before.level.matrix) @ matrix, before.level.cut or cut
        level = Level(np.ascontiguousarray(matrix.numpy()), node.radial or bool(sources), cut, node.activation)
        step = _Step(node.name, level, sources)
        before = step if node.activation is None and node.name != "energy" else None
        if before is None:
            steps.append(step)
    return steps
