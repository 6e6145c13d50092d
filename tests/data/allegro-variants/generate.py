"""Writes the files of this folder with nequip-allegro (random weights, float64, eager, one thread).

Run as: python generate.py (with the extra `import` installed). The neighbor list is the tests' own image sum.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "unit" / "models"))

COMMON: dict[str, Any] = {
    "model_dtype": "float64", "type_names": ["Na", "Cl"], "r_max": 4.0, "radial_chemical_embed_dim": 8,
    "scalar_embed_mlp_hidden_layers_width": 8, "num_scalar_features": 6, "num_tensor_features": 4,
    "allegro_mlp_hidden_layers_width": 8, "readout_mlp_hidden_layers_width": 6, "avg_num_neighbors": 9.0,
    "radial_chemical_embed": {"_target_": "allegro.nn.TwoBodyBesselScalarEmbed", "num_bessels": 6},
}  # fmt: skip
VARIANTS: dict[str, Any] = {
    "mish-uncoupled": {
        "seed": 1, "l_max": 2, "num_layers": 2, "parity": False, "tp_path_channel_coupling": False,
        "allegro_mlp_nonlinearity": "mish", "avg_num_neighbors": {"Na": 8.0, "Cl": 11.0},
        "per_type_energy_shifts": {"Na": -1.0, "Cl": -2.5}, "per_type_energy_scales": 1.4,
    },
    "scalar-only": {"seed": 2, "l_max": 0, "num_layers": 2},
    "pair-cutoffs": {
        "seed": 3, "l_max": 1, "num_layers": 2, "weight_individual_irreps": False, "forward_normalize": False,
        "readout_mlp_nonlinearity": "gelu", "per_type_energy_shifts": -3.0,
        "per_edge_type_cutoff": {"Na": {"Na": 3.2, "Cl": 3.7}, "Cl": 3.5},
    },
    "linear-latents": {
        "seed": 4, "l_max": 1, "num_layers": 3, "allegro_mlp_nonlinearity": None,
        "scalar_embed_mlp_hidden_layers_depth": 0, "readout_mlp_hidden_layers_depth": 0,
        "radial_chemical_embed": {"_target_": "allegro.nn.TwoBodyBesselScalarEmbed", "num_bessels": 6,
                                  "bessel_trainable": True, "polynomial_cutoff_p": 4},
    },
    "wide-deep": {
        "seed": 5, "l_max": 2, "num_layers": 2, "num_scalar_features": 3, "allegro_mlp_hidden_layers_depth": 2,
        "allegro_mlp_hidden_layers_width": 32, "scalar_embed_mlp_hidden_layers_depth": 2,
        "scalar_embed_mlp_hidden_layers_width": 32, "allegro_mlp_nonlinearity": "gelu",
        "pair_potential": {"_target_": "nequip.nn.pair_potential.ZBL", "chemical_species": ["Na", "Cl"],
                           "units": "metal"},
    },
}  # fmt: skip


def structure() -> dict[str, np.ndarray]:
    """Eight atoms in a tilted cell that is periodic in two directions and smaller than the cutoff sphere."""
    rng = np.random.default_rng(11)
    cell = np.array([[5.2, 0.0, 0.0], [0.9, 5.0, 0.0], [-0.6, 0.7, 9.0]])
    grid = np.stack(np.meshgrid(*[np.arange(2)] * 3, indexing="ij"), -1).reshape(-1, 3) / np.array([2.0, 2.0, 3.2])
    positions = grid @ cell + rng.uniform(-0.25, 0.25, (8, 3))
    return {"positions": positions, "cell": cell, "pbc": np.array([True, True, False]),
            "symbols": np.array(["Na", "Cl", "Cl", "Na", "Cl", "Na", "Na", "Cl"])}  # fmt: skip


def evaluate(model: torch.nn.Module, config: dict, atoms: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    from image_sums import pairs
    from nequip.data import AtomicDataDict as Keys

    types = np.array([config["type_names"].index(s) for s in atoms["symbols"]])
    cutoffs = np.full((2, 2), config["r_max"])
    if "per_edge_type_cutoff" in config:
        cutoffs = np.array([[3.2, 3.7], [3.5, 3.5]])
    center, neighbor, shift, _ = pairs(
        atoms["positions"], atoms["cell"], atoms["pbc"], cutoffs[types[:, None], types[None]]
    )
    out = model({
        Keys.POSITIONS_KEY: torch.tensor(atoms["positions"]), Keys.CELL_KEY: torch.tensor(atoms["cell"])[None],
        Keys.ATOM_TYPE_KEY: torch.tensor(types), Keys.EDGE_INDEX_KEY: torch.tensor(np.stack([center, neighbor])),
        Keys.EDGE_CELL_SHIFT_KEY: torch.tensor(shift, dtype=torch.float64),
    })  # fmt: skip
    names = {"atomic_energy": Keys.PER_ATOM_ENERGY_KEY, "forces": Keys.FORCE_KEY, "virial": Keys.VIRIAL_KEY}
    return {name: out[key].detach().numpy() for name, key in names.items()}


def main() -> None:
    from allegro.model import AllegroModel
    from nequip.utils.global_state import set_global_state

    torch.set_num_threads(1)
    set_global_state()
    for name, changes in VARIANTS.items():
        config = COMMON | changes
        model = AllegroModel(**config)
        folder = HERE / name
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
        state = {key.removeprefix("model."): value.numpy() for key, value in model.state_dict().items()}
        np.savez_compressed(folder / "weights.npz", **{k: v for k, v in state.items() if not k.endswith("w3j")})
        atoms: dict[str, Any] = structure()
        np.savez_compressed(folder / "slab8.npz", **(atoms | evaluate(model, config, atoms)))


if __name__ == "__main__":
    main()
