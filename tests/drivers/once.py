"""Launches are dear: what one gave, or how it failed, is kept for all tests that ask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


def once(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with its results remembered; after a failure, later calls fail at once."""
    results: dict[tuple[Any, ...], Any] = {}

    def remembered(*arguments: Any) -> Any:
        if arguments not in results:
            results[arguments] = None
            results[arguments] = function(*arguments)
        if results[arguments] is None:
            pytest.fail(f"the launch {arguments} failed before")
        return results[arguments]

    return remembered
