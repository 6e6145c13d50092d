"""States of the 2023 code (allegro of that year, nequip 0.5) as residual networks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from pydantic import ValidationError

from allegro_md.errors import InputError
from allegro_md.models.allegro.architecture import Mlp, Residual
from allegro_md.models.allegro.mlp import MlpWeights
from allegro_md.models.allegro.network import Network
from allegro_md.models.convert.nequip_allegro import Arrays, copy_state

_OPPOSITE = {(1, 2, 2), (2, 1, 2), (2, 2, 1)}
"""Degrees whose Wigner 3j tensor changed sign between e3nn 0.4 and 0.6, up to l = 2."""


def network_from_paper(config: Mapping[str, Any], arrays: Arrays, where: str = "model") -> Network:
    """A residual network from the 2023 code's configuration and state.

    Args:
        config: its configuration keys; lists of latent dimensions include the output.
        arrays: its state, names without the leading "func.".
        where: file, for error messages.

    Raises:
        InputError: what is given is not such a model.
    """
    try:
        architecture = _residual(config)
    except (ValidationError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"not a configuration of the 2023 code: {error}", where) from error
    network = Network(architecture, torch.float64)
    copy_state(network, dict(_names(network)), arrays, where)
    with torch.no_grad():
        network.weights.get_parameter("roots").div_(math.pi)  # theirs contain the factor π
        _turn_signs(network)
    return network


def _turn_signs(network: Network) -> None:
    """Moves the signs in which e3nn 0.4 differs from today's into the mixing weights of those paths."""
    channels = network.architecture.channels
    for k, layer in enumerate(network.weights.layers):
        mixing = network.weights.get_parameter(f"mixings.{k}")
        start = 0
        for c in range(len(layer.out)):
            paths = [path for path in layer.paths if path[2] == c]
            block = mixing[start : start + channels**2 * len(paths)].view(channels, channels, len(paths))
            for column, (a, b, _) in enumerate(paths):
                if (layer.features[a][0], layer.environment[b][0], layer.out[c][0]) in _OPPOSITE:
                    block[:, :, column] *= -1.0
            start += block.numel()


def _residual(config: Mapping[str, Any]) -> Residual:
    def hidden(name: str) -> tuple[int, ...]:
        return tuple(config[f"{name}_mlp_latent_dimensions"])

    if config["l_max"] > 2 and config["num_layers"] > 1:
        raise ValueError("signs of e3nn 0.4's coupling coefficients are known up to l = 2 only")
    two_body, latent = hidden("two_body_latent"), hidden("latent")
    if latent[-1] != two_body[-1]:
        raise ValueError("the latent MLP must end with the width of the two-body MLP")
    return Residual(
        symbols=tuple(config["type_names"]),
        cutoff=config["r_max"],
        layers=config["num_layers"],
        l_max=config["l_max"],
        channels=config["env_embed_multiplicity"],
        average_neighbors=config["avg_num_neighbors"],
        bessel=config["num_basis"],
        envelope=config["PolynomialCutoff_p"],
        trainable_bessel=config["BesselBasis_trainable"],
        two_body=Mlp(widths=two_body[:-1], activation=config["two_body_latent_mlp_nonlinearity"]),
        latents=two_body[-1],
        latent=Mlp(widths=latent[:-1], activation=config["latent_mlp_nonlinearity"]),
        readout=Mlp(widths=hidden("edge_eng"), activation=config["edge_eng_mlp_nonlinearity"]),
        parity=config["parity"],
    )


def _names(network: Network) -> Iterator[tuple[str, str]]:
    """Our parameter name → theirs."""
    layers = network.architecture.layers
    yield "weights.roots", "radial_basis.basis.basis.bessel_weights"
    yield "weights.basis_mean", "radial_basis.basis._mean"
    yield "weights.basis_inverse_std", "radial_basis.basis._inv_std"
    mlps = {"two_body": "allegro.latents.0", "readout": "edge_eng._module"}
    for k in range(layers):
        mlps[f"environments.{k}"] = f"allegro.env_embed_mlps.{k}"
        mlps[f"latents.{k}"] = f"allegro.latents.{k + 1}" if k + 1 < layers else "allegro.final_latent"
        yield f"weights.mixings.{k}", f"allegro.linears.{k}.w"
    for ours, theirs in mlps.items():
        mlp = network.weights.get_submodule(ours)
        assert isinstance(mlp, MlpWeights)
        for k in range(len(mlp.weights)):
            yield f"weights.{ours}.weights.{k}", f"{theirs}._forward._weight_{k}"
    yield "scales", "per_species_rescale.scales"
    yield "shifts", "per_species_rescale.shifts"
