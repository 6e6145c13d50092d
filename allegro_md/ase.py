"""The engine as an ASE calculator."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.data import atomic_masses, chemical_symbols
from numpy.typing import NDArray

from allegro_md.cell import Cell
from allegro_md.comm import Comm
from allegro_md.errors import InputError
from allegro_md.exact import FORCE_SCALE
from allegro_md.models.allegro.network import Network
from allegro_md.models.modelfile import load_model
from allegro_md.observables import summed
from allegro_md.potentials.allegro import choose
from allegro_md.potentials.committee import Committee, check_members
from allegro_md.simulation.forces import ForceEvaluator
from allegro_md.state import AtomState, SpeciesTable, on_host
from allegro_md.timers import Timers

SKIN = 0.5
"""Å; how far atoms may move, and the cell deform, before the neighbor list is made anew."""


class AllegroCalculator(Calculator):
    """Energy, forces and stress of an Allegro model, or of the mean of several, for any cell and boundaries.

    Properties: energy and free_energy (the same), energies (per atom), eV; forces, eV/Å; stress, eV/Å³, Voigt order
    xx yy zz yz xz xy, positive in tension (cells with a volume only). Of several models also ``results["force_std"]``,
    (n,) eV/Å: see `evaluation.force_std`.
    """

    implemented_properties = ["energy", "free_energy", "energies", "forces", "stress"]  # noqa: RUF012  ASE's own form

    def __init__(
        self,
        model: Network | str | Path | Sequence[Network | str | Path],
        engine: str = "auto",
        precision: str = "mixed",
        device: str = "auto",
        **kwargs: Any,
    ) -> None:
        """Loads the model.

        Args:
            model: a network, or its file; or a list of at least two for the same elements.
            engine: "auto" (fused on the CPU where the model can be folded, else the reference), "fused" or
                "reference".
            precision: "mixed" (float32 network, exact sums) or "double".
            device: "auto", "cpu" or "cuda".
            kwargs: of ASE's Calculator.

        Raises:
            InputError: not a model, or no such engine, precision or device.
        """
        super().__init__(**kwargs)
        for name, value, known in (
            ("engine", engine, ("auto", "fused", "reference")),
            ("precision", precision, ("mixed", "double")),
            ("device", device, ("auto", "cpu", "cuda")),
        ):
            if value not in known:
                raise InputError(f"no such {name}: {value!r}", "AllegroCalculator", f"use one of {', '.join(known)}")
        models = [model] if isinstance(model, (Network, str, Path)) else model
        if models is model:
            check_members(models)
        self._networks = [one if isinstance(one, Network) else load_model(one) for one in models]
        self._options = (engine, precision, device)
        self._system: tuple[bytes, bytes] | None = None
        self._state: AtomState
        self._forces: ForceEvaluator

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Evaluates `atoms`; called by ASE.

        Raises:
            InputError: an element the model does not know, or a cell that is none.
        """
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None
        cell = Cell.from_rows(self.atoms.cell.array, tuple(self.atoms.pbc))
        self._prepare(self.atoms, cell)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # the same bits as in a run of the engine
        try:
            result = self._forces(self._state, frozenset({"virial", "force_std"}))
        finally:
            torch.set_num_threads(threads)
        order = np.argsort(self._state.host_local("id"))
        assert result.energy is not None and result.virial is not None
        energy = float(summed(result.energy, "energy", self._state).value()[0])
        self.results = {
            "energy": energy,
            "free_energy": energy,
            "energies": on_host(result.energy)[order],
            "forces": self._state.host_local("force")[order] / FORCE_SCALE,
        }
        if result.force_std is not None:
            self.results["force_std"] = result.force_std[order]
        if cell.bounded:
            self.results["stress"] = -result.virial.value() / cell.volume

    def _prepare(self, atoms: Atoms, cell: Cell) -> None:
        """Positions and cell into the state; a new state where the atoms are others than last time."""
        system = (atoms.numbers.tobytes(), atoms.pbc.tobytes())
        if system != self._system:
            self._begin(cell, atoms.numbers)
            self._system = system
        self._state.cell = cell
        ids = self._state.host_local("id")
        self._state.array_local("position")[...] = self._state.device_array(atoms.positions[ids])

    def _begin(self, cell: Cell, numbers: NDArray[np.int64]) -> None:
        """Sets up the engine for a system of atomic numbers `numbers` (n,)."""
        distinct, species = np.unique(numbers, return_inverse=True)
        table = SpeciesTable(tuple(chemical_symbols[z] for z in distinct), distinct, atomic_masses[distinct])
        networks, options = self._networks, (table.symbols, *self._options)
        potential = Committee(networks, *options) if len(networks) > 1 else choose(networks[0], *options)
        self._state = AtomState.from_arrays(cell, table, np.zeros((len(numbers), 3)), species=species)
        self._forces = ForceEvaluator(potential, Comm.serial(), SKIN, None, Timers())
