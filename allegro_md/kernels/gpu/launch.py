"""Launches of kernels on tensors: arguments are checked, and put where the compiled code reads them.

Nothing waits for a kernel, but for the first launch of each: on a GPU it runs in torch's current stream.
"""

from __future__ import annotations

import ctypes
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch

from allegro_md.kernels.gpu.signature import SMALL, TENSORS, Parameter, read_signature

threads_of_a_block = 256
"""Where a kernel does not ask for another number."""

LAUNCHERS: dict[str, str] = {"cuda": "allegro_md.kernels.gpu.nvrtc"}
"""Kind of device → the module whose function `run` runs a kernel there."""

_SCALARS = {"double": ctypes.c_double, "float": ctypes.c_float, "i64": ctypes.c_int64, "int": ctypes.c_int32}


class Shape(NamedTuple):
    """Of a launch.

    Attributes:
        blocks: how many.
        threads: of each.
        shared: bytes of dynamic shared memory of a block.
    """

    blocks: int
    threads: int
    shared: int


class Runner(Protocol):
    """Runs a kernel on a kind of device."""

    def __call__(self, kernel: Kernel, device: torch.device, shape: Shape, pointers: Any) -> None:
        """Runs it; `pointers` is an array of addresses of the arguments, which live until the call returns."""


class Kernel:
    """An instance of a kernel, for example ``Kernel("steps.cuh", "drift")``.

    Attributes:
        file: name of the source in this folder.
        instance: name, with template arguments.
        signature: of its arguments.
    """

    def __init__(self, file: str, instance: str) -> None:
        """Reads the signature; nothing is compiled.

        Raises:
            ValueError: see `read_signature`.
        """
        self.file, self.instance = file, instance
        self.signature = read_signature(file, instance)

    def over(self, n: int, *arguments: Any) -> None:
        """Launches one thread for each of n elements, see `__call__`."""
        threads = threads_of_a_block
        self(-(-n // threads), *arguments, threads=threads)

    def __call__(self, blocks: int, *arguments: Any, threads: int, shared: int = 0) -> None:
        """Launches on the device of the tensors.

        Args:
            blocks: how many; nothing happens with none.
            arguments: tensors for pointers, contiguous and all on one device, None for a pointer that may be null;
                arrays of float64 for structures; numbers.
            threads: of a block, a multiple of 32.
            shared: bytes of dynamic shared memory of a block.

        Raises:
            TypeError: an argument is not what the kernel takes.
            ValueError: blocks of so many threads are not possible.
        """
        parameters, tensors = self.signature.parameters, [a for a in arguments if isinstance(a, torch.Tensor)]
        if len(arguments) != len(parameters):
            raise TypeError(f"{self.instance} takes {len(parameters)} arguments, not {len(arguments)}")
        if threads % 32 or not 0 < threads <= self.signature.most_threads:
            raise ValueError(f"{self.instance} takes 32 to {self.signature.most_threads} threads, not {threads}")
        device = tensors[0].device
        values = [self._value(*each, device) for each in zip(parameters, arguments, strict=True)]
        if blocks == 0 or device.type == "meta":
            return
        addresses = (ctypes.cast(ctypes.pointer(value), ctypes.c_void_p) for value in values)
        runner(device.type)(self, device, Shape(blocks, threads, shared), (ctypes.c_void_p * len(values))(*addresses))

    def _value(self, parameter: Parameter, value: Any, device: torch.device) -> Any:
        """An argument as the compiled code reads it."""
        if parameter.pointer:
            if value is None and parameter.optional:
                return ctypes.c_void_p(None)
            wanted = getattr(torch, TENSORS[parameter.kind])
            fits = isinstance(value, torch.Tensor) and value.dtype == wanted and value.is_contiguous()
            if not fits or value.device != device:
                raise TypeError(
                    f"{self.instance}: {parameter.name} takes a contiguous tensor of {TENSORS[parameter.kind]} on "
                    f"{device}, not {_described(value)}"
                )
            return ctypes.c_void_p(0 if device.type == "meta" else value.data_ptr())
        if parameter.kind in SMALL:
            numbers = np.asarray(value, dtype=np.float64).reshape(-1)
            if len(numbers) > SMALL[parameter.kind]:
                raise TypeError(f"{self.instance}: {parameter.name} holds {SMALL[parameter.kind]} numbers at most")
            return (ctypes.c_double * SMALL[parameter.kind])(*numbers)
        return _SCALARS[parameter.kind](value)


def _described(value: Any) -> str:
    if not isinstance(value, torch.Tensor):
        return type(value).__name__
    layout = "" if value.is_contiguous() else "not contiguous, "
    return f"a tensor of {str(value.dtype).removeprefix('torch.')}, {layout}on {value.device}"


@cache
def kernel(file: str, instance: str) -> Kernel:
    """The kernel, made once: it is asked for in every step."""
    return Kernel(file, instance)


@cache
def runner(kind: str) -> Runner:
    """The function that runs kernels on a kind of device."""
    run: Runner = import_module(LAUNCHERS[kind]).run
    return run
