"""A direct-force potential in one file: forces on centers that derive from no energy."""

from __future__ import annotations

from typing import Literal

import numpy as np

from allegro_md.config.fields import Length, Table
from allegro_md.evaluation import Evaluation, Needs, PotentialInfo
from allegro_md.exact import FORCE_SCALE
from allegro_md.neighbors.list import NeighborList
from allegro_md.potentials.base import Potential
from allegro_md.state import AtomState, SpeciesTable

STRENGTH = 0.05


class CrowdedTerm(Table):
    """Keys of the term in the input."""

    kind: Literal["crowded"]
    cutoff: Length


class Crowded:
    """F_i = −k ρ_i Σ_j w(r_ij) d_ij, ρ_i = Σ_j w(r_ij), w = (1 − r²/c²)²: a repulsion that derives from no energy."""

    members: tuple[Potential, ...] = ()

    def __init__(self, cutoff: float) -> None:
        self.info = PotentialInfo(
            "crowded", cutoff, provides=frozenset({"force"}), conservative=False, conserves_momentum=False
        )

    def __call__(self, state: AtomState, lists: NeighborList, needs: Needs) -> Evaluation:
        n, h = state.n_local, state.cell.matrix
        i = np.repeat(np.arange(n), np.diff(lists.offsets[: n + 1]))
        j = lists.neighbors[: len(i)]
        x, shift = state.host_all("position"), state.host_all("shift").astype(np.float64)
        s = shift[j] - shift[i]
        d = (x[j] - x[i]) + (s[:, :1] * h[0] + s[:, 1:2] * h[1] + s[:, 2:] * h[2])
        r2 = d[:, 0] * d[:, 0] + d[:, 1] * d[:, 1] + d[:, 2] * d[:, 2]
        weight = np.sqrt(STRENGTH) * np.maximum(0.0, 1.0 - r2 / self.info.cutoff**2) ** 2
        pull = -(np.bincount(i, weight, minlength=n)[i] * weight)[:, None] * d
        force = np.zeros((state.n_all, 3), dtype=np.int64)
        np.add.at(force, i, np.rint(pull * FORCE_SCALE).astype(np.int64))
        total = state.host_all("force")
        total += force
        return Evaluation()


def build(term: CrowdedTerm, species: SpeciesTable) -> Crowded:
    """Makes the potential of an input table."""
    return Crowded(term.cutoff)
