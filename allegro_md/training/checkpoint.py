"""All that the rest of a training depends on, in one safetensors file that is replaced whole."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save

from allegro_md.errors import InputError
from allegro_md.io.disk import write_whole

NAME = "checkpoint.safetensors"
VERSION = 1
_KEY = "allegro-md training"


@dataclass(frozen=True)
class State:
    """Between two epochs.

    Attributes:
        epoch: how many are done.
        tensors: group ("weights", "mean", "best", "optimizer") → name → tensor.
        numbers: all else, as JSON holds it.
    """

    epoch: int
    tensors: dict[str, dict[str, torch.Tensor]]
    numbers: dict[str, Any]


def write_state(directory: Path, state: State) -> None:
    """Replaces the checkpoint of a training.

    Raises:
        ResourceError: the disk is full.
    """
    document = {"version": VERSION, "epoch": state.epoch, **state.numbers}
    tensors = {
        f"{group}/{name}": tensor.detach().cpu().clone().contiguous()
        for group, members in state.tensors.items()
        for name, tensor in members.items()
    }
    write_whole(directory / NAME, save(tensors, metadata={_KEY: json.dumps(document)}))


def read_state(directory: Path) -> State | None:
    """The checkpoint of a training, or None.

    Raises:
        InputError: it is damaged, or of another version.
    """
    path = directory / NAME
    if not path.exists():
        return None
    remedy = "start again with --overwrite"
    try:
        with safe_open(path, framework="pt") as file:
            document = json.loads((file.metadata() or {}).get(_KEY, "null"))
            flat = {name: file.get_tensor(name) for name in file.keys()}  # no mapping
    except Exception as error:  # bytes of any kind raise anything
        raise InputError("is damaged, or no checkpoint of a training", str(path), remedy) from error
    if not isinstance(document, dict) or document.pop("version", None) != VERSION:
        raise InputError("is no checkpoint of this version of the program", str(path), remedy)
    tensors: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in flat.items():
        group, name = key.split("/", 1)
        tensors.setdefault(group, {})[name] = tensor
    return State(document.pop("epoch"), tensors, document)
