"""A reader of files that tests write."""

from __future__ import annotations

from pathlib import Path

import pytest
from structure_files import Reader


@pytest.fixture
def read(tmp_path: Path) -> Reader:
    return Reader(tmp_path)
