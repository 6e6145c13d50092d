"""How comparisons become results."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from allegro_md.comm import Comm
from allegro_md.errors import PhysicsError
from allegro_md.verify.result import CheckStats, VerifyReport

SERIAL = Comm.serial()


def stats() -> CheckStats:
    return CheckStats("name", "this against that")


def test_the_worst_is_relative_to_what_is_allowed() -> None:
    t = stats()
    t.add("large", 5.0, 10.0, "eV", 1)
    t.add("small", [0.1, -0.9], 1.0, "eV/Å", 2)
    t.leave_out("no time", 3)
    r = t.result(SERIAL)
    assert (r.passed, r.measured, r.tolerance, r.unit, r.atom, r.compared) == (True, 0.9, 1.0, "eV/Å", 2, 2)
    assert "small" in r.explanation and "no time (3)" in r.explanation


@pytest.mark.parametrize(
    ("deviation", "tolerance", "passed"),
    [(0.0, 0.0, True), (1e-300, 0.0, False), (1.0, 1.0, True), (1.1, 1.0, False), (np.nan, 1.0, False),
     (np.inf, np.inf, False), ([0.0, np.nan], 1.0, False), ([], 0.0, True)],
)  # fmt: skip
def test_passes_only_what_is_allowed(deviation: Any, tolerance: float, passed: bool) -> None:
    one, many = stats(), stats()
    one.add("it", deviation, tolerance, "eV", 7)
    many.add_atoms("it", np.array([np.atleast_1d(deviation), np.zeros(np.size(deviation))]), tolerance, "eV", [7, 8])
    for t in (one, many):
        r = t.result(SERIAL)
        assert r.passed == passed and r.atom == 7
        json.dumps(r.as_dict(), allow_nan=False)


def test_atoms_have_their_own_tolerances() -> None:
    t = stats()
    t.add_atoms("it", np.array([[1.0, 2.0], [3.0, -4.0], [0.0, 0.0]]), np.array([1.0, 5.0, 0.0]), "eV", [10, 20, 30])
    r = t.result(SERIAL)
    assert (r.passed, r.atom, r.measured, r.tolerance, r.compared) == (False, 10, 2.0, 1.0, 3)


def test_nothing_to_compare_passes_and_says_so() -> None:
    t = stats()
    t.leave_out("no model file")
    r = t.result(SERIAL)
    assert r.passed and r.compared == 0 and "no model file" in r.explanation


def test_a_certificate_names_what_failed() -> None:
    good, bad = stats(), CheckStats("virial", "a against b")
    good.add("it", 0.0, 1.0, "eV", 1)
    bad.add("component yz", 0.5, 1e-5, "eV", 42)
    fine = VerifyReport([good.result(SERIAL)], 1, 0.1)
    fine.require()
    assert fine.as_dict()["passed"] and "name" in fine.lines()[0]
    nothing = CheckStats("test vector", "a model against its file")
    nothing.leave_out("no model file")
    assert "test vector" not in VerifyReport([good.result(SERIAL), nothing.result(SERIAL)], 1, 0.1).lines()[0]
    certificate = VerifyReport([good.result(SERIAL), bad.result(SERIAL)], 1, 0.1)
    assert not certificate.as_dict()["passed"]
    with pytest.raises(PhysicsError) as caught:
        certificate.require()
    assert caught.value.atoms == (42,) and caught.value.exit_status == 3
    for word in ("virial", "atom 42", "0.5 eV", "1e-05 eV", "component yz"):
        assert word in str(caught.value)
    assert str(caught.value) in certificate.lines()[0] and "\n" not in str(caught.value)
