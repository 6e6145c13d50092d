"""Memory that is freed goes back: the peak of a rank depends on what it holds, not on the order it came in."""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's <malloc.h>

LARGE = 1 << 20
"""Bytes from which an array gets pages of its own."""


def return_large_arrays() -> None:
    """Fixes glibc's threshold for that; left alone it rises to 32 MB with use, and freed arrays stay as fragments.

    At 500,000 atoms per rank that is 50 to 110 MB, different on every rank. The price is fresh pages for every
    temporary array: some per cent of a Lennard-Jones step. Without glibc nothing is done.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return
    mallopt(_M_MMAP_THRESHOLD, LARGE)
    mallopt(_M_TRIM_THRESHOLD, 4 * LARGE)
