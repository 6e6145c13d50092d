"""docs/input.md names every key and choice of the input in its section, docs/training.md every key with its default."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from allegro_md import config
from allegro_md.config import training
from allegro_md.config.dynamics import INTEGRATORS, GroupThermostat
from allegro_md.config.groups import ApplyConfig, GroupConfig
from allegro_md.config.potential import POTENTIALS
from allegro_md.config.replicas import ExchangeConfig, ReplicasConfig
from allegro_md.config.stage import EndConfig, StageConfig
from allegro_md.config.training.schema import TrainingOutput

MANUAL = (Path(__file__).resolve().parents[2] / "docs" / "input.md").read_text()

TABLES: list[tuple[str, type[BaseModel]]] = [
    ("[system]", config.SystemConfig),
    ("[system]", config.CrystalConfig),
    ("[system.velocities]", config.VelocitiesConfig),
    ("[[group]] { #group }", GroupConfig),
    ("[dynamics]", ApplyConfig),
    ("[dynamics]", GroupThermostat),
    ("[parallel]", config.ParallelConfig),
    ("[output]", config.OutputConfig),
    ("[replicas]", ReplicasConfig),
    ("[replicas]", ExchangeConfig),
    ("[[stage]] { #stage }", StageConfig),
    ("[[stage]] { #stage }", EndConfig),
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


TRAINING = (Path(__file__).resolve().parents[2] / "docs" / "training.md").read_text().split("## All keys")[1]
TRAINING_TABLES: list[tuple[str, type[BaseModel]]] = [
    ("### [data]\n", training.DataConfig),
    ("### [data.labels]\n", training.LabelsConfig),
    ("Keys of the dense form", training.DenseModel),
    ("Keys of the residual form", training.ResidualModel),
    ("### [loss]\n", training.LossConfig),
    ("### [training]\n", training.TrainingConfig),
    ("### [output]\n", TrainingOutput),
]
SHARED = "### [model]\n"
"""Title of the keys that both forms of a network have."""


def rows(title: str) -> dict[str, str]:
    """Key → default as written, of the first table with keys and defaults after a title of docs/training.md."""
    assert TRAINING.count(title) == 1
    table = TRAINING.split(title)[1].split("| key | default | meaning |")[1].split("\n\n")[0]
    found: dict[str, str] = {}
    for line in table.splitlines()[2:]:
        keys, default = line.split(" | ")[:2]
        found |= {key: default.strip() for key in re.findall(r"`(\w+)`", keys)}
    return found


def written(value: Any) -> str:
    """A default as the tables show it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple) and value and isinstance(value[0], str):
        return " ".join(value)
    if isinstance(value, training.Plateau):
        return value.kind
    return str(list(value)) if isinstance(value, tuple) else str(value)


@pytest.mark.parametrize(("title", "table"), TRAINING_TABLES, ids=[table.__name__ for _, table in TRAINING_TABLES])
def test_keys_of_training_and_their_defaults(title: str, table: type[BaseModel]) -> None:
    shown = rows(title) | (rows(SHARED) if "form" in table.model_fields else {})
    fields = {key: field for key, field in table.model_fields.items() if key != "form"}
    assert shown.keys() == fields.keys()
    for key, field in fields.items():
        if field.is_required():
            assert shown[key] == "–", key
        elif field.default is None or (field.default == () and key in ("test", "exclude")):
            assert shown[key] == "none", key
        elif key == "seeds":
            assert shown[key] == "1"
        elif key != "labels":
            assert shown[key] == written(field.default), key
