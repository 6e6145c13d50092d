"""Runs kernels of GPUs on tensors in host memory: the same sources, compiled by a C++ compiler of this machine."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from shutil import which
from typing import Any

import torch

from allegro_md.kernels.gpu import launch
from allegro_md.kernels.gpu.launch import LAUNCHERS, Kernel, Shape
from allegro_md.kernels.gpu.signature import SOURCES
from allegro_md.state import AtomState

COMPILER = os.environ.get("CXX", "g++")
OPTIONS = ["-O1", "-ffp-contract=off", "-fno-math-errno", "-std=c++17", "-shared", "-fPIC", "-w"]
OPTIONS += ["-mfma"] if platform.machine() == "x86_64" else []

backwards = False
"""Blocks, threads and lanes take their turns in the opposite order."""


def available() -> bool:
    """Tells if there is a compiler."""
    return which(COMPILER.split()[0]) is not None


def run(kernel: Kernel, device: torch.device, shape: Shape, pointers: Any) -> None:
    """Runs a kernel here, see `launch.Runner`; dynamic shared memory begins as NaN."""
    memory = (ctypes.c_char * max(16, shape.shared))()
    _library(kernel.file, kernel.instance)(
        ctypes.c_uint(shape.blocks), ctypes.c_uint(shape.threads), memory, ctypes.c_uint(shape.shared), pointers,
        ctypes.c_int(backwards),
    )  # fmt: skip


@contextmanager
def on_host(reverse: bool = False, threads: int = 256) -> Iterator[None]:
    """Kernels run on tensors in host memory meanwhile.

    Args:
        reverse: blocks, threads and lanes take their turns in the opposite order.
        threads: of a block, where a kernel does not ask for another number.
    """
    global backwards
    before = backwards, launch.threads_of_a_block
    LAUNCHERS["cpu"], backwards, launch.threads_of_a_block = __name__, reverse, threads
    launch.runner.cache_clear()
    try:
        yield
    finally:
        del LAUNCHERS["cpu"]
        backwards, launch.threads_of_a_block = before
        launch.runner.cache_clear()


TURNS = ((False, 256), (True, 64))
"""Arguments of `on_host` that show races: results may not differ between them."""

DEVICE = "cpu:0"
"""Device of a state whose arrays are tensors in host memory; plain "cpu" makes arrays of numpy."""


def on_gpu(state: AtomState) -> AtomState:
    """A copy of a state, ghosts included, whose arrays are such tensors."""
    twin = AtomState(state.cell, state.species_table, state.n_total, DEVICE)
    twin.held, twin.lattices = state.held, state.lattices
    for field in state.fields.values():
        twin.add_field(field)
    twin.resize(state.n_local, state.n_ghost)
    for name in state.fields:
        twin.all(name)[...] = torch.from_numpy(state.host_all(name).copy())
    return twin


@cache
def _library(file: str, instance: str) -> Any:
    """The compiled kernel; libraries are kept among the temporary files, named after all that they depend on."""
    text = f"""#include "{SOURCES / file}"
extern "C" void launch(unsigned b, unsigned t, unsigned char* m, unsigned s, void** p, int r) {{
  host::launch(&{instance}, b, t, m, s, p, r);
}}
"""
    parts = [text, COMPILER, *OPTIONS, *(path.read_text() for path in (*sorted(SOURCES.glob("*.h")), SOURCES / file))]
    folder = Path(tempfile.gettempdir()) / f"allegro-md-host-build-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    library = folder / (hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24] + ".so")
    if not library.exists():
        source, made = (library.with_suffix(f".{os.getpid()}{end}") for end in (".cpp", ".so"))
        source.write_text(text)
        subprocess.run([*COMPILER.split(), *OPTIONS, f"-I{SOURCES}", str(source), "-o", str(made)], check=True)
        source.unlink()
        made.replace(library)
    return ctypes.CDLL(str(library)).launch
