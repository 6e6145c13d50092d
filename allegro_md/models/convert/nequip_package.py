"""nequip-allegro's packages and checkpoints, through nequip-allegro itself (the extra `import`).

A package holds a pickled model with its own code but no configuration, so the hyper-parameters are read off its
modules. Loading either runs code from the file: call `archive.check_archive` first.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from allegro_md.errors import InputError
from allegro_md.models.allegro.irreps import Layer, coupling, size, starts
from allegro_md.models.allegro.network import Network
from allegro_md.models.convert.nequip_allegro import network_from_nequip


def network_from_file(path: Path) -> Network:
    """The network in a package (.nequip.zip) or checkpoint (.ckpt).

    Raises:
        InputError: nequip-allegro is not installed, or the file holds something else.
    """
    try:
        import allegro  # noqa: F401  # its models
        from nequip.model.saved_models.load_utils import load_saved_model
        from nequip.utils.global_state import set_global_state
    except ImportError as error:
        raise InputError("packages and checkpoints are read with the help of nequip-allegro", str(path),
                         'install the extra: pip install "allegro-md[import]"') from error
    try:
        set_global_state()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = load_saved_model(path)
    except Exception as error:  # whatever the foreign loader stumbles on
        raise InputError(f"nequip-allegro cannot load it: {error}", str(path)) from error
    parts = dict(model.model.func.named_children()) if hasattr(model.model, "func") else {}
    if "allegro" not in parts:
        raise InputError("it holds a model, but not an Allegro model", str(path))
    state = {name: tensor.detach().cpu().numpy() for name, tensor in model.state_dict().items()}
    network = network_from_nequip(_config(model, parts), state, str(path))
    _check_coupling(network, state, str(path))
    return network


def _config(model: Any, parts: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration that would build these modules."""
    track, names = parts["allegro"], list(model.type_names)
    l_max = int(track.tps[0].irreps_in2.lmax)
    odd = {(irrep.l, irrep.p) for _, irrep in track.tensor_track_allowed_irreps}
    config: dict[str, Any] = {
        "type_names": names,
        "r_max": float(parts["edge_norm"].r_max),
        "radial_chemical_embed": _embedding(parts["radial_chemical_embed"]),
        "radial_chemical_embed_dim": parts["scalar_embed_mlp"].mlp_module.dims[0],
        "l_max": l_max,
        "parity": odd != {(l, (-1) ** l) for l in range(l_max + 1)},  # noqa: E741
        "num_layers": track.num_layers,
        "num_scalar_features": track.num_scalar_features,
        "num_tensor_features": track.num_tensor_features,
        "tp_path_channel_coupling": track.tps[0].path_channel_coupling,
        "weight_individual_irreps": track._env_weighter.weight_individual_irreps,
        "avg_num_neighbors": _neighbors(track.avg_num_neighbors_norm.norm_const, names),
        "forward_normalize": all(map(_by_fan_in, _normalized(parts))),
    }
    if parts["edge_norm"]._per_edge_type:
        cutoffs = (1.0 / parts["edge_norm"]._rmax_recip.double().numpy()).reshape(len(names), -1).round(12)
        config["per_edge_type_cutoff"] = {
            center: dict(zip(names, row, strict=True)) for center, row in zip(names, cutoffs.tolist(), strict=True)
        }
    for key, mlp in (
        ("scalar_embed_mlp", parts["scalar_embed_mlp"].mlp_module),
        ("allegro_mlp", track.latents[0]),
        ("readout_mlp", parts["edge_readout"].mlp_module),
    ):
        config |= _mlp(key, mlp)
    if "pair_potential" in parts:
        pair = parts["pair_potential"]
        config["pair_potential"] = {"_target_": type(pair).__name__, "polynomial_cutoff_p": float(pair.cutoff.p)}
    return config


def _embedding(module: Any) -> dict[str, Any]:
    name = type(module).__name__
    if name == "TwoBodySplineScalarEmbed":
        return {"_target_": name, "num_splines": module.spline.num_splines, "spline_span": module.spline.spline_span}
    encoding = module.bessel_encode
    return {
        "_target_": "TwoBodyBesselScalarEmbed",
        "num_bessels": encoding.num_bessels,
        "polynomial_cutoff_p": float(encoding.cutoff.p),
        "bessel_trainable": isinstance(encoding.bessel_weights, torch.nn.Parameter),
    }


def _normalized(parts: Mapping[str, Any]) -> list[Any]:
    """MLPs whose normalization the option `forward_normalize` decides."""
    outer = [parts["scalar_embed_mlp"].mlp_module, parts["tensor_embed"].env_embed_linear]
    return [*outer, *parts["allegro"].latents, parts["edge_readout"].mlp_module]


def _by_fan_in(module: Any) -> bool:
    """True if a first matrix (or a product of matrices) is divided by the root of its fan in."""
    whole = hasattr(module.mlp, "alpha")
    alpha = module.mlp.alpha if whole else module.mlp[0].alpha
    fan = float(np.prod(module.dims[:-1])) if whole else float(module.dims[0])
    return bool(np.isclose(float(alpha), fan**-0.5, rtol=1e-5))


def _neighbors(norm: torch.Tensor, names: list[str]) -> float | dict[str, float]:
    """⟨N⟩ from `norm` (1,) or (n,), 1/√⟨N⟩ of all species or of each."""
    numbers = norm.double().reshape(-1).pow(-2).tolist()
    return numbers[0] if len(numbers) == 1 else dict(zip(names, numbers, strict=True))


def _mlp(key: str, module: Any) -> dict[str, Any]:
    widths = list(module.dims[1:-1])
    if len(set(widths)) > 1:
        raise InputError(f"hidden layers of unequal widths {widths} in {key}")
    activations = {type(child).__name__.lower() for child in module.mlp.children()} & {"silu", "gelu", "mish"}
    linear = len(widths) > 0 and not module.is_nonlinear
    if module.is_nonlinear and len(activations) != 1:
        raise InputError(f"a nonlinearity of {key} that this program does not have")
    return {
        f"{key}_hidden_layers_depth": len(widths),
        f"{key}_hidden_layers_width": widths[0] if widths else 1,
        f"{key}_nonlinearity": None if linear else next(iter(activations), "silu"),
    }


def _check_coupling(network: Network, state: Mapping[str, NDArray[Any]], where: str) -> None:
    """Compares the stored coupling coefficients with ours: their signs are a convention of e3nn's version."""
    layers: list[Layer] = network.weights.layers  # type: ignore[assignment]  # not a parameter
    for k, layer in enumerate(layers):
        stored = [array for name, array in state.items() if name.endswith(f"tps.{k}.w3j")]
        ours = np.zeros((len(layer.paths), size(layer.features), size(layer.environment), size(layer.out)))
        for p, (a, b, c) in enumerate(layer.paths):
            block = coupling(layer.features[a][0], layer.environment[b][0], layer.out[c][0])
            i, j, o = starts(layer.features)[a], starts(layer.environment)[b], starts(layer.out)[c]
            ours[p, i : i + block.shape[0], j : j + block.shape[1], o : o + block.shape[2]] = block
        if stored and stored[0].ndim < (4 if len(ours) > 1 else 3):
            ours = np.einsum("piik->pik", ours)
        if not stored or not np.allclose(stored[0].reshape(ours.shape), ours, atol=1e-5):
            raise InputError(f"the tensor product of layer {k} has other coupling coefficients", where)
