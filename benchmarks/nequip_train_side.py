"""nequip-train's side of the comparison of trainings: its configuration, and a clock among its callbacks.

`versus_nequip_train.py` writes the configuration; nequip-train finds `Clock` in it, with this folder on its path.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import lightning
import torch
import turns

from allegro_md.config.training import DenseModel, TrainingInput
from allegro_md.training.statistics import Statistics

ERRORS = {
    "energy_mae": "per_atom_energy_mae", "energy_rmse": "per_atom_energy_rmse",
    "force_mae": "forces_mae", "force_rmse": "forces_rmse",
}
"""Names in the history of allegro-md train → nequip's; both are per atom and per force component."""


class Clock(lightning.pytorch.Callback):
    """Keeps the untrained model, and after each epoch its seconds and the errors of the validation frames."""

    def __init__(self, folder: str, threads: int, pipes: list[str]) -> None:
        """Keeps them in `folder`; `threads` are for torch, `pipes` for taking turns."""
        self._folder = Path(folder)
        self._baton = turns.Baton(*pipes)
        torch.set_num_threads(threads)
        self._began = 0.0

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        trainer.save_checkpoint(self._folder / "part.ckpt")
        (self._folder / "part.ckpt").rename(self._folder / "initial.ckpt")

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._baton.take()
        self._began = time.perf_counter()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Comes after the validation."""
        errors = {name: 1e3 * float(trainer.callback_metrics[f"val0_epoch/{key}"]) for name, key in ERRORS.items()}
        with (self._folder / "epochs.jsonl").open("a") as file:
            file.write(json.dumps({"seconds": time.perf_counter() - self._began, **errors}) + "\n")
        self._baton.give()


def configuration(
    config: TrainingInput,
    symbols: tuple[str, ...],
    statistics: Statistics,
    folder: Path,
    mode: str,
    pipes: tuple[Path, Path],
) -> dict[str, Any]:
    """What nequip-train does as `allegro-md train` does it.

    Args:
        config: the input of allegro-md train: a dense model, Adam, a constant learning rate, mean squared errors.
        symbols: elements in the order of the species.
        statistics: of the training frames.
        folder: of train.extxyz and validation.extxyz, and for results.
        mode: "eager" or "compile".
        pipes: for taking turns.
    """
    fit, loss = config.training, config.loss
    model = config.model
    assert isinstance(model, DenseModel) and model.radial == "bessel" and not model.zbl
    coefficients = {"total_energy": loss.energy, "forces": loss.force}
    kind = "EnergyForce"
    if loss.stress:
        kind, coefficients = "EnergyForceStress", coefficients | {"stress": loss.stress}
    clock = {"_target_": "nequip_train_side.Clock", "folder": str(folder), "threads": fit.threads,
             "pipes": [str(pipe) for pipe in pipes]}
    return {
        "run": ["train"],
        "data": _data(config, symbols, folder),
        "trainer": {
            "_target_": "lightning.Trainer", "accelerator": "cpu", "devices": 1, "max_epochs": fit.epochs,
            "logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "num_sanity_val_steps": 0,
            "callbacks": [clock],
        },
        "training_module": {
            "_target_": "nequip.train.EMALightningModule", "ema_decay": fit.ema,
            "loss": {"_target_": f"nequip.train.{kind}Loss", "per_atom_energy": True, "coeffs": coefficients},
            "val_metrics": {"_target_": f"nequip.train.{kind}Metrics", "coeffs": {"forces_rmse": 1.0}},
            "optimizer": {"_target_": "torch.optim.Adam", "lr": fit.learning_rate},
            "model": {"compile_mode": mode, "seed": fit.seeds[0], **_model(model, symbols, statistics)},
        },
    }


def _data(config: TrainingInput, symbols: tuple[str, ...], folder: Path) -> dict[str, Any]:
    loader = {"_target_": "torch.utils.data.DataLoader", "num_workers": 0}
    transforms = [
        {"_target_": "nequip.data.transforms.ChemicalSpeciesToAtomTypeMapper", "model_type_names": list(symbols)},
        {"_target_": "nequip.data.transforms.NeighborListTransform", "r_max": config.model.cutoff},
    ]
    return {
        "_target_": "nequip.data.datamodule.ASEDataModule", "seed": config.training.seeds[0],
        "train_file_path": str(folder / "train.extxyz"), "val_file_path": str(folder / "validation.extxyz"),
        "transforms": transforms,
        "train_dataloader": {**loader, "batch_size": config.training.batch, "shuffle": True},
        "val_dataloader": {**loader, "batch_size": 10},
    }


def _model(model: DenseModel, symbols: tuple[str, ...], statistics: Statistics) -> dict[str, Any]:
    """AllegroModel's names of the hyper-parameters."""
    names = {"scalar_embed": (model.two_body, model.activation), "allegro": (model.latent, model.latent_activation),
             "readout": (model.readout, model.activation)}
    mlps: dict[str, Any] = {}
    for name, (widths, activation) in names.items():
        mlps |= {
            f"{name}_mlp_hidden_layers_depth": len(widths), f"{name}_mlp_hidden_layers_width": max(widths, default=1),
            f"{name}_mlp_nonlinearity": None if activation == "linear" else activation,
        }
    return {
        "_target_": "allegro.model.AllegroModel", "model_dtype": "float32", "type_names": list(symbols),
        "r_max": model.cutoff, "l_max": model.l_max, "parity": model.parity, "num_layers": model.layers,
        "num_scalar_features": model.scalars, "num_tensor_features": model.channels,
        "radial_chemical_embed": {
            "_target_": "allegro.nn.TwoBodyBesselScalarEmbed", "num_bessels": 8, "bessel_trainable": False,
            "polynomial_cutoff_p": model.envelope,
        },
        "radial_chemical_embed_dim": model.embedding_width or model.scalars, "tp_path_channel_coupling": model.coupled,
        "avg_num_neighbors": statistics.average_neighbors, "per_type_energy_scales": statistics.scales,
        "per_type_energy_shifts": statistics.shifts, **mlps,
    }
