"""The wrapper of ASE calculators against the same calculators on the whole periodic system, and the sum of terms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones as AseLennardJones
from ase.calculators.morse import MorsePotential

from allegro_md.config import AseTerm, LennardJonesTerm, ZblTerm
from allegro_md.errors import InputError, PhysicsError
from allegro_md.neighbors.list import NeighborList
from allegro_md.potentials import build_potential
from allegro_md.potentials.ase import AsePotential, build
from allegro_md.potentials.lj import LennardJones
from allegro_md.potentials.sum import SumPotential
from allegro_md.potentials.zbl import Zbl

RANKS = [[np.arange(27)], np.array_split(np.arange(27), 4)]


@pytest.mark.parametrize("ranks", RANKS)
def test_emt_like_the_periodic_system(lab: Any, ranks: Any) -> None:
    system = lab.liquid(("Cu", "Ni"), 2.6)
    atoms = Atoms(np.array(system.symbols)[system.kind], system.x, cell=system.cell.matrix, pbc=True, calculator=EMT())
    potential = AsePotential(EMT(), 6.0)
    result = lab.run(potential, system, ranks)
    assert np.abs(result.force - atoms.get_forces()).max() < 1e-10
    assert np.abs(result.energy - atoms.get_potential_energies()).max() < 1e-10
    assert result.virial is None and "virial" not in potential.info.provides and not potential.info.bit_exact


@pytest.mark.parametrize("ranks", RANKS)
def test_virial_from_stresses_of_atoms(lab: Any, ranks: Any) -> None:
    system = lab.liquid(("Ar",), 3.9)
    potential = AsePotential(AseLennardJones(sigma=3.4, epsilon=0.0104, rc=6.5, ro=6.4, smooth=False), 6.5)
    result = lab.run(potential, system, ranks)
    ours = lab.run(LennardJones(np.full((1, 1), 0.0104), np.full((1, 1), 3.4), 6.5), system)
    assert np.abs(result.force - ours.force).max() < 1e-12
    assert np.abs(result.energy - ours.energy).max() < 1e-12
    assert np.abs(result.virial.sum(axis=0) - ours.virial.sum(axis=0)).max() < 1e-11


def test_a_rank_without_atoms_and_an_isolated_atom(lab: Any) -> None:
    potential = AsePotential(AseLennardJones(sigma=3.4, epsilon=0.01, rc=6.5), 6.5)
    system = lab.liquid(("Ar",), 40.0, n=1)
    state = lab.hold(system, np.arange(1), 13.3)
    neighbors = NeighborList(6.5, 0.3)
    neighbors.build(state)
    assert potential(state, neighbors, frozenset()).per_atom["energy"].tolist() == [0.0]
    state.resize(0, 0)
    neighbors.build(state)
    result = potential(state, neighbors, frozenset({"virial", "virial_per_atom"}))
    assert result.per_atom["energy"].shape == (0,) and result.per_atom["virial_per_atom"].shape == (0, 6)
    argon = LennardJones(np.full((1, 1), 0.0104), np.full((1, 1), 3.4), 6.5)
    empty = argon(state, neighbors, frozenset({"virial", "virial_per_atom"}))
    assert empty.per_atom["energy"].shape == (0,) and empty.per_atom["virial_per_atom"].shape == (0, 6)


class WithoutEnergies(MorsePotential):
    implemented_properties = ["energy", "forces"]


class Broken(EMT):
    def calculate(self, *args: Any, **kwargs: Any) -> None:
        super().calculate(*args, **kwargs)
        self.results["forces"] = self.results["forces"] * np.nan


def test_errors(lab: Any) -> None:
    system = lab.liquid(("Cu",), 2.6)
    with pytest.raises(InputError, match="no energies per atom"):
        AsePotential(WithoutEnergies(), 6.0)
    with pytest.raises(PhysicsError, match="atom 0"):
        lab.run(AsePotential(Broken(), 6.0), system)
    for calculator in ("no_such_calculator", "ase.calculators.emt:NONE", "no.module:EMT"):
        with pytest.raises(InputError, match="no calculator"):
            build(AseTerm(kind="ase", calculator=calculator, range=6.0), system.species)


@pytest.mark.parametrize("name", ["emt", "ase.calculators.emt:EMT"])
def test_builder(lab: Any, name: str) -> None:
    system = lab.liquid(("Cu",), 2.6)
    built = build(AseTerm(kind="ase", calculator=name, range=6.0), system.species)
    assert (lab.run(built, system).fixed == lab.run(AsePotential(EMT(), 6.0), system).fixed).all()


def test_sum(lab: Any) -> None:
    system = lab.liquid(("Ar",), 3.0)
    lj = LennardJonesTerm(kind="lj", epsilon=0.0104, sigma=2.9, cutoff=6.5)
    total = build_potential([ZblTerm(kind="zbl", cutoff=3.5), lj], system.species)
    assert isinstance(total, SumPotential)
    assert total.info.cutoff == 6.5 and total.info.hops == 1 and total.info.bit_exact
    terms = [Zbl(system.species.numbers, 3.5), LennardJones(np.full((1, 1), 0.0104), np.full((1, 1), 2.9), 6.5)]
    both, (first, second) = lab.run(total, system), (lab.run(term, system) for term in terms)
    assert np.abs(first.fixed).max() > 0
    assert (both.fixed == first.fixed + second.fixed).all()
    assert (both.energy == first.energy + second.energy).all()
    assert (both.virial == first.virial + second.virial).all()


def test_halo_of_a_sum(lab: Any) -> None:
    system = lab.liquid(("Cu",), 2.6)
    lj = LennardJones(np.full((1, 1), 0.01), np.full((1, 1), 2.3), 4.0)
    total = SumPotential([lj, AsePotential(EMT(), 6.0)])
    assert (total.info.cutoff, total.info.halo, total.info.bit_exact) == (6.0, 12.0, False)
    assert lab.run(total, system).virial is None
    wide = LennardJones(np.full((1, 1), 0.01), np.full((1, 1), 2.3), 12.5)
    assert SumPotential([wide, AsePotential(EMT(), 6.0)]).info.halo == 12.5
