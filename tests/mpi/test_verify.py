"""The physics certificate: passes what is right, finds every deliberate fault, ends a run that has one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import fault_inputs
import pytest
from faults import FAULTS
from once import once

ROOT = Path(__file__).resolve().parents[2]
DRIVER = ROOT / "tests" / "drivers" / "faults.py"

SHORTER = {
    "quickstart": ["system.repeat=[1,1,1]", 'system.crystal={symbol="Cu",lattice="fcc",a=3.64,repeat=[3,3,3]}'],
    "argon-lj": ["system.crystal.repeat=[3,3,3]"],
    "ag-crystal": ["system.crystal.repeat=[3,3,3]"],
    "triclinic": ["system.repeat=[5,5,5]"],
    "molecule": [],
}
"""Settings that make the systems of `inputs/` small."""


@pytest.fixture(scope="module")
def found(mpirun: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """`found(ranks)`: certificates by fault, one launch for all of them."""
    folder = tmp_path_factory.mktemp("faults")
    fault_inputs.write(folder, ROOT / "tests" / "data")

    def launch(ranks: int) -> dict[str, Any]:
        out = folder / f"{ranks}.json"
        if ranks == 1:
            subprocess.run([sys.executable, str(DRIVER), str(folder), str(out)], check=True, timeout=280)
        else:
            mpirun(ranks, [DRIVER, folder, out], timeout=280)
        return dict(json.loads(out.read_text()))

    return once(launch)


def failed(certificate: dict[str, Any]) -> dict[str, Any]:
    return {check["name"]: check for check in certificate["checks"] if not check["passed"]}


@pytest.mark.parallel
@pytest.mark.parametrize(("ranks", "name"), [(r, name) for name, f in FAULTS.items() for r in f.ranks])
def test_faults_are_found(found: Any, ranks: int, name: str) -> None:
    """Each by the check that is there for it; where that is about atoms, one is named."""
    certificate = found(ranks)[name]
    assert not certificate["passed"]
    check = failed(certificate)[FAULTS[name].check]
    assert check["measured"] is None or check["measured"] > check["tolerance"]
    if check["name"] not in ("net force", "repeat", "test vector", "drift") and "reduce" not in name:
        assert isinstance(check["atom"], int)


@pytest.mark.parallel
@pytest.mark.parametrize("ranks", [1, 2])
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


def test_faults_cover_the_list() -> None:
    """What the issue names, and at least ten of them."""
    assert len(FAULTS) >= 12 and len({fault.check for fault in FAULTS.values()}) >= 10
    assert {"virial-sign", "stale-halo", "lost-corner", "wrong-table", "float-reduce", "wrong-species",
            "missing-image"} <= set(FAULTS)  # fmt: skip


def shortened(name: str, folder: Path) -> Path:
    """An input of the project with a smaller system, beside copies of nothing: paths stay what they were."""
    text = (ROOT / "inputs" / f"{name}.toml").read_text()
    for kind in ("structures", "models", "potentials"):
        text = text.replace(f'"{kind}/', f'"{ROOT / "inputs" / kind}/')
    path = folder / f"{name}.toml"
    if name == "quickstart":
        text = "\n".join(line for line in text.splitlines() if not line.startswith("structure"))
    path.write_text(text)
    return path


@pytest.mark.parallel
@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "inputs").glob("*.toml")))
def test_inputs_are_certified(mpirun: Any, tmp_path: Path, name: str, ranks: int) -> None:
    """The command, on every input: table, JSON, status 0, and nothing written but what was asked for."""
    path, out = shortened(name, tmp_path), tmp_path / "out.json"
    settings = [word for setting in SHORTER[name] for word in ("--set", setting)]
    job = mpirun(ranks, ["-m", "allegro_md", "verify", path, "--json", out, *settings], timeout=200, cwd=tmp_path)
    certificate = json.loads(out.read_text())
    assert certificate["passed"] and certificate["samples"] > 0
    names = [check["name"] for check in certificate["checks"]]
    assert all(name in job.stdout for name in names) and job.stdout.count("environment") == 1
    assert ("ranks" in names) == (ranks > 1) and {"rebuild", "wrapping", "drift"} <= set(names)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [path.name, out.name]


@pytest.mark.long
@pytest.mark.parallel
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "inputs").glob("*.toml")))
def test_inputs_as_they_are(mpirun: Any, name: str, ranks: int) -> None:
    job = mpirun(ranks, ["-m", "allegro_md", "verify", ROOT / "inputs" / f"{name}.toml", "--json", "-"], timeout=1700)
    assert json.loads(job.stdout)["passed"]
