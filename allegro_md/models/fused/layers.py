"""A trained network, rewritten: radial functions per ordered species pair, tensors, merged matrices.

What an edge (i, j) holds beside its tensor are *nodes*, each a vector of numbers,

    z = f(r) + Σ_source c · source @ M,  then an activation,

f radial (or absent) and c the envelope where the source asks for it, else 1. Two maps without an activation between
them are one matrix. Layer k has a node of environment weights and one of scalars:

    Γ_k[lm, u] = norm_i Σ_j environment.k[l, u] Y_lm(ij),  V_0[lm, u] = own[l, u](r) Y_lm,
    V_{k+1}[o, u] = Σ_terms coefficient[u] V_k[a, u] Γ_k[b, u],  scalars.k = V_{k+1}[0]           (dense form)
    P_k[m, path, u] likewise, V_{k+1}[m, u] = Σ_path,v P_k[m, path, v] M[path, v, u], scalars.k = P_k[0] (residual form)

and E_i = factor_i Σ_j energy + shift_i. In the dense form V_k is V_0 times numbers that belong to the center alone.

Arguments: x (E,) float64 reduced distances; pair (E,) int64, center species · n + neighbor species; norms (n,) float64,
1/√⟨N⟩ by species of the center.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from allegro_md.kernels.contract import Terms
from allegro_md.models.allegro.dense import DenseWeights
from allegro_md.models.allegro.dense_evaluator import DenseEvaluator
from allegro_md.models.allegro.linear import Form, through, total
from allegro_md.models.allegro.residual import ResidualWeights
from allegro_md.models.allegro.residual_evaluator import NEW, OLD, ResidualEvaluator

Array = NDArray[np.float64]
Columns = Callable[[torch.Tensor, torch.Tensor], list[torch.Tensor]]
"""Reduced distances and ordered pairs of the model → radial functions, each (E, width)."""

FIRST = "two_body"
"""Sources of this name are radial."""


@dataclass(frozen=True)
class Node:
    """z = f(r) + Σ c · source @ matrix, then the activation.

    Attributes:
        name: "environment.k" (columns l · C + u), "scalars.k" (columns path · C + u; no sources), "energy", or another.
        width: numbers per edge.
        sources: name of an earlier node → matrix (its width, width).
        radial: whether there is an f(r).
        cut: whether what it gives to others is multiplied by the envelope.
        activation: None where it is linear.
    """

    name: str
    width: int
    sources: dict[str, Array]
    radial: bool
    cut: bool
    activation: str | None


@dataclass(frozen=True)
class Product:
    """A tensor product, or in the residual form its part to one irrep, with paths kept apart.

    Attributes:
        terms: components of V_k, Γ_k and the result (component m · paths + path in the residual form).
        coefficient: (terms, C).
        mixing: (paths · C, C) of the result, row path · C + u; None where nothing is mixed.
    """

    terms: Terms
    coefficient: Array
    mixing: Array | None


@dataclass(frozen=True)
class Layers:
    """Description of a tensor-product network beyond its radial functions.

    Attributes:
        nodes: in an order of evaluation: "scalars.k" after "environment.k" and before "environment.k + 1".
        products: of each layer: one, or one per irrep of the result, scalars first.
        mixed: the residual form.
        norms: (n,) by species of the center.
    """

    nodes: tuple[Node, ...]
    products: tuple[tuple[Product, ...], ...]
    mixed: bool
    norms: Array


class _Chain:
    """Nodes in order of evaluation."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self._made_by: dict[str, str] = {}

    def scalars(self, k: int, width: int) -> None:
        """The scalars of a layer."""
        self._append(Node(f"scalars.{k}", width, {}, radial=False, cut=False, activation=None))

    def add(self, name: str, form: Form, activation: str | None = None, cut: bool = False) -> None:
        """A node; sources that start with `FIRST` are radial."""
        sources = {self._made_by[s]: m.numpy() for s, m in form.items() if not s.startswith(FIRST)}
        width = next(iter(form.values())).shape[1]
        self._append(Node(name, width, sources, len(sources) < len(form), cut, activation))

    def mlp(
        self, name: str, form: Form, inner: list[torch.Tensor], activation: str | None, cut: bool = False
    ) -> None:
        """One node per activation; as a source, the name stands for the last one."""
        self.add(name, form, activation, cut and not inner)
        for k, matrix in enumerate(inner, 1):
            self.add(f"{name}.{k}", {name: matrix}, activation, cut and k == len(inner))
            self._made_by[name] = f"{name}.{k}"

    def readout(self, form: Form, rest: list[torch.Tensor], activation: str | None) -> None:
        """From what the readout's first matrix gives to the energy."""
        if rest:
            self.mlp("readout", form, rest[:-1], activation)
            form = {"readout": rest[-1]}
        self.add("energy", form)

    def _append(self, node: Node) -> None:
        self.nodes.append(node)
        self._made_by[node.name] = node.name


def describe(weights: DenseWeights | ResidualWeights, norms: Array) -> tuple[Layers, Columns]:
    """Describes a network of either form; `norms` (n,) float64 by species of the center.

    Returns:
        The layers, and the radial functions: own, then those of the nodes that have one, then the envelope if it is
        used.
    """
    if isinstance(weights, DenseWeights):
        return _dense_layers(weights, norms)
    return _residual_layers(weights, norms)


def _dense_layers(weights: DenseWeights, norms: Array) -> tuple[Layers, Columns]:
    """Layers and radial functions (own, then those of the nodes) of the dense form."""
    a = weights.architecture
    plan = DenseEvaluator(weights, torch.float64, torch.device("cpu"))
    feeds, inner, last = plan.merged.feeds, plan.merged.inner, plan.merged.last
    repeats = 1 if a.individual_weights else a.l_max + 1
    chain = _Chain()
    for k in range(a.layers):
        form = feeds[f"environment.{k}"]
        chain.add(f"environment.{k}", {source: m.repeat(1, repeats) for source, m in form.items()})
        chain.scalars(k, a.channels)
        name = f"latent.{k}"
        if name in feeds:
            chain.mlp(name, feeds[name], inner[name], a.latent.activation)
        if f"{name}.block" in feeds:
            chain.add(f"{name}.block", feeds[f"{name}.block"])
    rest = [] if last is None else [*inner["readout"], last]
    chain.readout(feeds["readout"], rest, a.readout.activation)
    nodes = tuple(chain.nodes)
    consumers = [("readout" if n.name == "energy" else n.name) for n in nodes if n.radial]

    def columns(x: torch.Tensor, pair: torch.Tensor) -> list[torch.Tensor]:
        inputs = plan.two_body(x, pair)
        environments = (name.startswith("environment") for name in consumers)
        return [
            inputs["tensor"],
            *(inputs[c].repeat(1, repeats if e else 1) for c, e in zip(consumers, environments, strict=True)),
        ]

    products = tuple(
        (Product(p.terms, coefficient.numpy(), None),)
        for p, coefficient in zip(plan.products, plan.coefficients, strict=True)
    )
    return Layers(nodes, products, mixed=False, norms=norms), columns


def _residual_layers(weights: ResidualWeights, norms: Array) -> tuple[Layers, Columns]:
    """Layers and radial functions (own, those of the nodes, the envelope) of the residual form."""
    a = weights.architecture
    plan = ResidualEvaluator(weights, torch.float64, torch.device("cpu"))
    own, first = plan.weights[0].split((a.l_max + 1) * a.channels, dim=1)
    environments = [first, *plan.weights[1:]]
    demands = [
        sum(environments[j].shape[1] + plan.layers[j].from_latents.shape[1] for j in range(k + 1, a.layers))
        + plan.readout[0].shape[1]
        for k in range(a.layers)
    ]
    chain, radial = _Chain(), {}
    latents: Form = {FIRST: torch.eye(a.latents, dtype=torch.float64)}
    for k, layer in enumerate(plan.layers):
        name = f"latent.{k}"
        chain.add(f"environment.{k}", through(latents, environments[k]))
        chain.scalars(k, len(layer.from_scalars))
        form = through(latents, layer.from_latents)
        radial.update({f"environment.{k}": latents[FIRST] @ environments[k], name: form[FIRST]})
        activation = a.latent.activation if layer.rest else None
        chain.mlp(name, form | {f"scalars.{k}": layer.from_scalars}, layer.rest[:-1], activation, cut=True)
        update = _update(chain, name, layer.rest, a.latents, demands[k])
        latents = total([{s: OLD * m for s, m in latents.items()}, {s: NEW * m for s, m in update.items()}])
    form = through(latents, plan.readout[0])
    chain.readout(form, plan.readout[1:], a.readout.activation)
    nodes = tuple(chain.nodes)
    radial["readout" if len(plan.readout) > 1 else "energy"] = form[FIRST]
    matrices = torch.cat([own, *(radial[n.name] for n in nodes if n.radial)], dim=1)

    def columns(x: torch.Tensor, pair: torch.Tensor) -> list[torch.Tensor]:
        cut, values = plan.two_body(x, pair)
        return [values @ matrices, cut]

    products = tuple(
        tuple(
            Product(p.terms, c.numpy(), None if k + 1 == a.layers else m.numpy())
            for p, c, m in zip(layer.products, layer.coefficients, layer.mixings, strict=True)
        )
        for k, layer in enumerate(plan.layers)
    )
    return Layers(nodes, products, mixed=True, norms=norms), columns


def _update(chain: _Chain, name: str, rest: list[torch.Tensor], width: int, demand: int) -> Form:
    """A layer's update of the latents: a node of its own where that costs less than its last matrix in all readers."""
    if not rest:
        return {name: torch.eye(width, dtype=torch.float64)}
    fan = len(rest[-1])
    if fan * demand <= width * (fan + demand):
        return {name: rest[-1]}
    chain.add(f"{name}.block", {name: rest[-1]})
    return {f"{name}.block": torch.eye(width, dtype=torch.float64)}
