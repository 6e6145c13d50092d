"""Atoms evaluated while messages travel: the same bits of every potential, and no hang where one fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from once import once
from overlap import GRIDS, MORE, NAMES, ON_DEVICE

pytestmark = pytest.mark.parallel

DRIVER = Path(__file__).resolve().parents[1] / "drivers" / "overlap.py"


@pytest.fixture(scope="module")
def results(mpirun: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    def run(names: tuple[str, ...]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for ranks in (1, 2):
            path = tmp_path_factory.mktemp("overlap") / "out.npz"
            mpirun(ranks, [DRIVER, path, *names], timeout=300)
            with np.load(path) as data:
                found |= dict(data)
        return found

    return once(run)


@pytest.mark.parametrize("way", ["whole", *GRIDS])
@pytest.mark.parametrize("name", [*NAMES, *(pytest.param(name, marks=pytest.mark.long) for name in MORE)])
def test_the_same_bits(results: Any, name: str, way: str) -> None:
    found = results(NAMES if name in NAMES else MORE)
    keys = [key.split("/")[-1] for key in found if key.startswith(f"{name}/alone/")]
    for key in set(keys) - {"inside", "rebuilds", "messages"}:
        assert found[f"{name}/{way}/{key}"].tobytes() == found[f"{name}/alone/{key}"].tobytes(), key
    inside = found[f"{name}/{way}/inside"]
    if (name, way) != ("eam", "flat"):  # whose cutoff is too long for that
        assert (inside == 0).all() if way == "whole" else (inside > 0).any()
    assert {"force", "position", "total", "centroid_virial"} <= set(keys)


def test_no_message_of_zeros(results: Any) -> None:
    """Pair potentials give each center the whole force of its pairs: nothing goes home from ghosts."""
    found = results(NAMES)
    for name in NAMES:
        assert found[f"{name}/long/messages"] == (1 if name in ("lj", "sum") else 2), name


@pytest.mark.parametrize("name", ON_DEVICE)
def test_atoms_of_another_device(results: Any, name: str) -> None:
    """What runs on the host gets copies of them, and must put its forces back before they travel."""
    found = results(NAMES)
    for key in ("force", "position", "total", "virial_per_atom", "centroid_virial", "energy"):
        assert found[f"{name}/device/{key}"].tobytes() == found[f"{name}/alone/{key}"].tobytes(), key
    assert (found[f"{name}/device/inside"] == 0).all()


def test_a_part_that_fails_ends_all(results: Any) -> None:
    assert results(NAMES)["said"].tolist() == [["part 1 failed", "part 4 failed", "part 6 failed"]] * 2
