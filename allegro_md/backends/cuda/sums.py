"""Exact sums over local atoms: see `base.SumFunctions`. Two words per component come back to the host."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from allegro_md.exact import ExactSum, high_scale
from allegro_md.kernels.gpu.launch import kernel
from allegro_md.state import AtomState
from allegro_md.units import AMU_A2_PER_FS2

_NONE = 2**62
"""Index of no atom."""


def kinetic_energy(state: AtomState, within: int = 0) -> ExactSum:
    """Σ ½ m v² of the local atoms that are not held, with `within` of these groups' only, eV; one component."""
    chosen = _chosen(state, bool(state.held or within))
    return sum_of("kinetic_energy", (*_moving(state, AMU_A2_PER_FS2), *chosen, within), "kinetic", 1, state)


def kinetic_tensor(state: AtomState) -> ExactSum:
    """Σ m v ⊗ v of the local atoms that are not held, eV; six components in Voigt order."""
    chosen = _chosen(state, state.held != 0)
    return sum_of("kinetic_tensor", (*_moving(state, AMU_A2_PER_FS2), *chosen, 0), "kinetic", 6, state)


def momentum(state: AtomState) -> ExactSum:
    """Σ m v of the local atoms, amu·Å/fs; three components."""
    return sum_of("momentum", _moving(state, 1.0), "momentum", 3, state)


def total_mass(state: AtomState) -> ExactSum:
    """Σ m of the local atoms, amu."""
    arguments = state.n_local, state.array_local("species"), state.species_table.masses
    return sum_of("total_mass", arguments, "mass", 1, state)


def summed(values: torch.Tensor, kind: str, state: AtomState, first: int = 0) -> ExactSum:
    """Exact sum of a quantity of local atoms, all or some.

    Args:
        values: (n,) or (n, k) float64, in the unit of `kind`.
        kind: of the exact sum.
        state: of the atoms.
        first: index of the first atom.
    """
    table = (values if values.dim() == 2 else values[:, None]).contiguous()
    columns = table.shape[1]
    found = _Words(kind, columns, state, first)
    for column in range(columns):
        found.add("column_sum", (len(table), table, columns, column), column)
    return found.result()


def products(rows: torch.Tensor, chosen: Sequence[int], state: AtomState) -> ExactSum:
    """Σ of the scalar products of the chosen of k vectors of each local atom with all k: `rows` (n_local, k, 3)."""
    vectors = rows.shape[1]
    pairs = [(a, b) for a in chosen for b in range(vectors)]
    found = _Words("product", len(pairs), state)
    for component, (a, b) in enumerate(pairs):
        found.add("product_sum", (len(rows), rows, vectors, a, b), component)
    return found.result()


def sum_of(name: str, arguments: tuple[Any, ...], kind: str, components: int, state: AtomState) -> ExactSum:
    """Runs a kernel of ``sums.cuh`` that makes all components of a sum.

    Args:
        name: of the kernel.
        arguments: all before the scale; the number of atoms first.
        kind: of the exact sum.
        components: of it.
        state: of the atoms.
    """
    found = _Words(kind, components, state)
    found.add(name, arguments, 0)
    return found.result()


class _Words:
    """Words of a sum on the device."""

    def __init__(self, kind: str, components: int, state: AtomState, first: int = 0) -> None:
        self._kind, self._state, self._first = kind, state, first
        self._words = torch.zeros((components + 1, 2), dtype=torch.int64, device=state.device)
        self._words[components, 0] = _NONE

    def add(self, name: str, arguments: tuple[Any, ...], component: int) -> None:
        """Runs a kernel that adds to the components from one on."""
        words, bad = self._words[component], self._words[-1]
        kernel("sums.cuh", name).over(arguments[0], *arguments, high_scale(self._kind), words, bad)

    def result(self) -> ExactSum:
        """The sum, on the host."""
        words = self._words.cpu().numpy()
        bad = int(words[-1, 0])
        n_terms = self._state.n_local
        culprit = int(self._state.array_local("id")[self._first + bad]) if bad != _NONE else None
        return ExactSum.of_words(np.ascontiguousarray(words[:-1]), self._kind, n_terms, culprit)


def _moving(state: AtomState, unit: float) -> tuple[Any, ...]:
    """Arguments of kernels that look at velocities and masses, these in a unit."""
    masses = state.species_table.masses * unit
    return state.n_local, state.array_local("velocity"), state.array_local("species"), masses


def _chosen(state: AtomState, by_group: bool) -> tuple[Any, int]:
    """Groups of the atoms, None where all take part, and the bits of those that are held."""
    return state.array_local("group") if by_group else None, state.held
