"""Arrays that begin on a cache line, so that rows of wide vectors lie in as few lines as can be."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from allegro_md.kernels.cpu_vector import WIDE


def aligned_zeros(shape: tuple[int, ...], real: Any) -> NDArray[Any]:
    """Zeros that begin on a cache line, so that rows of wide vectors lie in as few lines as can be."""
    size = int(np.prod(shape)) * np.dtype(real).itemsize
    memory = np.zeros(size + WIDE, dtype=np.uint8)
    start = -memory.ctypes.data % WIDE
    return memory[start : start + size].view(real).reshape(shape)


def aligned(array: NDArray[Any]) -> NDArray[Any]:
    """A copy of `array` (…) that starts with a cache line, so that rows span as few lines as possible."""
    copy = aligned_zeros(array.shape, array.dtype)
    copy[...] = array
    return copy
