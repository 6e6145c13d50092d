"""Settings of glibc's allocator for freed arrays: they change speed and peak memory, never results."""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4  # of glibc's <malloc.h>

LARGE = 1 << 20
"""Bytes from which an array gets pages of its own."""


def return_large_arrays() -> None:
    """Memory that is freed goes back: the peak of a rank depends on what it holds, not on the order it came in.

    Left alone, glibc's threshold rises to 32 MB with use, and freed arrays stay as fragments. At 500,000 atoms per
    rank that is 50 to 110 MB, different on every rank. The price is fresh pages for every temporary array: some per
    cent of a Lennard-Jones step. Without glibc nothing is done.
    """
    _set({_M_MMAP_THRESHOLD: LARGE, _M_TRIM_THRESHOLD: 4 * LARGE})


def keep_freed_memory() -> None:
    """Memory that is freed stays with the process: every step of a training frees and needs the same arrays again.

    Fresh pages for them, zeroed by the system, are 4 to 10 % of a step. Without glibc nothing is done.
    """
    _set({_M_MMAP_MAX: 0, _M_TRIM_THRESHOLD: -1})


def _set(options: dict[int, int]) -> None:
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return
    for option, value in options.items():
        mallopt(option, value)
