"""What every bit-exact potential owes the engine, whatever its formula: the checks of `allegro-md verify`, on each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from systems import INPUTS, grid_points, lennard_jones

from allegro_md.cell import Cell
from allegro_md.comm import Comm
from allegro_md.config import EamTerm, ZblTerm
from allegro_md.config.potential import POTENTIALS as BUILT
from allegro_md.evaluation import Evaluation, Needs
from allegro_md.exact import FORCE_SCALE
from allegro_md.models.modelfile import read_document
from allegro_md.potentials import build_potential
from allegro_md.potentials.allegro import AllegroPotential
from allegro_md.potentials.fused import FusedPotential
from allegro_md.potentials.sum import SumPotential
from allegro_md.simulation.certificate import run_values
from allegro_md.simulation.engine import WholeEngine
from allegro_md.simulation.forces import ForceEvaluator
from allegro_md.state import FIELDS, AtomState, SpeciesTable
from allegro_md.timers import Timers
from allegro_md.verify.environment import gather
from allegro_md.verify.local import SINGLE, LocalChecks, Tolerance
from allegro_md.verify.result import CheckStats, Result
from allegro_md.verify.vector import EXACT, Maker, check_vector
from allegro_md.verify.whole import System, WholeChecks, check_net_force

SILVER = SpeciesTable(("Ag",), np.array([47]), np.array([107.87]))
COPPER = SpeciesTable(("Cu",), np.array([29]), np.array([63.546]))
MODEL = INPUTS / "models" / "cu.allegro"


def eam() -> Any:
    return build_potential([EamTerm(kind="eam", file=INPUTS / "potentials" / "ag-sutton-chen.eam.alloy")], SILVER)


def zbl() -> Any:
    return build_potential([ZblTerm(kind="zbl", cutoff=4.0)], SILVER)


def allegro(precision: str) -> Any:
    return AllegroPotential(MODEL, ("Cu",), precision)


def fused(precision: str) -> Any:
    return FusedPotential(MODEL, ("Cu",), precision)


POTENTIALS: dict[str, tuple[Callable[[], Any], SpeciesTable]] = {
    "lj": (lambda: lennard_jones(0.01, 2.2, 5.0), SILVER),
    "eam": (eam, SILVER),
    "zbl": (zbl, SILVER),
    "sum": (lambda: SumPotential([lennard_jones(0.01, 2.2, 5.0), zbl()]), SILVER),
    "allegro-mixed": (lambda: allegro("mixed"), COPPER),
    "allegro-double": (lambda: allegro("double"), COPPER),
    "fused-mixed": (lambda: fused("mixed"), COPPER),
    "fused-double": (lambda: fused("double"), COPPER),
}
CLOSENESS = {
    "allegro-mixed": Tolerance(), "fused-mixed": Tolerance(SINGLE, 1e-5), "fused-double": Tolerance(1e-5, 1e-5)
}  # fmt: skip
"""To the network in float64, of potentials that are not that themselves."""
ROWS = np.array([[7.8, 0.0, 0.0], [2.0, 7.8, 0.0], [-3.0, 1.0, 7.8]])
SKIN = 0.4
LOCAL = ("environment", "locality", "reference", "force", "virial", "cutoff")
WHOLE = ("net force", "rebuild", "wrapping", "rotation", "reflection", "permutation", "engine", "strain")


def system(table: SpeciesTable) -> System:
    x = grid_points((3, 3, 3), 2.6, 0.12, 5)
    return System(Cell(ROWS), table, np.zeros(len(x), dtype=np.int16), x)


PER_ATOM: Needs = frozenset({"virial", "virial_per_atom"})


def evaluated(potential: Any, atoms: System, needs: Needs = PER_ATOM) -> tuple[Evaluation, AtomState]:
    state = AtomState(atoms.cell, atoms.species_table, len(atoms.position))
    n = len(atoms.position)
    state.set_local(
        {
            "id": torch.arange(n), "species": torch.from_numpy(atoms.species),
            "position": torch.from_numpy(atoms.position), "velocity": torch.zeros(n, 3, dtype=torch.float64),
        }
    )  # fmt: skip
    forces = ForceEvaluator(potential, Comm.serial(), SKIN, None, Timers())
    return forces(state, needs), state


class Case:
    """One potential on the small tilted system, and what all checks say of it."""

    def __init__(self, name: str) -> None:
        make, table = POTENTIALS[name]
        self.potential = make()
        own = name not in CLOSENESS
        reference = self.potential if own else allegro("double")
        closeness = Tolerance() if own else CLOSENESS[name]
        self.atoms = system(table)
        self.result, self.state = evaluated(self.potential, self.atoms)
        engine = WholeEngine(self.potential, Comm.serial(), SKIN, None)
        whole = WholeChecks(engine, self.atoms, self.potential.info)
        self.plain = whole.plain
        whole.rebuild(SKIN)
        whole.wrapping()
        whole.rotation()
        whole.reflection()
        whole.permutation()
        truth = WholeEngine(reference, Comm.serial(), SKIN, None)
        whole.same_as("engine", "against float64", truth(self.atoms), None if own else closeness)
        whole.strain(truth)
        local = LocalChecks(self.potential, reference, 60.0, thorough=True, closeness=closeness)
        rows = np.array([0, 13, 26])
        for environment, row in zip(gather(self.state, rows, 2.0 * self.potential.info.reach, Comm.serial()), rows,
                                    strict=True):  # fmt: skip
            local(environment, run_values(self.result, self.state, int(row)))
        balance = check_net_force(self.plain.force.sum(axis=0), self.potential.info)
        all_stats: list[CheckStats] = [*whole.all_stats, *local.all_stats, balance]
        self.results: dict[str, Result] = {stats.name: stats.result(Comm.serial()) for stats in all_stats}


@pytest.fixture(scope="module", params=POTENTIALS)
def case(request: Any) -> Case:
    return Case(request.param)


def test_all_are_covered() -> None:
    assert set(BUILT) - {"ase"} <= {name.split("-")[0] for name in POTENTIALS}


def test_there_is_something_to_compare(case: Case) -> None:
    assert case.plain.energy is not None and case.plain.energy.dtype == np.float64
    assert np.abs(case.plain.force).max() > 0.01 * FORCE_SCALE
    assert case.plain.virial is not None and case.plain.virial.shape == (27, 6)
    assert case.plain.virial.dtype == np.float64 and case.plain.force.dtype == np.int64


@pytest.mark.parametrize("check", [*LOCAL, *WHOLE])
def test_certificate(case: Case, check: str) -> None:
    """Each check passes and has compared something, bits without any tolerance."""
    if check == "reference" and check not in case.results:
        pytest.skip("is the float64 reference itself")
    result = case.results[check]
    assert result.passed and result.compared >= (1 if check == "net force" else 3), result
    if check in ("environment", "locality", "net force", "rebuild"):
        assert result.tolerance == 0.0, result
    if check in ("force", "virial", "strain", "rotation", "reflection"):
        assert 0.0 < result.measured < result.tolerance, result


def held(state: AtomState, name: str) -> torch.Tensor:
    """The rows of a field that mean something."""
    return state.all(name) if FIELDS[name].halo else state.local(name)


def test_changes_nothing_but_forces(case: Case) -> None:
    _, state = evaluated(case.potential, case.atoms)
    before = {name: held(state, name).clone() for name in FIELDS if name != "force"}
    ForceEvaluator(case.potential, Comm.serial(), SKIN, None, Timers())(state)
    assert all(torch.equal(before[name], held(state, name)) for name in before)


def test_asking_for_the_virial_changes_no_bit(case: Case) -> None:
    result, state = evaluated(case.potential, case.atoms, frozenset())
    assert result.virial is None and result.energy is not None and case.result.energy is not None
    assert torch.equal(state.local("force"), case.state.local("force"))
    assert np.array_equal(result.energy, case.result.energy)


def test_atoms_without_neighbors(case: Case) -> None:
    """Far apart, nothing acts: energies are those of single atoms, whatever the order."""
    apart = replace(case.atoms, cell=Cell(np.eye(3), (False,) * 3), position=case.atoms.position * 50.0)
    result, state = evaluated(case.potential, apart)
    assert not state.local("force").any()
    assert result.virial is not None and not result.virial.value().any()
    assert len(np.unique(result.per_atom["energy"])) == 1


def test_no_atoms_at_all(case: Case) -> None:
    none = replace(case.atoms, species=np.zeros(0, dtype=np.int16), position=np.zeros((0, 3)))
    result, state = evaluated(case.potential, none)
    assert state.n_all == 0 and len(result.per_atom["energy"]) == 0


@pytest.mark.parametrize("table", [COPPER, SpeciesTable(("H", "Cu"), np.array([1, 29]), np.array([1.0, 63.5]))])
def test_test_vector_of_a_model(table: SpeciesTable) -> None:
    """Through species table, state and list, whatever stands in front of copper."""

    def copper(full: SpeciesTable) -> list[str]:
        return ["Cu" for _ in full.symbols]

    makers = [
        Maker("exact", EXACT, lambda full: AllegroPotential(MODEL, copper(full), "double")),
        Maker("mixed", Tolerance(), lambda full: AllegroPotential(MODEL, copper(full), "mixed")),
        Maker("fused", CLOSENESS["fused-mixed"], lambda full: FusedPotential(MODEL, copper(full), "mixed")),
    ]
    stats = CheckStats("test vector", "")
    check_vector(stats, read_document(MODEL)["test"], table, makers, {"Cu": 29})
    result = stats.result(Comm.serial())
    assert result.passed and result.compared == 9 and result.measured > 0.0
