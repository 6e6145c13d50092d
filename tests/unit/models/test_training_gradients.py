"""Gradients of a force loss with respect to every weight: what training will need."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gradients import check_gradients

from allegro_md.models.allegro.architecture import Bessel, Dense, Mlp, Residual, Spline
from allegro_md.models.allegro.edges import Edges
from allegro_md.models.allegro.network import Network

COMMON = {"symbols": ("Na", "Cl"), "cutoff": 4.0, "layers": 2, "l_max": 2, "channels": 3, "average_neighbors": 6.0,
          "trainable_scales": True, "trainable_shifts": True}  # fmt: skip
DENSE = COMMON | {"embedding_width": 4, "two_body": Mlp(widths=(5,)), "scalars": 4, "latent": Mlp(widths=(5,)),
                  "readout": Mlp(widths=(3,))}  # fmt: skip
ARCHITECTURES: dict[str, Dense | Residual] = {
    "bessel": Dense(**DENSE, embedding=Bessel(trainable=True)),
    "spline": Dense(**DENSE, embedding=Spline(count=6, span=4), coupled=False),
    "residual": Residual(**COMMON, two_body=Mlp(widths=(5,)), latents=4, latent=Mlp(widths=(5,)),
                         readout=Mlp(widths=(3,), activation=None), trainable_bessel=True),
}  # fmt: skip


def edges(seed: int = 0) -> Any:
    """Three centers with edges in random directions."""
    rng = np.random.default_rng(seed)
    direction = rng.normal(size=(12, 3))
    length = rng.uniform(1.5, 3.9, (12, 1))
    vector = torch.tensor(direction / np.linalg.norm(direction, axis=1)[:, None] * length, requires_grad=True)
    center = torch.tensor([0] * 5 + [1] * 4 + [2] * 3)
    return Edges(vector, center, torch.tensor([0, 1, 1]), torch.tensor(rng.integers(2, size=12)))


def loss(network: Any) -> Any:
    block = edges()
    energy = network(block)
    (gradient,) = torch.autograd.grad(energy.sum(), block.vector, create_graph=True)
    return gradient.pow(2).sum() + (energy - 1.0).pow(2).sum()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_weight_has_its_gradient(name: Any) -> None:
    network = Network(ARCHITECTURES[name]).initialize(4)
    unused = check_gradients(network, lambda: loss(network))
    dead = ["weights.mixings.1"] if name == "residual" else []  # the last mixing of the 2023 model has no effect
    assert unused == dead
