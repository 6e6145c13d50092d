"""Minimization by L-BFGS: Newton steps with a Hessian made of the last steps and the changes of the forces in them.

Liu, Nocedal, Math. Program. 45, 503 (1989), doi:10.1007/BF01589116. With forces F = −g of atoms and cell together, the
moves s_k and the changes y_k = g_{k+1} − g_k of the last `PAIRS` steps:

    d = H F,  H from the two-loop recursion with H₀ = (s·y)/(y·y) of the last pair;   x ← x + t d

The scalar products of the latest s and F with all vectors come from one pass over the atoms. The recursion then works
on the coefficients of d in the vectors s_k, y_k and F. t is 1, or less where an atom would move too far. A move is kept
if the enthalpy has not risen and the force along it has not turned about by more than `OVERSHOOT`; else the step after
it goes back to a shorter one, at the minimum of the cubic through both enthalpies and slopes. So a step is one
evaluation of forces, always.

| symbol | code |
|---|---|
| s_k, y_k, F of the atoms | rows of the field "lbfgs": `PAIRS`, `PAIRS` and one, in units of `scales` |
| s_k, y_k, F of the cell | `cells` |
| H₀ before the first pair | 1/`STIFFNESS` |
| coefficients of d | `direction` |
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from allegro_md.backends import backend_for
from allegro_md.integrators.base import Collective
from allegro_md.integrators.relaxation import Array, Relaxation, normalized, products
from allegro_md.state import AtomState, Field

PAIRS = 6
"""Steps that are remembered: 2 · 6 + 1 vectors of each atom, 312 bytes. With more of them hardly a step is saved."""

STIFFNESS = 30.0
"""Curvature that is assumed for the first step, eV/Å²."""

NOISE = 1e-7
"""eV per atom; a rise of the enthalpy below this may be rounding of the potential."""

OVERSHOOT = 0.9
"""Largest force against a move at its end, as a fraction of the force along it at its beginning."""

MOST_BACKTRACKS = 6
"""Shorter moves that are tried one after the other; the last is kept, and what was remembered is dropped."""

FORCE = 2 * PAIRS
ROWS = FORCE + 1


@dataclass
class History:
    """Memory of the last steps, beside the atoms' vectors.

    Attributes:
        scales: (ROWS,) units of the rows of the field, Å or eV/Å.
        cells: (ROWS, 9) the vectors of the cell, Å or eV/Å.
        gram: (ROWS, ROWS) scalar products of all vectors, Å², eV or eV²/Å².
        order: slots of pairs that count, the latest first.
        open: slot of the move that has not been judged yet; its row y holds F at the beginning of it. −1: none.
        enthalpy: at the beginning of that move, eV.
        backtracks: shorter moves since then.
    """

    scales: Array = field(default_factory=lambda: np.ones(ROWS))
    cells: Array = field(default_factory=lambda: np.zeros((ROWS, 9)))
    gram: Array = field(default_factory=lambda: np.zeros((ROWS, ROWS)))
    order: list[int] = field(default_factory=list)
    open: int = -1
    enthalpy: float = math.inf
    backtracks: int = 0


@dataclass(frozen=True)
class Decision:
    """The next move, or a shorter one in place of the last.

    Attributes:
        part: of the last move that is kept; below 1 a shorter one is tried from its beginning.
        order: `History.order` from now on.
        slot: of the next move.
        direction: (ROWS,) coefficients of it.
        cell: (9,) the move of the cell, Å.
        change: (9,) y of the cell in the last move, eV/Å.
        gram: `History.gram` from now on.
    """

    part: float
    order: list[int]
    slot: int
    direction: Array
    cell: Array
    change: Array
    gram: Array


class Lbfgs:
    """Quasi-Newton steps: few evaluations of forces.

    Attributes:
        field: vectors of the last steps.
        force_row: row of `field` that holds the forces.
        history: of the last steps, beside the atoms' vectors.
    """

    field: ClassVar[Field] = Field(
        "lbfgs", (ROWS, 3), np.dtype(np.float64), "", migrates=True, halo=False, checkpoint=True, trajectory=False
    )
    force_row: ClassVar[int] = FORCE

    def __init__(self, relaxation: Relaxation, collective: Collective) -> None:
        """Begins with nothing remembered; `relaxation` says what is minimized."""
        self._relaxation, self._collective = relaxation, collective
        self.history = History()

    def move(self, state: AtomState) -> None:
        """Makes one move; see the module."""
        history, relaxation, rows = self.history, self._relaxation, state.array_local("lbfgs")
        history.scales[FORCE], history.cells[FORCE] = relaxation.scale, relaxation.cell_force.ravel()
        chosen = (FORCE,) if history.open < 0 else (FORCE, history.open)
        packed = self._collective.reduce(backend_for(state.device).sums.products(rows, chosen, state))
        decision = self._collective.on_root(lambda: self._decided(packed, chosen))
        if decision.part < 1.0:
            self._backtrack(state, decision.part)
        else:
            self._advance(state, decision)

    def state_dict(self) -> dict[str, Any]:
        """The memory, beside the atoms' vectors."""
        history = self.history
        return {
            "scales": history.scales.tolist(),
            "cells": history.cells.tolist(),
            "gram": history.gram.tolist(),
            "order": list(history.order),
            "open": history.open,
            "enthalpy": history.enthalpy,
            "backtracks": history.backtracks,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up from a `state_dict`."""
        scales, cells, gram = (np.array(state[name]) for name in ("scales", "cells", "gram"))
        last = state["open"], state["enthalpy"], state["backtracks"]
        self.history = History(scales, cells, gram, list(state["order"]), *last)

    def _backtrack(self, state: AtomState, part: float) -> None:
        """Goes back to the beginning of the last move, and makes a part of it."""
        history, slot = self.history, self.history.open
        row, whole, cell = state.array_local("lbfgs")[:, slot], history.scales[slot], history.cells[slot].reshape(3, 3)
        self._relaxation.move_back(state, row, whole, cell)
        self._relaxation.move(state, row, part * whole, part * cell)
        history.scales[slot] *= part
        history.cells[slot] *= part
        history.backtracks += 1

    def _advance(self, state: AtomState, decision: Decision) -> None:
        """Completes the last pair, then moves in the new direction."""
        history, rows, combine = self.history, state.array_local("lbfgs"), backend_for(state.device).steps.combine
        if history.open >= 0:
            change, factors = PAIRS + history.open, np.zeros(ROWS)
            unit = 2.0 * max(history.scales[change], history.scales[FORCE])
            factors[change], factors[FORCE] = history.scales[change] / unit, -history.scales[FORCE] / unit
            combine(rows, factors, change)
            history.scales[change], history.cells[change] = unit, decision.change
        slot, history.order, history.open, history.gram = decision.slot, decision.order, decision.slot, decision.gram
        combine(rows, decision.direction * history.scales, slot)
        unit, longest = normalized(state, rows[:, slot], self._collective.max)
        part = self._relaxation.largest_part(longest * unit, decision.cell)
        history.scales[slot], history.cells[slot] = part * unit, part * decision.cell
        rows[:, PAIRS + slot] = rows[:, FORCE]
        history.scales[PAIRS + slot], history.cells[PAIRS + slot] = history.scales[FORCE], history.cells[FORCE]
        history.enthalpy, history.backtracks = self._relaxation.enthalpy, 0
        self._relaxation.move(state, rows[:, slot], part * unit, history.cells[slot].reshape(3, 3))

    def _decided(self, packed: Array, chosen: tuple[int, ...]) -> Decision:
        """Judges the last move, and finds the direction of the next one; on one rank.

        Args:
            packed: (m ROWS,) sums over the atoms of the products of the m chosen vectors with all.
            chosen: rows of F, and of s of the last move.
        """
        history = self.history
        gram, order, change = history.gram.copy(), list(history.order), np.zeros(9)
        for row, values in zip(chosen, products(packed, chosen, history.scales, history.cells), strict=True):
            gram[row] = gram[:, row] = values
        if history.open >= 0:
            s, y = history.open, PAIRS + history.open
            along, after = float(gram[s, y]), float(gram[s, FORCE])
            rise = self._relaxation.enthalpy - history.enthalpy
            too_far = rise > NOISE * self._relaxation.n_atoms or after < -OVERSHOOT * along
            if too_far and history.backtracks < MOST_BACKTRACKS:
                return Decision(shorter(rise, along, after), order, s, np.zeros(ROWS), np.zeros(9), change, gram)
            change = history.cells[y] - history.cells[FORCE]
            gram[y] -= gram[FORCE]
            gram[:, y] -= gram[:, FORCE]
            if too_far:
                order = []
            elif gram[s, y] > 1e-10 * math.sqrt(gram[s, s] * gram[y, y]):
                order = [s, *(slot for slot in order if slot != s)]
        direction, order = quasi_newton(gram, order, history.open)
        vectors = history.cells.copy()
        if history.open >= 0:
            vectors[PAIRS + history.open] = change
        slot = next((k for k in range(PAIRS) if k not in order), order[-1] if order else 0)
        gram[PAIRS + slot] = gram[FORCE]  # F at the beginning of the move is put there
        gram[:, PAIRS + slot] = gram[:, FORCE]
        return Decision(1.0, [k for k in order if k != slot], slot, direction, direction @ vectors, change, gram)


def quasi_newton(gram: Array, order: list[int], last: int) -> tuple[Array, list[int]]:
    """The direction H F by the two-loop recursion, or along F where that does not lead downhill.

    Args:
        gram: (ROWS, ROWS) scalar products of s_k, y_k and F.
        order: slots of the pairs that count, the latest first.
        last: slot of the last move; −1: none.

    Returns:
        (ROWS,) coefficients of the direction, and the slots of the pairs that still count.
    """
    direction, alphas = np.zeros(ROWS), []
    direction[FORCE] = 1.0
    for s in order:
        alphas.append(float(gram[s] @ direction) / gram[s, PAIRS + s])
        direction[PAIRS + s] -= alphas[-1]
    if order:
        s, y = order[0], PAIRS + order[0]
        direction *= gram[s, y] / gram[y, y]
    elif last >= 0 and gram[PAIRS + last, PAIRS + last] > 0.0:
        direction *= math.sqrt(gram[last, last] / gram[PAIRS + last, PAIRS + last])
    else:
        direction /= STIFFNESS
    for s, alpha in zip(reversed(order), reversed(alphas), strict=True):
        direction[s] += alpha - float(gram[PAIRS + s] @ direction) / gram[s, PAIRS + s]
    along, length = float(gram[FORCE] @ direction), float(direction @ gram @ direction)
    if order and not along > 1e-4 * math.sqrt(abs(length) * gram[FORCE, FORCE]):
        return quasi_newton(gram, [], last)
    return direction, order


def shorter(rise: float, along: float, after: float) -> float:
    """The part of a move at which the cubic through both ends has its minimum, 0.1 to 0.7.

    Args:
        rise: of the enthalpy, eV.
        along: scalar product of the move and the force at its beginning, eV; positive.
        after: of the move and the force at its end, eV.
    """
    middle = -along - after - 3.0 * rise
    root = math.sqrt(max(0.0, middle * middle - along * after))
    bottom = along - after + 2.0 * root
    part = 1.0 + (after - root + middle) / bottom if bottom > 0.0 else 0.5
    return min(0.7, max(0.1, part))
