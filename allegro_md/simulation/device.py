"""The device of a rank's atoms: the host, or one of its GPUs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from allegro_md.errors import InputError
from allegro_md.launcher import rank_on_host
from allegro_md.potentials.base import Potential, leaves
from allegro_md.state import HOST

GPU = "cuda"


def device_of_atoms(terms: Sequence[Any], potential: Potential) -> str:
    """Chooses the device on which a rank holds its atoms: `HOST`, or "cuda:1" where all terms ask for a GPU.

    Ranks of a host take its GPUs in turn. The reference engine evaluates its network on a GPU and leaves the atoms on
    the host.

    Args:
        terms: the ``[potential]`` tables of the input.
        potential: made of them.

    Raises:
        InputError: some terms ask for a GPU and others for the host, a term has no form for GPUs, or there is no GPU.
    """
    asked = [getattr(term, "device", "auto") for term in terms]
    if GPU not in asked:
        return HOST
    where = "potential.device"
    if HOST in asked:
        raise InputError("some terms ask for a GPU, others for the CPU", where, "give all terms the same device")
    infos = [part.info for part in leaves(potential)]
    if all(info.engine == "reference" for info in infos):
        return HOST
    for info in infos:
        if info.gpu_obstacle:
            what = f"the potential '{info.name}' cannot run on a GPU: {info.gpu_obstacle}"
            raise InputError(what, where, 'use device = "cpu"')
    return f"{GPU}:{rank_on_host() % gpus()}"


def gpus() -> int:
    """Counts the GPUs that torch can use.

    Raises:
        InputError: there is none.
    """
    import torch

    if not torch.cuda.is_available():
        remedy = 'use device = "cpu"; `allegro-md doctor` says what is wrong'
        raise InputError('device = "cuda", but torch finds no GPU', "potential.device", remedy)
    return torch.cuda.device_count()
