"""The embedded-atom method written as message passing, in one file: densities first, embedding and forces second.

mpirun -n 3 python two_hop.py out.npz
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from allegro_md.comm import Comm
from allegro_md.evaluation import Evaluation, Needs, PotentialInfo
from allegro_md.exact import FORCE_SCALE
from allegro_md.io.structure import SystemBuilder
from allegro_md.neighbors.list import NeighborList
from allegro_md.potentials.base import Potential
from allegro_md.potentials.eam import Eam, hermite
from allegro_md.potentials.eam_file import EamTables, read_eam
from allegro_md.simulation.forces import ForceEvaluator
from allegro_md.state import AtomState
from allegro_md.timers import Timers

TABLE = Path(__file__).resolve().parents[2] / "inputs" / "potentials" / "ag-sutton-chen.eam.alloy"
STEPS = 3


def cubic(table: Any, spacing: float, x: Any) -> tuple[Any, Any]:
    """Values and slopes, (m,), of piecewise cubics (n, 4) at x (m,)."""
    t = x / spacing
    k = np.clip(t.astype(np.int64), 0, len(table) - 1)
    p, (a, b, c, d) = np.minimum(t - k, 1.0), table[k].T
    return ((a * p + b) * p + c) * p + d, ((3.0 * a * p + 2.0 * b) * p + c) / spacing


class PassingEam:
    """F_i = Σ_j [F'(ρ_i) ρ'(r) + F'(ρ_j) ρ'(r) + φ'(r)] d/r: the densities of neighbors need their neighbors."""

    members: tuple[Potential, ...] = ()

    def __init__(self, tables: EamTables) -> None:
        # Forces on local atoms only, from the densities of atoms one cutoff away: two cutoffs of halo are enough.
        info = PotentialInfo("passing", tables.cutoff, hops=2, ghost_forces=False, halo=2.0 * tables.cutoff)
        self.info = info
        self._density, self._r_phi = hermite(tables.density[0]), hermite(tables.r_phi[0, 0])
        self._embedding, self._tables = hermite(tables.embedding[0]), tables

    def __call__(self, state: AtomState, lists: NeighborList, needs: Needs) -> Evaluation:
        tables, h, n = self._tables, state.cell.matrix, state.n_local
        i = np.repeat(np.arange(len(lists.offsets) - 1), np.diff(lists.offsets))
        j = lists.neighbors[: len(i)]
        x, shift = state.all("position").numpy(), state.all("shift").numpy().astype(np.float64)
        s = shift[j] - shift[i]
        d = (x[j] - x[i]) + (s[:, :1] * h[0] + s[:, 1:2] * h[1] + s[:, 2:] * h[2])
        r = np.sqrt(d[:, 0] * d[:, 0] + d[:, 1] * d[:, 1] + d[:, 2] * d[:, 2])
        i, j, d, r = (each[r < tables.cutoff] for each in (i, j, d, r))
        rho, rho_slope = cubic(self._density, tables.r_spacing, r)
        r_phi, r_phi_slope = cubic(self._r_phi, tables.r_spacing, r)
        total = np.bincount(i, rho, minlength=state.n_all)  # of ghosts, too, where they are listed
        embedded, slope = cubic(self._embedding, tables.rho_spacing, total)
        phi = r_phi / r
        change = (slope[i] + slope[j]) * rho_slope + (r_phi_slope - phi) / r
        own = i < n
        pull = np.rint((change / r)[own, None] * d[own] * FORCE_SCALE).astype(np.int64)
        np.add.at(state.all("force").numpy(), i[own], pull)
        energy = embedded[:n] + 0.5 * np.bincount(i[own], phi[own], minlength=n)
        return Evaluation({"energy": energy})


def evaluated(potential: Potential, comm: Comm) -> dict[str, Any]:
    """Energies and forces in id order of a rattled crystal, shaken a little several times."""
    builder = SystemBuilder.from_crystal("Ag", "fcc", 4.09, repeat=(4, 3, 3), rattle=0.15, seed=4)
    state = AtomState(builder.cell, builder.species_table, builder.n_total)
    part = builder.select(np.zeros(3), np.ones(3))
    mine = part["id"] % comm.size == comm.rank
    state.set_local({name: torch.from_numpy(rows[mine]) for name, rows in part.items()})
    forces = ForceEvaluator(potential, comm, 0.3, None, Timers())
    out = {}
    for step in range(STEPS):
        evaluation = forces(state)
        rows = (state.local("id"), evaluation.per_atom["energy"], state.local("force"))
        parts = comm.allgather([np.array(row) for row in rows])
        ids, energy, force = (np.concatenate(each) for each in zip(*parts, strict=True))
        out[f"energy-{step}"], out[f"force-{step}"] = energy[np.argsort(ids)], force[np.argsort(ids)]
        wave = np.sin(state.local("id").numpy()[:, None] * np.array([1.0, 2.0, 3.0]) + step)
        state.local("position").add_(torch.from_numpy(0.12 * wave))
    return out


def main() -> None:
    comm = Comm.world()
    torch.set_num_threads(1)
    tables = read_eam(TABLE)
    species = SystemBuilder.from_crystal("Ag", "fcc", 4.09).species_table
    passing, kernel = evaluated(PassingEam(tables), comm), evaluated(Eam(tables, species), comm)
    if comm.rank == 0:
        np.savez(sys.argv[1], **passing, **{f"kernel-{name}": value for name, value in kernel.items()})


if __name__ == "__main__":
    main()
