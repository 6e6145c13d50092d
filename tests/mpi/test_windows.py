"""Steps made without a look at other ranks: the same bits, and every fault as if each step had been looked at."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from once import once

pytestmark = pytest.mark.parallel

DRIVER = Path(__file__).resolve().parents[1] / "drivers" / "windows.py"

ATOMS = ("id", "position", "velocity", "force")
CASES = {"liquid": 60, "slab": 60, "langevin": 60, "triclinic": 80}
WINDOWS: dict[str, Any] = {"stepwise": 0.0, "windows": 100.0, "reckless": [7]}
FAULTS = {"raise": 1.0, "once": 1.0, "nan": 1.0, "guard": 0.083}


def jobs() -> list[dict[str, Any]]:
    """Every case without and with a fault, step by step and in windows, some of which the skin does not last."""
    found = [
        {"name": f"{case}-{how}", "case": case, "steps": steps, "windows": windows}
        for case, steps in CASES.items()
        for how, windows in WINDOWS.items()
    ]
    for fault, limit in FAULTS.items():
        common = {"case": "triclinic", "steps": 80, "fault": fault, "limit": limit}
        found += [{"name": f"{fault}-{how}", "windows": windows, **common} for how, windows in WINDOWS.items()]
    of_lists: dict[str, dict[str, Any]] = {"stale": {"fault": "stale"}, "anew": {"anew": True}}
    found += [
        {"name": f"{kind}-{how}", "windows": windows, "case": "triclinic", "steps": 80, **job}
        for kind, job in of_lists.items()
        for how, windows in WINDOWS.items()
    ]
    calm = {"case": "triclinic", "steps": 60, "skin": 1.5}
    stop = {"name": "stop", "windows": 100.0, "stop": 30}
    return [*found, {"name": "calm", "windows": 100.0} | calm, stop | calm]


@pytest.fixture(scope="module")
def results(mpirun: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    def run() -> dict[str, dict[str, Any]]:
        folder = tmp_path_factory.mktemp("windows")
        (folder / "jobs.json").write_text(json.dumps(jobs()))
        mpirun(2, [DRIVER, folder / "jobs.json", folder / "out.npz"], timeout=200)
        found: dict[str, dict[str, Any]] = {}
        with np.load(folder / "out.npz") as data:
            for key in data:
                name, field = key.split("/")
                found.setdefault(name, {})[field] = data[key]
        return found

    return once(run)


@pytest.mark.parametrize("how", ["windows", "reckless"])
@pytest.mark.parametrize("case", CASES)
def test_the_same_bits(results: Any, case: str, how: str) -> None:
    found, expected = results()[f"{case}-{how}"], results()[f"{case}-stepwise"]
    for name in (*ATOMS, "energy"):
        assert found[name].tobytes() == expected[name].tobytes(), name
    assert not str(found["message"]) and found["step"] == expected["step"] == CASES[case]
    assert found["rebuilds"] == expected["rebuilds"] > 3


@pytest.mark.parametrize("how", ["windows", "reckless"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_in_its_step(results: Any, fault: str, how: str) -> None:
    """The message, the atoms to blame, the step, and where all atoms are then."""
    found, expected = results()[f"{fault}-{how}"], results()[f"{fault}-stepwise"]
    assert str(found["message"]) == str(expected["message"]) != ""
    assert found["blamed"].tolist() == expected["blamed"].tolist() and len(found["blamed"]) >= 1
    assert found["step"] == expected["step"] and found["current"] == expected["current"] == found["step"] + 1
    assert 7 < found["step"] < 70
    if fault == "guard":  # after a potential that fails, how far the step came depends on the rank
        for name in ATOMS:
            assert found[name].tobytes() == expected[name].tobytes(), name


@pytest.mark.parametrize("kind", ["stale", "anew"])
def test_no_fault_of_lists(results: Any, kind: str) -> None:
    """An error that only a list out of date has caused is none; other lists, and none, change nothing."""
    expected = results()["triclinic-stepwise"]
    for how in WINDOWS:
        found = results()[f"{kind}-{how}"]
        assert not str(found["message"]) and found["step"] == 80, how
        for name in ATOMS:
            assert found[name].tobytes() == expected[name].tobytes(), (how, name)


def test_time_is_counted_once(results: Any) -> None:
    """Also that of windows which are made again."""
    for how in WINDOWS:
        found = results()[f"triclinic-{how}"]
        assert 0.0 < found["told"] <= found["seconds"], how


def test_fewer_reductions_than_steps(results: Any) -> None:
    found = results()["calm"]
    assert found["rebuilds"] >= 1 and found["allreduces"] < 60


def test_a_stop_ends_a_window(results: Any) -> None:
    found = results()["stop"]
    assert str(found["message"]).startswith("InterruptedRun: interrupted; stopped after step")
    assert 30 <= found["step"] < 60
