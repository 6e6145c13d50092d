"""What every bit-exact potential owes the engine, whatever its formula."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from systems import INPUTS, grid_points, lennard_jones

from allegro_md.cell import Cell
from allegro_md.comm import Comm
from allegro_md.config import EamTerm, ZblTerm
from allegro_md.exact import FORCE_SCALE
from allegro_md.potentials import build_potential
from allegro_md.potentials.allegro import AllegroPotential
from allegro_md.potentials.sum import SumPotential
from allegro_md.simulation.forces import Forces
from allegro_md.state import FIELDS, AtomState, SpeciesTable
from allegro_md.timers import Timers

SILVER = SpeciesTable(("Ag",), np.array([47]), np.array([107.87]))
COPPER = SpeciesTable(("Cu",), np.array([29]), np.array([63.546]))


def eam() -> Any:
    return build_potential([EamTerm(kind="eam", file=INPUTS / "potentials" / "ag-sutton-chen.eam.alloy")], SILVER)


def zbl() -> Any:
    return build_potential([ZblTerm(kind="zbl", cutoff=4.0)], SILVER)


def allegro(precision: str) -> Any:
    return AllegroPotential(INPUTS / "models" / "cu.allegro", ("Cu",), precision)


POTENTIALS: dict[str, tuple[Callable[[], Any], SpeciesTable]] = {
    "lj": (lambda: lennard_jones(0.01, 2.2, 5.0), SILVER),
    "eam": (eam, SILVER),
    "zbl": (zbl, SILVER),
    "sum": (lambda: SumPotential([lennard_jones(0.01, 2.2, 5.0), zbl()]), SILVER),
    "allegro-mixed": (lambda: allegro("mixed"), COPPER),
    "allegro-double": (lambda: allegro("double"), COPPER),
}
ROWS = np.array([[7.8, 0.0, 0.0], [2.0, 7.8, 0.0], [-3.0, 1.0, 7.8]])

Array = NDArray[Any]


def held(state: AtomState, name: str) -> torch.Tensor:
    """The rows of a field that mean something."""
    return state.all(name) if FIELDS[name].halo else state.local(name)


class Evaluated:
    """Energies, force quanta and virials by id."""

    def __init__(
        self,
        name: str,
        order: Array | None = None,
        skin: float = 0.4,
        virial: bool = True,
        images: Array | None = None,
        strain: Array | None = None,
        displacement: Array | None = None,
    ) -> None:
        make, species = POTENTIALS[name]
        x = grid_points((3, 3, 3), 2.6, 0.12, 5)
        x = x + (0.0 if displacement is None else displacement)
        x = x @ (np.eye(3) if strain is None else strain)
        rows = ROWS @ (np.eye(3) if strain is None else strain)
        x = x + (0.0 if images is None else images @ rows)
        order = np.arange(len(x)) if order is None else order
        state = AtomState(Cell(rows), species, len(x))
        state.set_local(
            {
                "id": torch.from_numpy(order), "species": torch.zeros(len(x), dtype=torch.int16),
                "position": torch.from_numpy(x[order]), "velocity": torch.zeros(len(x), 3, dtype=torch.float64),
            }
        )  # fmt: skip
        forces = Forces(make(), Comm.serial(), skin, None, Timers())
        forces.want_virial = virial
        forces(state)
        before = {name: held(state, name).clone() for name in FIELDS if name != "force"}
        forces(state)  # a second time, on the list and halo at hand
        self.untouched = all(torch.equal(before[name], held(state, name)) for name in before)
        back = np.argsort(state.local("id").numpy())
        self.energy = forces.result.energy.numpy()[back]
        self.force = state.local("force").numpy()[back]
        self.virial = None if forces.result.virial is None else forces.result.virial.numpy()[back]

    def same(self, other: Evaluated) -> bool:
        return self.energy.tobytes() == other.energy.tobytes() and self.force.tobytes() == other.force.tobytes()


@pytest.fixture(scope="module", params=POTENTIALS)
def name(request: Any) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def plain(name: str) -> Evaluated:
    return Evaluated(name)


def test_there_is_something_to_compare(plain: Evaluated) -> None:
    assert np.abs(plain.force).max() > 0.01 * FORCE_SCALE and plain.energy.dtype == np.float64
    assert plain.virial is not None and plain.virial.shape == (27, 6) and plain.virial.dtype == np.float64


def test_net_force_is_exactly_zero(plain: Evaluated) -> None:
    assert plain.force.sum(axis=0).tolist() == [0, 0, 0]


def test_changes_nothing_but_forces(plain: Evaluated) -> None:
    assert plain.untouched


def test_order_of_atoms_changes_no_bit(name: str, plain: Evaluated) -> None:
    other = Evaluated(name, order=np.random.default_rng(1).permutation(27))
    assert other.same(plain)
    assert plain.virial is not None and other.virial is not None
    assert other.virial.tobytes() == plain.virial.tobytes()


@pytest.mark.parametrize("skin", [0.0, 1.7])
def test_skin_changes_no_bit(name: str, plain: Evaluated, skin: float) -> None:
    assert Evaluated(name, skin=skin).same(plain)


def test_asking_for_the_virial_changes_no_bit(name: str, plain: Evaluated) -> None:
    other = Evaluated(name, virial=False)
    assert other.same(plain) and other.virial is None


def test_images_do_not_matter(name: str, plain: Evaluated) -> None:
    """Atoms that have traveled: the same up to the rounding of their coordinates."""
    other = Evaluated(name, images=np.random.default_rng(2).integers(-20, 20, (27, 3)))
    scale = 1e-4 if "mixed" in name else 1e-10
    np.testing.assert_allclose(other.energy, plain.energy, rtol=0, atol=scale * np.abs(plain.energy).max())
    np.testing.assert_allclose(other.force, plain.force, rtol=0, atol=scale * np.abs(plain.force).max())


def test_force_and_virial_are_derivatives_of_the_energy(name: str, plain: Evaluated) -> None:
    """Along one random direction each, by central differences."""
    if "mixed" in name:
        pytest.skip("single precision has no use for difference quotients")
    step, rng = 1e-5, np.random.default_rng(3)
    direction = rng.normal(size=(27, 3))
    up, down = (Evaluated(name, displacement=s * step * direction).energy.sum() for s in (1, -1))
    along = (plain.force / FORCE_SCALE * direction).sum()
    assert -(up - down) / (2 * step) == pytest.approx(along, rel=1e-5, abs=1e-6)
    assert plain.virial is not None
    a = rng.normal(size=(3, 3))
    a = a + a.T
    up, down = (Evaluated(name, strain=np.eye(3) + s * step * a).energy.sum() for s in (1, -1))
    weights = np.array([a[0, 0], a[1, 1], a[2, 2], 2 * a[1, 2], 2 * a[0, 2], 2 * a[0, 1]])
    along = (plain.virial.sum(axis=0) * weights).sum()
    assert -(up - down) / (2 * step) == pytest.approx(along, rel=1e-5, abs=1e-5)
