"""Mutated input files: an input, or one sentence; never a traceback, a hang, or a key that is silently ignored."""

from __future__ import annotations

import math
import random
import shutil
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mutations
import pytest

from allegro_md.cli import main
from allegro_md.config import Input, load_input
from allegro_md.errors import InputError

BATCH = 250
EVERY_KEY = """
[system]
structure = "structures/cu-vacancies.extxyz"
frame = 0
repeat = [1, 2, 1]
periodic = [true, false, true]
masses = { Cu = "63.546 amu" }
velocities = { temperature = "300 K", seed = 4 }
[[potential]]
kind = "lj"
cutoff = 5.5
shift = false
pairs = { "Cu-Cu" = ["120 K", 2.3] }
device = "cpu"
[[potential]]
model = "models/cu.allegro"
precision = "double"
engine = "reference"
[[potential]]
kind = "zbl"
cutoff = 2
[dynamics]
ensemble = "nvt-nose-hoover"
timestep = "0.5 fs"
steps = 1e1
temperature = [300, "400 K"]
thermostat_time = "0.1 ps"
thermostat_chain = 2
suzuki_yoshida = 5
[parallel]
grid = [1, 1, 1]
skin = 0.3
balance = "auto"
[output]
directory = "elsewhere"
trajectory = { every = 5, fields = ["position", "velocity", "force", "image"], dtype = "float64" }
thermo = { every = 1 }
checkpoint = { every = 100, keep = 3 }
"""


@pytest.fixture(scope="module")
def place(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of inputs/, with one that has every key; all kernels are compiled."""
    folder = tmp_path_factory.mktemp("fuzz") / "inputs"
    shutil.copytree(root / "inputs", folder, ignore=shutil.ignore_patterns("run*"))
    (folder / "every-key.toml").write_text(EVERY_KEY)
    for path in sorted(folder.glob("*.toml")):
        assert main(["check", str(path)]) in (0, 4)
    return folder


def mutant(folder: Path, seed: int) -> Path:
    """A damaged input beside its files."""
    rng = random.Random(seed)
    sources = sorted(path for path in folder.glob("*.toml") if not path.name.startswith("mutant"))
    content = mutations.text(rng.choice(sources).read_text(), rng).encode(errors="surrogatepass")
    if rng.random() < 0.1:
        content = mutations.raw(content, rng)
    path = folder / "mutant.toml"
    path.write_bytes(content)
    return path


def leaves(written: Any, read: Any, where: str = "") -> Iterator[tuple[str, Any, Any]]:
    """What a file says, and what was made of it; None where nothing was."""
    if isinstance(written, dict):
        for key, value in written.items():
            yield from leaves(value, read.get(key) if isinstance(read, dict) else None, f"{where}.{key}")
    elif isinstance(written, list) and isinstance(read, list) and len(written) == len(read):
        for index, (one, other) in enumerate(zip(written, read, strict=True)):
            yield from leaves(one, other, f"{where}.{index}")
    else:
        yield where, written, read


def says(written: Any, read: Any) -> bool:
    """Whether a value was taken as it was written; texts may be quantities or paths."""
    if isinstance(written, str):
        return read is not None
    if isinstance(written, bool) or isinstance(read, bool):
        return written is read
    if isinstance(written, float) and math.isnan(written):
        return isinstance(read, float) and math.isnan(read)
    return bool(written == read) or (isinstance(read, float) and isinstance(written, int) and float(written) == read)


def ignored(path: Path, config: Input) -> list[str]:
    """Keys whose value is not what the file says."""
    data = tomllib.loads(path.read_text())
    if isinstance(data["potential"], dict):
        data["potential"] = [data["potential"]]
    for term in data["potential"]:
        if "model" in term:
            term.pop("kind", None)
    return [where for where, written, read in leaves(data, config.as_dict()) if not says(written, read)]


def accepted(path: Path) -> bool:
    """Whether a mutant is an input; whatever is wrong with the answer fails the test."""
    try:
        config = load_input(path)
    except InputError as error:
        text = str(error)
        assert path.name in text and "\n" not in text and len(text) < 1000, text
        return False
    assert Input.model_validate(config.as_dict()) == config
    assert ignored(path, config) == []
    return True


@pytest.mark.parametrize("batch", range(8))
def test_2000_mutated_inputs(place: Path, limits: Callable[[], Any], batch: int) -> None:
    good = 0
    for seed in range(batch * BATCH, (batch + 1) * BATCH):
        path = mutant(place, seed)
        try:
            with limits():
                good += accepted(path)
        except (Exception, KeyboardInterrupt) as fault:
            raise AssertionError(f"seed {seed}: {fault!r}\n{path.read_bytes()!r}") from fault
    assert 0.05 * BATCH < good < 0.6 * BATCH  # neither harmless nor hopeless mutants


def checked(path: Path, capsys: pytest.CaptureFixture[str]) -> int:
    """Exit status of ``allegro-md check``."""
    before = sorted(path.parent.rglob("*"))
    status = main(["check", str(path)])
    out, err = capsys.readouterr()
    assert status in (0, 2, 4), err
    if status:
        assert err and all(line.startswith("allegro-md: ") for line in err.splitlines()), err
    else:
        assert err == "" and "# memory per rank: " in out
    assert sorted(path.parent.rglob("*")) == before
    return status


@pytest.mark.parametrize("batch", [0, *(pytest.param(k, marks=pytest.mark.long) for k in range(1, 30))])
def test_mutated_inputs_are_checked(
    place: Path, limits: Callable[[], Any], capsys: pytest.CaptureFixture[str], batch: int
) -> None:
    """Through the program, with all the files the inputs name."""
    statuses = []
    for seed in range(10_000 + 100 * batch, 10_100 + 100 * batch):
        path = mutant(place, seed)
        try:
            with limits():
                statuses.append(checked(path, capsys))
        except (Exception, SystemExit) as fault:
            raise AssertionError(f"seed {seed}: {fault!r}\n{path.read_bytes()!r}") from fault
    assert {0, 2} <= set(statuses)
