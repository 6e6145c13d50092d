"""``kind = "ase"``: any ASE calculator whose atomic energies have a finite range."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import numpy as np

from allegro_md.config import AseTerm
from allegro_md.errors import InputError, PhysicsError
from allegro_md.evaluation import Evaluation, Needs, PotentialInfo, wants_virial
from allegro_md.exact import FORCE_SCALE
from allegro_md.kernels.fixed import CENTER_BOUND
from allegro_md.neighbors.list import NeighborList
from allegro_md.potentials.base import Potential
from allegro_md.potentials.pair import PACKED
from allegro_md.state import AtomState, SpeciesTable

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator

_NAMES = 'write "package.module:factory" or an ASE name such as "emt"'


class AsePotential:
    """Hands local atoms and ghosts to a calculator as one cluster and keeps the results of the local atoms.

    The force on an local atom comes from the energies of atoms within one range of it, and those depend on atoms within
    one range more: hence a halo two ranges wide. What a calculator returns may depend on the order and the number of
    atoms in its last bits, so trajectories are not bit-identical on different numbers of ranks.
    """

    members: tuple[Potential, ...] = ()

    def __init__(self, calculator: Calculator, cutoff: float) -> None:
        """Wraps a calculator.

        Args:
            calculator: must give energies per atom.
            cutoff: how far the energy of an atom sees, Å.

        Raises:
            InputError: it gives no energies per atom.
        """
        provides = calculator.implemented_properties
        if "energies" not in provides or "forces" not in provides:
            missing = "forces" if "forces" not in provides else "energies per atom"
            raise InputError(f"{type(calculator).__name__} gives no {missing}", "potential.calculator",
                             "use a calculator that implements 'energies' and 'forces'")
        given = {"energy", "force"} | ({"virial", "virial_per_atom"} if "stresses" in provides else set())
        self.info = PotentialInfo(
            "ase",
            cutoff,
            provides=frozenset(given),
            ghost_forces=False,
            bit_exact=False,
            precision="unknown",
            bytes_per_atom=PACKED,
        )
        self._calculator = calculator

    def __call__(self, state: AtomState, lists: NeighborList, needs: Needs) -> Evaluation:
        n = state.n_local
        stresses = "virial" in self.info.provides
        if n == 0:  # a rank without atoms
            return Evaluation.of(state, needs, np.zeros(0), np.zeros((0, 6)) if stresses else None)
        atoms = _cluster(state, self.info.cutoff)
        atoms.calc = self._calculator
        try:
            force, energy = atoms.get_forces()[:n], atoms.get_potential_energies()[:n]
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001  calculators raise anything
            raise PhysicsError(f"ase: the calculator failed ({_reason(error)})") from error
        bad = np.flatnonzero(~(np.abs(force) < CENTER_BOUND).all(axis=1) | ~np.isfinite(energy))
        if len(bad):
            atom = int(state.array_all("id")[bad[0]])
            raise PhysicsError(f"ase: the energy or the force of atom {atom} is not finite or out of range", [atom])
        total = state.array_local("force")
        total += state.device_array(np.rint(force * FORCE_SCALE).astype(np.int64))
        virial = None
        if stresses and wants_virial(needs):  # of the atoms add up to the stress of the box they were handed in
            virial = -atoms.get_stresses()[:n] * atoms.get_volume()
        return Evaluation.of(state, needs, np.array(energy, dtype=np.float64), virial)


def _cluster(state: AtomState, margin: float) -> Any:
    """Own atoms and ghosts as a free ASE cluster in a box of its own (stresses need a volume)."""
    from ase import Atoms

    position = state.host_all("position") + state.host_all("shift") @ state.cell.matrix
    lower = position.min(axis=0) - margin
    numbers = state.species_table.numbers[state.host_all("species")]
    return Atoms(numbers, position - lower, cell=position.max(axis=0) + margin - lower, pbc=False)


def build(term: AseTerm, species: SpeciesTable) -> AsePotential:
    """The potential of an input section; the species come with the atoms.

    Raises:
        InputError: there is no such calculator, or it cannot be made from the options.
    """
    try:
        if ":" in term.calculator:
            module, factory = term.calculator.split(":")
            make = getattr(importlib.import_module(module), factory)
        else:
            from ase.calculators.calculator import get_calculator_class

            make = get_calculator_class(term.calculator)
    except (ImportError, AttributeError) as error:
        raise InputError(f"no calculator '{term.calculator}' ({error})", "potential.calculator", _NAMES) from error
    try:
        calculator = make(**term.options)
    except (TypeError, ValueError) as error:
        raise InputError(f"'{term.calculator}': {error}", "potential.options", "correct the options") from error
    potential = AsePotential(calculator, term.range)
    _try_elements(calculator, species, term.calculator)
    return potential


def _try_elements(calculator: Calculator, species: SpeciesTable, name: str) -> None:
    """Refuses elements the calculator does not know: it tells only when asked for a result."""
    from ase import Atoms

    row = [[3.0 * k, 0.0, 0.0] for k in range(len(species.numbers))]
    atoms = Atoms(species.numbers, row, calculator=calculator)
    try:
        atoms.get_forces()
    except Exception as error:  # noqa: BLE001  calculators raise anything
        symbols = ", ".join(dict.fromkeys(species.symbols))
        raise InputError(f"'{name}' cannot compute {symbols} ({_reason(error)})", "potential.calculator",
                         "use a calculator that knows every element of the system") from error  # fmt: skip


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]
