"""Ends what takes long or much."""

from __future__ import annotations

import resource
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest

SECONDS = 10.0
"""A case that takes longer hangs."""

ROOM = 2 << 30
"""Bytes of address space that a case may take."""


@contextmanager
def bounded() -> Iterator[None]:
    """Raises where the block hangs (TimeoutError) or asks for huge memory (MemoryError)."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"still at it after {SECONDS} s")

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limits = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGALRM, stop)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + ROOM, limits[1]))
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, limits)


@pytest.fixture
def limits() -> Callable[[], object]:
    """See `bounded`."""
    if sys.platform != "linux":
        pytest.skip("limits are set the Linux way")
    return bounded
