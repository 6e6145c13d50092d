"""nequip-allegro's configurations and states as dense networks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from ase.data import atomic_numbers
from numpy.typing import NDArray
from pydantic import ValidationError

from allegro_md.errors import InputError
from allegro_md.models.allegro.architecture import Bessel, Dense, Mlp, Spline
from allegro_md.models.allegro.mlp import MlpWeights
from allegro_md.models.allegro.network import Network
from allegro_md.models.allegro.zbl import HALF_E2

Arrays = Mapping[str, NDArray[Any]]

# Names of nequip's model builder that do not change the network, and its buffers that follow from the configuration.
_NOT_ARCHITECTURE = {"_target_", "seed", "model_dtype", "compile_mode", "do_derivatives"}
_DERIVED = (
    "w3j", "alpha", "norm_const", "_rtoi", "_rmax_recip", "lower", "upper", "atomic_numbers", "_qqr2exesquare",
    "_empty",
)
_OFF = (None, "None", "null")


def network_from_nequip(config: Mapping[str, Any], arrays: Arrays, where: str = "model") -> Network:
    """A dense network from nequip-allegro's configuration and state.

    Args:
        config: hyper-parameters under the names of its model builder.
        arrays: parameters and buffers under its names; everything up to "func." is ignored.
        where: file, for error messages.

    Raises:
        InputError: something this program does not have, or tensors that do not fit the configuration.
    """
    try:
        architecture = _dense(dict(config), where)
    except (ValidationError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"not a configuration of nequip-allegro: {error}", where) from error
    named = {name.split("func.", 1)[-1]: np.asarray(array) for name, array in arrays.items()}
    energy = named.get("pair_potential._qqr2exesquare")
    if energy is not None and not np.isclose(energy, HALF_E2, rtol=1e-12, atol=0.0):
        raise InputError("the pair potential is not in eV and Å", where, "export the model in LAMMPS metal units")
    first = named.get("tensor_embed.env_embed_linear.mlp.0.weight")
    network = Network(architecture, torch.float32 if first is not None and first.dtype == np.float32 else torch.float64)
    used = copy_state(network, dict(_nequip_names(network)), named, where)
    unknown = [name for name in named if name not in used and not name.endswith(_DERIVED)]
    if unknown:
        raise InputError(f"tensors that this program does not know: {', '.join(sorted(unknown)[:5])}", where)
    return network


def _dense(config: dict[str, Any], where: str) -> Dense:
    """Translates the configuration; what is left over is an error."""
    take = config.pop
    symbols = tuple(str(name) for name in take("type_names"))
    strange = [symbol for symbol in symbols if symbol not in atomic_numbers]
    if strange:
        raise InputError(f"type name '{strange[0]}' is not a chemical symbol", where)
    scalars = int(take("num_scalar_features", 64))
    width = take("radial_chemical_embed_dim", None)
    neighbors = take("avg_num_neighbors")
    l_max, parity = _irreps(config, where)
    architecture = Dense(
        symbols=symbols,
        pair_cutoffs=_pair_cutoffs(symbols, take("per_edge_type_cutoff", None), float(config["r_max"])),
        cutoff=take("r_max"),
        layers=take("num_layers", 2),
        l_max=l_max,
        parity=parity,
        channels=take("num_tensor_features", 16),
        average_neighbors=tuple(neighbors[s] for s in symbols) if isinstance(neighbors, Mapping) else neighbors,
        embedding=_embedding(dict(take("radial_chemical_embed")), where),
        embedding_width=scalars if width is None else width,
        two_body=_mlp(config, "scalar_embed_mlp", 64, where),
        scalars=scalars,
        latent=_mlp(config, "allegro_mlp", 64, where),
        readout=_mlp(config, "readout_mlp", 32, where),
        coupled=take("tp_path_channel_coupling", True),
        individual_weights=take("weight_individual_irreps", True),
        forward_normalize=take("forward_normalize", True),
        trainable_scales=bool(take("per_type_energy_scales_trainable", False)),
        trainable_shifts=bool(take("per_type_energy_shifts_trainable", False)),
        zbl=_zbl(symbols, take("pair_potential", None), where),
    )
    for key in ("per_type_energy_scales", "per_type_energy_shifts", *_NOT_ARCHITECTURE):
        config.pop(key, None)
    if config:
        raise InputError(f"unknown hyper-parameter '{next(iter(config))}'", where)
    return architecture


def _irreps(config: dict[str, Any], where: str) -> tuple[int, bool]:
    """l_max and parity; the long form of the builder is accepted where it says the same."""
    if "l_max" in config:
        return int(config.pop("l_max")), bool(config.pop("parity", True))
    from e3nn import o3

    sphere = o3.Irreps(config.pop("irreps_edge_sh"))
    allowed = {(irrep.l, irrep.p) for _, irrep in o3.Irreps(config.pop("tensor_track_allowed_irreps"))}
    l_max = int(sphere.lmax)
    own = {(l, (-1) ** l) for l in range(l_max + 1)}  # noqa: E741
    both = {(l, p) for l in range(l_max + 1) for p in (1, -1)}  # noqa: E741
    if sphere != o3.Irreps.spherical_harmonics(l_max, p=-1) or allowed not in (own, both):
        raise InputError("irreps other than those of l_max and parity", where)
    return l_max, allowed == both


def _pair_cutoffs(symbols: tuple[str, ...], table: Any, r_max: float) -> tuple[tuple[float, ...], ...] | None:
    """[center][neighbor]; a number instead of an inner table holds for all neighbors, what is missing is r_max."""
    if table is None:
        return None
    rows = (table.get(center, r_max) for center in symbols)
    return tuple(
        tuple(float(row.get(neighbor, r_max) if isinstance(row, Mapping) else row) for neighbor in symbols)
        for row in rows
    )


def _embedding(config: dict[str, Any], where: str) -> Bessel | Spline:
    name = str(config.pop("_target_", "")).rsplit(".", 1)[-1]
    config = {key: value for key, value in config.items() if key not in ("type_names", "module_output_dim")}
    if name == "TwoBodyBesselScalarEmbed":
        names = {"num_bessels": "count", "polynomial_cutoff_p": "envelope", "bessel_trainable": "trainable"}
        return Bessel(**{names.get(key, key): value for key, value in config.items()})
    if name == "TwoBodySplineScalarEmbed":
        names = {"num_splines": "count", "spline_span": "span"}
        return Spline(**{names.get(key, key): value for key, value in config.items()})
    raise InputError(f"unknown two-body embedding '{name}'", where)


def _mlp(config: dict[str, Any], name: str, default_width: int, where: str) -> Mlp:
    depth = int(config.pop(f"{name}_hidden_layers_depth", 1))
    width = config.pop(f"{name}_hidden_layers_width", default_width)
    activation = config.pop(f"{name}_nonlinearity", "silu")
    activation = None if activation in _OFF else activation
    if activation not in (None, "silu", "gelu", "mish"):
        raise InputError(f"nonlinearity '{activation}' of {name}", where, "silu, gelu, mish or null are available")
    return Mlp(widths=(width,) * depth, activation=activation)


def _zbl(symbols: tuple[str, ...], config: Any, where: str) -> bool:
    if config is None:
        return False
    name = str(config.get("_target_", "")).rsplit(".", 1)[-1]
    if name != "ZBL" or float(config.get("polynomial_cutoff_p", 6.0)) != 6.0:
        raise InputError(f"pair potential '{name}' with these parameters", where, "only ZBL with p = 6 is available")
    if tuple(config.get("chemical_species", symbols)) != symbols:
        raise InputError("the pair potential's species differ from type_names", where)
    return True


def _nequip_names(network: Network) -> Iterator[tuple[str, str]]:
    """Our parameter name → nequip's."""
    a = network.architecture
    assert isinstance(a, Dense)
    body = network.weights
    embed = "radial_chemical_embed"
    if isinstance(a.embedding, Bessel):
        yield "weights.roots", f"{embed}.bessel_encode.bessel_weights"
        yield "weights.center_embedding", f"{embed}.type_embed.center_embed.weight"
        yield "weights.neighbor_embedding", f"{embed}.type_embed.neighbor_embed.weight"
        yield "weights.basis.weights.0", f"{embed}.type_embed.basis_linear.mlp.0.weight"
    else:
        yield "weights.splines", f"{embed}.spline.class_embed.weight"
    mlps = {
        "two_body": "scalar_embed_mlp.mlp_module",
        "tensor": "tensor_embed.env_embed_linear",
        "projection": "allegro.first_layer_env_embed_projection",
        "readout": "edge_readout.mlp_module",
    }
    mlps |= {f"latents.{k}": f"allegro.latents.{k}" for k in range(a.layers)}
    for ours, theirs in mlps.items():
        mlp = body.get_submodule(ours)
        assert isinstance(mlp, MlpWeights)
        linear = mlp.activation is None and len(mlp.weights) > 1
        for k in range(len(mlp.weights)):
            yield f"weights.{ours}.weights.{k}", f"{theirs}.mlp." + (f"weights.{k}" if linear else f"{2 * k}.weight")
    for k in range(a.layers):
        yield f"weights.paths.{k}", f"allegro.tps.{k}.weights"
    yield "scales", "per_type_energy_scale_shift.scales"
    yield "shifts", "per_type_energy_scale_shift.shifts"


def copy_state(network: Network, names: Mapping[str, str], arrays: Arrays, where: str) -> set[str]:
    """Copies arrays into the network's parameters and buffers.

    Args:
        names: our name → theirs; scales and shifts may be absent, empty, or one number for all.

    Returns:
        The names taken from `arrays`.

    Raises:
        InputError: a tensor is missing or does not fit.
    """
    own = dict(network.named_parameters()) | dict(network.named_buffers())
    for ours, theirs in names.items():
        target, array = own[ours], arrays.get(theirs)
        if ours in ("scales", "shifts") and (array is None or array.size == 0):
            continue
        if array is None:
            raise InputError(f"tensor '{theirs}' is missing", where)
        if ours in ("scales", "shifts") and array.size == 1:
            array = np.broadcast_to(array.reshape(1), target.shape)
        if array.size != target.numel():
            raise InputError(
                f"tensor '{theirs}' has shape {array.shape}, the configuration asks for {tuple(target.shape)}", where
            )
        with torch.no_grad():
            target.copy_(torch.as_tensor(np.array(array)).reshape(target.shape))
    return set(names.values())
