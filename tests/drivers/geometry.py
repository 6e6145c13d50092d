"""Evaluates every awkward configuration once and writes energies, forces and virial in id order.

mpirun -n 4 python geometry.py out.npz
"""

from __future__ import annotations

import faulthandler
import signal
import sys
from typing import Any

import numpy as np
import torch
from systems import INPUTS, lennard_jones, spread
from torture import EPSILON, SIGMA, Place, places

from allegro_md.comm import Comm
from allegro_md.potentials.allegro import AllegroPotential
from allegro_md.simulation.forces import ForceEvaluator
from allegro_md.timers import Timers


def potential(place: Place) -> Any:
    if place.potential == "lj":
        return lennard_jones(EPSILON, SIGMA, place.cutoff)
    return AllegroPotential(INPUTS / "models" / "cu.allegro", ("Cu",), "double")


def evaluate(place: Place, comm: Comm) -> dict[str, Any]:
    """Of all atoms; held: how many atoms the ranks hold together, with ghosts."""
    state = spread(place.start, place.rows, place.periodic, comm, origin=place.origin)
    forces = ForceEvaluator(potential(place), comm, place.skin, None, Timers())
    result = forces(state, frozenset({"virial"}))
    assert result.virial is not None and result.energy is not None
    virial = comm.reduce(result.virial)
    own = (state.local("id"), result.energy, state.local("force"), state.local("position"))
    ids, energy, force, x = (
        np.concatenate(c) for c in zip(*comm.allgather([np.array(rows) for rows in own]), strict=True)
    )
    order = np.argsort(ids)
    return {"id": ids[order], "energy": energy[order], "force": force[order], "position": x[order], "virial": virial}


def main() -> None:
    torch.set_num_threads(1)
    faulthandler.register(signal.SIGTERM, chain=True)
    comm = Comm.world()
    results = {}
    for name, place in places().items():
        for key, value in evaluate(place, comm).items():
            results[f"{name}/{key}"] = value
    if comm.rank == 0:
        np.savez(sys.argv[1], **results)


if __name__ == "__main__":
    main()
