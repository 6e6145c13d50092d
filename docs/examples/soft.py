"""A potential: soft spheres, E_i = ½ Σ_j ε (1 − r²/r_c²)³ over the neighbors within r_c."""

from __future__ import annotations

from typing import Literal

import numpy as np

from allegro_md.config.fields import Energy, Length, Table
from allegro_md.evaluation import Evaluation, Needs, PotentialInfo
from allegro_md.exact import FORCE_SCALE
from allegro_md.neighbors.list import NeighborList
from allegro_md.observables import VOIGT
from allegro_md.potentials.base import Potential
from allegro_md.state import AtomState, SpeciesTable


class SoftTerm(Table):
    """Keys of the term in the input: `epsilon`, eV, and `cutoff`, Å."""

    kind: Literal["soft"]
    epsilon: Energy
    cutoff: Length


class Soft:
    """Repulsion that ends smoothly at the cutoff."""

    members: tuple[Potential, ...] = ()

    def __init__(self, epsilon: float, cutoff: float) -> None:
        self._epsilon = epsilon
        self.info = PotentialInfo("soft", cutoff)

    def __call__(self, state: AtomState, lists: NeighborList, needs: Needs) -> Evaluation:
        n, h, cutoff = state.n_local, state.cell.matrix, self.info.cutoff
        i = np.repeat(np.arange(n), np.diff(lists.offsets[: n + 1]))
        j = lists.neighbors[: len(i)]
        x, shift = state.host_all("position"), state.host_all("shift").astype(np.float64)
        s = shift[j] - shift[i]
        d = (x[j] - x[i]) + (s[:, :1] * h[0] + s[:, 1:2] * h[1] + s[:, 2:] * h[2])  # elementwise: the same bits always
        t = 1.0 - (d[:, 0] ** 2 + d[:, 1] ** 2 + d[:, 2] ** 2) / cutoff**2
        inside = t > 0.0  # the list holds pairs up to cutoff + skin
        i, j, d, t = i[inside], j[inside], d[inside], t[inside]
        slope = -3.0 * self._epsilon / cutoff**2 * t**2  # dE_i/dd = slope · d
        pull = np.rint(slope[:, None] * d * FORCE_SCALE).astype(np.int64)  # rounded once, added to both atoms
        force = np.zeros((state.n_all, 3), dtype=np.int64)
        np.add.at(force, i, pull)
        np.subtract.at(force, j, pull)
        total = state.host_all("force")
        total += force
        energy = np.bincount(i, 0.5 * self._epsilon * t**3, minlength=n)
        terms = [np.bincount(i, -slope * d[:, a] * d[:, b], minlength=n) for a, b in VOIGT]
        return Evaluation.of(state, needs, energy, np.stack(terms, axis=1))


def build(term: SoftTerm, species: SpeciesTable) -> Soft:
    """Makes the potential of an input table."""
    return Soft(term.epsilon, term.cutoff)
