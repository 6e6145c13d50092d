"""The network to train: the hyper-parameters of the input, the statistics of the data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from allegro_md.config.training import DenseModel, ResidualModel
from allegro_md.errors import InputError
from allegro_md.models.allegro.architecture import Architecture, Bessel, Dense, Mlp, Residual, Spline
from allegro_md.models.allegro.network import Network
from allegro_md.training.statistics import Statistics


def cutoffs(model: DenseModel | ResidualModel, symbols: Sequence[str]) -> NDArray[np.float64]:
    """(species, species) Å, [center, neighbor].

    Raises:
        InputError: a pair cutoff beyond the cutoff.
    """
    table = np.full((len(symbols), len(symbols)), model.cutoff)
    if isinstance(model, DenseModel):
        for (center, neighbor), length in (model.pair_cutoffs or {}).items():
            if length > model.cutoff:
                raise InputError(f"the pair cutoff of {center}-{neighbor}, {length:g} Å, exceeds the cutoff",
                                 "model.pair_cutoffs", "make the cutoff the largest of them")
            if center in symbols and neighbor in symbols:
                table[symbols.index(center), symbols.index(neighbor)] = length
    return table


def build_network(
    model: DenseModel | ResidualModel, symbols: Sequence[str], statistics: Statistics, dtype: torch.dtype, seed: int
) -> Network:
    """A network with random weights on the scale of the data.

    Args:
        model: its hyper-parameters.
        symbols: its elements.
        statistics: of the training frames.
        dtype: of the weights.
        seed: of the weights.
    """
    network = Network(architecture(model, symbols, statistics.average_neighbors), dtype).initialize(seed)
    with torch.no_grad():
        for parameter, values in ((network.scales, statistics.scales), (network.shifts, statistics.shifts)):
            parameter.copy_(torch.tensor([values[symbol] for symbol in symbols], dtype=torch.float64))
    return network


def architecture(model: DenseModel | ResidualModel, symbols: Sequence[str], neighbors: float) -> Architecture:
    """The architecture as a model file holds it."""
    common = {
        "symbols": tuple(symbols), "cutoff": model.cutoff, "layers": model.layers, "l_max": model.l_max,
        "channels": model.channels, "average_neighbors": neighbors, "trainable_scales": model.trainable_scales,
        "trainable_shifts": model.trainable_shifts, "zbl": model.zbl,
    }
    if isinstance(model, ResidualModel):
        return Residual(
            **common, bessel=model.radial_functions, envelope=model.envelope, trainable_bessel=model.trainable_bessel,
            two_body=_mlp(model.two_body, model.activation), latents=model.latents,
            latent=_mlp(model.latent, model.latent_activation), readout=_mlp(model.readout, model.readout_activation),
            parity=model.parity,
        )
    table = cutoffs(model, symbols)
    embedding: Bessel | Spline = Bessel(
        count=model.radial_functions or 8, envelope=model.envelope, trainable=model.trainable_bessel
    )
    if model.radial == "spline":
        embedding = Spline(count=model.radial_functions or 16, span=model.spline_span)
    return Dense(
        **common, pair_cutoffs=tuple(map(tuple, table.tolist())) if model.pair_cutoffs else None, embedding=embedding,
        embedding_width=model.embedding_width or model.scalars, two_body=_mlp(model.two_body, model.activation),
        scalars=model.scalars, latent=_mlp(model.latent, model.latent_activation),
        readout=_mlp(model.readout, model.activation), parity=model.parity, coupled=model.coupled,
        individual_weights=model.individual_weights, forward_normalize=model.forward_normalize,
    )


def _mlp(widths: tuple[int, ...], activation: str) -> Mlp:
    return Mlp(widths=widths, activation=None if activation == "linear" else activation)
