"""The physics certificate: passes what is right, finds every deliberate fault, ends a run that has one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import fault_inputs
import pytest
from faults import FAULTS
from once import once
from runs import SMALLER, assigned

ROOT = Path(__file__).resolve().parents[2]
DRIVER = ROOT / "tests" / "drivers" / "faults.py"

INPUTS = sorted((ROOT / "inputs").glob("*.toml"))
ON: dict[int, list[pytest.MarkDecorator]] = {1: [], 2: [pytest.mark.parallel]}
"""Number of ranks → marks of its tests."""


@pytest.fixture(scope="module")
def found(mpirun: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """`found(ranks)`: certificates by fault, one launch for all of them."""
    folder = tmp_path_factory.mktemp("faults")
    fault_inputs.write(folder, ROOT / "tests" / "data")

    def launch(ranks: int) -> dict[str, Any]:
        out = folder / f"{ranks}.json"
        mpirun(ranks if ranks > 1 else 0, [DRIVER, folder, out], timeout=280)
        return dict(json.loads(out.read_text()))

    return once(launch)


def failed(certificate: dict[str, Any]) -> dict[str, Any]:
    return {check["name"]: check for check in certificate["checks"] if not check["passed"]}


@pytest.mark.parametrize(
    ("ranks", "name"),
    [pytest.param(r, name, marks=ON[r]) for name, f in FAULTS.items() for r in f.ranks],
)
def test_faults_are_found(found: Any, ranks: int, name: str) -> None:
    """Each by the check that is there for it; where that is about atoms, one is named."""
    certificate = found(ranks)[name]
    assert not certificate["passed"]
    check = failed(certificate)[FAULTS[name].check]
    assert check["measured"] is None or check["measured"] > check["tolerance"]
    if check["name"] not in ("net force", "repeat", "test vector", "drift") and "reduce" not in name:
        assert isinstance(check["atom"], int)


@pytest.mark.parametrize("ranks", [pytest.param(r, marks=ON[r]) for r in (1, 2)])
def test_what_is_right_passes(found: Any, ranks: int) -> None:
    """The same systems without a fault; every check has compared something somewhere."""
    right = {name: certificate for name, certificate in found(ranks).items() if name.startswith("right")}
    assert len(right) >= 8
    assert {name: failed(certificate) for name, certificate in right.items()} == dict.fromkeys(right, {})
    compared: dict[str, int] = {}
    for certificate in right.values():
        for check in certificate["checks"]:
            compared[check["name"]] = compared.get(check["name"], 0) + check["compared"]
    assert min(compared.values()) > 0 and ("ranks" in compared) == (ranks > 1)
    assert set(compared) >= {fault.check for fault in FAULTS.values() if ranks in fault.ranks}


@pytest.mark.parallel
@pytest.mark.parametrize("ranks", [pytest.param(1, marks=pytest.mark.long), 2])
def test_inputs_are_certified(mpirun: Any, tmp_path: Path, ranks: int) -> None:
    """The command, on every input (the largest made smaller): table once, JSON, status 0, nothing else written."""
    todo, done = tmp_path / "todo.json", tmp_path / "done.json"
    commands = [
        ["verify", str(path), "--json", f"{tmp_path / path.stem}.json", *assigned(SMALLER.get(path.stem, []))]
        for path in INPUTS
    ]
    todo.write_text(json.dumps(commands))
    before = sorted((ROOT / "inputs").rglob("*"))
    job = mpirun(ranks, [ROOT / "tests" / "drivers" / "commands.py", todo, done], timeout=280, cwd=tmp_path)
    assert json.loads(done.read_text()) == [0] * len(INPUTS) and job.stderr == ""
    assert job.stdout.count("environment  passed") == len(INPUTS) >= 5
    assert sorted((ROOT / "inputs").rglob("*")) == before
    assert len(list(tmp_path.iterdir())) == len(INPUTS) + 2
    for path in INPUTS:
        certificate = json.loads((tmp_path / f"{path.stem}.json").read_text())
        assert certificate["passed"] and certificate["samples"] > 0
        names = {check["name"] for check in certificate["checks"]}
        assert ("ranks" in names) == (ranks > 1) and {"rebuild", "wrapping", "drift"} <= names


@pytest.mark.long
@pytest.mark.parallel
@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
def test_awkward_places_pass(mpirun: Any, tmp_path: Path, ranks: int) -> None:
    """No false alarm where boxes are small, tilted, far away or empty, and atoms on faces or alone."""
    mpirun(ranks, [ROOT / "tests" / "drivers" / "awkward.py", tmp_path / "out.json"], timeout=280)
    found = json.loads((tmp_path / "out.json").read_text())
    wrong = {name: [check for check in checks if not check["passed"]] for name, checks in found.items()}
    assert wrong == dict.fromkeys(found, [])
    assert all(check["compared"] for check in found["cube"])


@pytest.mark.long
@pytest.mark.parallel
@pytest.mark.timeout(600)
def test_more_ranks_than_atoms(mpirun: Any) -> None:
    """Ranks without atoms, and without samples, take part in everything."""
    job = mpirun(4, ["-m", "allegro_md", "verify", ROOT / "inputs" / "molecule.toml", "--json", "-"], timeout=500)
    assert json.loads(job.stdout)["passed"]
