"""Compiles kernels for GPUs by NVRTC, keeps the machine code, and runs it.

NVRTC and its Python bindings come with CUDA builds of torch; no compiler is needed. Machine code is made for the very
architecture of the GPU: drivers refuse intermediate code of a newer compiler.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from allegro_md.cache_folder import cache_folder
from allegro_md.kernels.gpu.signature import SOURCES

if TYPE_CHECKING:
    from allegro_md.kernels.gpu.launch import Kernel, Shape

OPTIONS = ("--std=c++17", "--fmad=false", "--ptxas-options=-v")
"""Of the compiler: no fused operation that the source does not ask for."""

_SMALL_MEMORY = 48 * 1024  # bytes of shared memory that a kernel has without being allowed more


class MachineCode(NamedTuple):
    """A compiled instance of a kernel.

    Attributes:
        code: for the GPU's driver.
        name: of the kernel in it.
        log: what the assembler says of registers and memory; empty where the code was kept.
    """

    code: bytes
    name: bytes
    log: str


def run(kernel: Kernel, device: torch.device, shape: Shape, pointers: Any) -> None:
    """Runs a kernel in torch's current stream, see `launch.Runner`."""
    from cuda.bindings import driver

    function = _function(kernel.file, kernel.instance, device.index or 0)
    stream = torch.cuda.current_stream(device).cuda_stream
    with torch.cuda.device(device):
        if shape.shared > _SMALL_MEMORY:
            most = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
            _good(driver.cuFuncSetAttribute(function, most, shape.shared))
        _good(
            driver.cuLaunchKernel(
                function, shape.blocks, 1, 1, shape.threads, 1, 1, shape.shared, stream, ctypes.addressof(pointers), 0
            )
        )


def compiled(file: str, instance: str, architecture: str) -> MachineCode:
    """Machine code of a kernel, kept from the last time or made; needs no GPU.

    Args:
        file: name of the source.
        instance: name of the kernel, with template arguments.
        architecture: "sm_90".
    """
    place = _place(file, instance, architecture)
    if place is not None and place.exists():
        name, _, code = place.read_bytes().partition(b"\n")
        return MachineCode(code, name, "")
    made = compile_anew(file, instance, architecture)
    if place is not None:
        place.parent.mkdir(exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=place.parent, delete=False) as part:  # several ranks may compile the same
            part.write(made.name + b"\n" + made.code)
        os.replace(part.name, place)
    return made


def compile_anew(file: str, instance: str, architecture: str) -> MachineCode:
    """Compiles a kernel, see `compiled`.

    Raises:
        RuntimeError: it does not compile; says what the compiler says.
    """
    from cuda.bindings import nvrtc

    options = [f"--gpu-architecture={architecture}", f"--include-path={SOURCES}", *OPTIONS]
    source = (SOURCES / file).read_bytes()
    program = _good(nvrtc.nvrtcCreateProgram(source, file.encode(), 0, [], []))
    try:
        _good(nvrtc.nvrtcAddNameExpression(program, instance.encode()))
        (status,) = nvrtc.nvrtcCompileProgram(program, len(options), [option.encode() for option in options])
        log = bytes(_good(nvrtc.nvrtcGetProgramLogSize(program)))  # written to
        _good(nvrtc.nvrtcGetProgramLog(program, log))
        text = log.decode().rstrip("\0 \n")
        if int(status):
            raise RuntimeError(f"{instance} of {file} does not compile for {architecture}:\n{text}")
        code = bytes(_good(nvrtc.nvrtcGetCUBINSize(program)))
        _good(nvrtc.nvrtcGetCUBIN(program, code))
        return MachineCode(code, _good(nvrtc.nvrtcGetLoweredName(program, instance.encode())), text)
    finally:
        nvrtc.nvrtcDestroyProgram(program)


@cache
def _function(file: str, instance: str, device: int) -> Any:
    """The kernel on a GPU."""
    from cuda.bindings import driver

    with torch.cuda.device(device):
        torch.cuda.current_stream().synchronize()  # the context exists now
        made = compiled(file, instance, "sm_{}{}".format(*torch.cuda.get_device_capability(device)))
        module = _good(driver.cuModuleLoadData(made.code))
        return _good(driver.cuModuleGetFunction(module, made.name))


def _place(file: str, instance: str, architecture: str) -> Path | None:
    """The file of the machine code, named after all that it depends on; None where nothing can be kept."""
    from cuda.bindings import nvrtc

    folder = cache_folder()
    if folder is None:
        return None
    parts = [file, instance, architecture, *OPTIONS, str(_good(nvrtc.nvrtcVersion()))]
    total = hashlib.sha256("\0".join(parts).encode())
    for path in (*sorted(SOURCES.glob("*.h")), SOURCES / file):
        total.update(path.read_bytes())
    return folder / "gpu" / f"{total.hexdigest()[:32]}.cubin"


def _good(result: tuple[Any, ...]) -> Any:
    """Takes what a call of the bindings returns beside its status: nothing, a value, or several.

    Raises:
        RuntimeError: it has failed.
    """
    status, *values = result
    if int(status):
        raise RuntimeError(f"CUDA: {status!r}")
    return values[0] if len(values) == 1 else tuple(values) or None
