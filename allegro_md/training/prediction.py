"""Prediction of a batch: energies, forces and stresses, differentiable with respect to the weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from allegro_md.kernels.segment import segment_sum
from allegro_md.models.allegro.edges import Edges
from allegro_md.training.batches import Batch


@dataclass(frozen=True)
class Prediction:
    """Of the frames of a batch, float64.

    Attributes:
        energy: (B,) eV.
        forces: (A, 3) eV/Å.
        stress: (B, 3, 3) eV/Å³, positive in tension; NaN where a frame has no volume.
    """

    energy: torch.Tensor
    forces: torch.Tensor
    stress: torch.Tensor


def predict(evaluate: Callable[[Edges], torch.Tensor], batch: Batch, differentiable: bool = False) -> Prediction:
    """Evaluates a network and its gradient.

    Args:
        evaluate: energies of centers; a network, or one made ready.
        batch: the frames.
        differentiable: whether a loss of the prediction will be differentiated.
    """
    vector = batch.edges.vector.detach().requires_grad_()
    with torch.enable_grad():
        energies = evaluate(replace(batch.edges, vector=vector))
        (gradient,) = torch.autograd.grad(energies.sum(), vector, create_graph=differentiable)
    if not differentiable:
        energies = energies.detach()
    n, atoms = len(batch.atoms), len(batch.frame)
    forces = segment_sum(gradient, batch.edges.center, atoms).index_add(0, batch.neighbor, -gradient)
    strain = segment_sum(vector[:, :, None] * gradient[:, None, :], batch.frame[batch.edges.center], n)
    stress = 0.5 * (strain + strain.transpose(1, 2)) / batch.volume[:, None, None]
    result = Prediction(segment_sum(energies, batch.frame, n), forces, stress)
    return result if differentiable else Prediction(result.energy, forces.detach(), stress.detach())
