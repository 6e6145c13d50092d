"""docs/input.md names every key and every choice of the input, under the section it belongs to."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from allegro_md import config
from allegro_md.config.dynamics import INTEGRATORS
from allegro_md.config.potential import POTENTIALS

MANUAL = (Path(__file__).resolve().parents[2] / "docs" / "input.md").read_text()

TABLES: list[tuple[str, type[BaseModel]]] = [
    ("[system]", config.SystemConfig),
    ("[system]", config.CrystalConfig),
    ("[system.velocities]", config.VelocitiesConfig),
    ("[parallel]", config.ParallelConfig),
    ("[output]", config.OutputConfig),
    *((name, POTENTIALS.table(name)) for name in POTENTIALS),
    *((name, INTEGRATORS.table(name)) for name in INTEGRATORS),
]


def section(title: str) -> str:
    """A heading of any depth and the text up to the next heading of the same depth or above."""
    start = re.search(rf"^(#+) {re.escape(title)}$", MANUAL, re.MULTILINE)
    assert start, f"no section {title!r}"
    rest = MANUAL[start.end() :]
    end = re.search(rf"^#{{1,{len(start[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


@pytest.mark.parametrize(("title", "table"), TABLES, ids=[table.__name__ for _, table in TABLES])
def test_every_key_is_explained(title: str, table: type[BaseModel]) -> None:
    shared = section("[dynamics]") if title in INTEGRATORS else section("[potential]") if title in POTENTIALS else ""
    text = section(title) + shared.split("\n### ")[0]
    missing = [key for key in table.model_fields if f"`{key}`" not in text and f"`{key} = " not in text]
    assert not missing
