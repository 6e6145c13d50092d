"""Kernels of GPUs run on tensors in host memory, beside those of CPUs."""

from __future__ import annotations

import host_build
import pytest


@pytest.fixture(autouse=True)
def compiler() -> None:
    if not host_build.available():
        pytest.skip("kernels of GPUs are tested through a C++ compiler, and there is none")
