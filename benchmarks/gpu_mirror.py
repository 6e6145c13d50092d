"""Tests of kernels of GPUs, run by a GPU: a plugin of pytest.

    python -m pytest -p gpu_mirror tests/unit/gpu        (with benchmarks on PYTHONPATH)

These tests call kernels with tensors in host memory. Here each call copies the memory of its tensors to the GPU, runs
the kernel there, and copies all of it back. With ``ALLEGRO_MD_MIRROR=host`` the copies stay in host memory and the host
build runs the kernel: a test of the copying.
"""

from __future__ import annotations

import os
from typing import Any

import host_build
import torch

from allegro_md.kernels.gpu.launch import Kernel

ON_HOST = os.environ.get("ALLEGRO_MD_MIRROR") == "host"
DEVICE = torch.device("cpu" if ON_HOST else "cuda:0")

launches = 0
_plain = Kernel.__call__


def mirrored(self: Kernel, blocks: int, *arguments: Any, threads: int, shared: int = 0) -> None:
    """`Kernel.__call__` for tensors in host memory, run on `DEVICE`; arguments are checked as ever.

    Tensors that share memory share it there, too.
    """
    global launches
    tensors = [each for each in arguments if isinstance(each, torch.Tensor)]
    if blocks == 0 or any(each.device.type != "cpu" for each in tensors):
        _plain(self, blocks, *arguments, threads=threads, shared=shared)
        return
    host: dict[int, torch.Tensor] = {}
    for each in tensors:
        memory = each.untyped_storage()
        host[memory.data_ptr()] = torch.tensor([], dtype=torch.uint8).set_(memory)
    there = {address: memory.to(DEVICE, copy=True) for address, memory in host.items()}

    def moved(value: Any) -> Any:
        if not isinstance(value, torch.Tensor) or not value.is_contiguous():
            return value
        copy = there[value.untyped_storage().data_ptr()]
        first = value.storage_offset() * value.element_size()
        return copy[first : first + value.nbytes].view(value.dtype).view(value.shape)

    _plain(self, blocks, *map(moved, arguments), threads=threads, shared=shared)
    for address, memory in host.items():
        memory.copy_(there[address])
    launches += 1


def pytest_configure(config: Any) -> None:
    """Lets all calls of kernels go there."""
    Kernel.__call__ = mirrored  # type: ignore[method-assign]
    if not ON_HOST:
        host_build.available = lambda: True


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Says how many kernels have run there."""
    terminalreporter.write_line(f"{launches} launches on {DEVICE}")
