"""The device on which a rank holds its atoms."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from allegro_md.errors import InputError
from allegro_md.evaluation import PotentialInfo
from allegro_md.simulation.device import device_of_atoms


def made(*infos: PotentialInfo) -> Any:
    """A potential, or the sum of several."""
    parts = [SimpleNamespace(info=info, members=()) for info in infos]
    return parts[0] if len(parts) == 1 else SimpleNamespace(members=parts)


def asking(*devices: str) -> Any:
    return [SimpleNamespace(device=device) for device in devices]


LJ, ZBL = (PotentialInfo(name, 5.0, gpu_obstacle="") for name in ("lj", "zbl"))
REFERENCE = PotentialInfo("allegro", 5.0, engine="reference")


def test_the_host_unless_asked() -> None:
    for devices in (("auto", "cpu"), ("auto", "auto"), ("cpu", "cpu")):
        assert device_of_atoms(asking(*devices), made(LJ, ZBL)) == "cpu"
    assert device_of_atoms([SimpleNamespace()], made(LJ)) == "cpu"  # a term without a device
    assert device_of_atoms(asking("cuda"), made(REFERENCE)) == "cpu"  # only its network goes to the GPU


def test_ranks_of_a_host_take_its_gpus_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for rank, device in enumerate(("cuda:0", "cuda:1", "cuda:0")):
        monkeypatch.setenv("MPI_LOCALRANKID", str(rank))
        assert device_of_atoms(asking("cuda", "auto"), made(LJ, ZBL)) == device


def test_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="torch finds no GPU"):
        device_of_atoms(asking("cuda"), made(LJ))
    with pytest.raises(InputError, match="some terms ask for a GPU, others for the CPU"):
        device_of_atoms(asking("cuda", "cpu"), made(LJ, ZBL))
    with pytest.raises(InputError, match="the potential 'allegro' cannot run on a GPU: it has no kernels"):
        device_of_atoms(asking("cuda", "cuda"), made(LJ, REFERENCE))
