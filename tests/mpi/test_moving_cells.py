"""Cells that barostats move far: no neighbor is lost, and the bits are the same on any number of ranks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import image_sum
import numpy as np
import pytest
from once import once

pytestmark = pytest.mark.parallel

DRIVER = Path(__file__).resolve().parents[1] / "drivers" / "exactness.py"
STEPS = {"squeezed": 120, "stretched": 120, "flipping": 60}
START = 14.24  # Å, edge of the cubic cells; the tilted one begins with half of it
COMPARED = ("id", "thermo", "position", "velocity", "force", "cell")


@pytest.fixture(scope="module")
def results(mpirun: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The runs of all cases on so many ranks; 0: in a plain process."""
    folder = tmp_path_factory.mktemp("cells")

    def get(ranks: int) -> dict[str, dict[str, Any]]:
        todo, done = folder / f"{ranks}.json", folder / f"{ranks}.npz"
        skin = {0: 0.5, 2: 0.2, 4: 1.0}.get(ranks, 0.4)
        jobs = [{"name": case, "case": case, "steps": n, "skin": skin, "thermo_every": 10} for case, n in STEPS.items()]
        todo.write_text(json.dumps(jobs))
        mpirun(ranks, [DRIVER, todo, done], timeout=200)
        out: dict[str, dict[str, Any]] = {}
        with np.load(done) as data:
            for key in data:
                name, field = key.split("/")
                out.setdefault(name, {})[field] = data[key]
        return out

    return once(get)


@pytest.mark.parametrize("case", STEPS)
def test_forces_are_those_of_all_pairs(results: Any, case: str) -> None:
    """After the move, by a sum over all pairs and images that shares nothing with the engine."""
    run = results(0)[case]
    cell = run["cell"]
    _, force, _ = image_sum.lennard_jones(run["position"], cell, (True,) * 3, 0.05, 2.3, 5.0)
    np.testing.assert_allclose(run["force"] / 2.0**44, force, rtol=0, atol=1e-9)
    if case == "squeezed":
        assert np.linalg.det(cell) < 0.7 * START**3
    if case == "stretched":
        assert np.linalg.norm(cell[2]) > 1.2 * START
    if case == "flipping":  # the tilt grew from 0.5 beyond 0.6, where the lattice vector became another one
        assert cell[1] @ cell[0] / (cell[0] @ cell[0]) < 0.0
        largest = np.abs(np.diff([float.fromhex(row.split()[4]) for row in run["thermo"]])).max()
        assert largest < 0.1  # eV, in ten steps; the energy of the tension alone is of several eV
    assert run["rebuilds"] > 5


@pytest.mark.parametrize("case", STEPS)
@pytest.mark.parametrize("ranks", [2, *(pytest.param(n, marks=pytest.mark.long) for n in (1, 3, 4))])
def test_same_bits(results: Any, case: str, ranks: int) -> None:
    one, many = results(0)[case], results(ranks)[case]
    assert [field for field in COMPARED if one[field].tobytes() != many[field].tobytes()] == []
    assert ranks == 1 or many["migrations"] > 0
