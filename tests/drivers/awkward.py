"""The checks of `verify` on every awkward configuration; writes what failed and how much was compared.

mpirun -n 3 python awkward.py out.json
"""

from __future__ import annotations

import faulthandler
import json
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from geometry import potential
from systems import spread
from torture import Place, places

from allegro_md.comm import Comm
from allegro_md.simulation.certificate import DISPLACEMENT, run_values
from allegro_md.simulation.engine import WholeEngine, gathered
from allegro_md.simulation.forces import ForceEvaluator
from allegro_md.timers import Timers
from allegro_md.verify.environment import gather
from allegro_md.verify.local import LocalChecks
from allegro_md.verify.result import results_of
from allegro_md.verify.samples import choose, directions
from allegro_md.verify.whole import System, WholeChecks


def certified(place: Place, comm: Comm) -> list[dict[str, Any]]:
    """All checks but those that need an input."""
    model = potential(place)
    state = spread(place.start, place.rows, place.periodic, comm, origin=place.origin)
    forces = ForceEvaluator(model, comm, place.skin, None, Timers())
    evaluation = forces(state, frozenset({"virial", "virial_per_atom"}))
    assert forces.decomposition is not None
    rows = choose(state, *forces.decomposition.brick(comm.rank), 4, comm.rank)
    environments = gather(state, rows, 2.0 * model.info.reach, comm)
    local = LocalChecks(model, model, 60.0, thorough=True)
    with comm.collective_errors():
        for environment, row in zip(environments, rows, strict=True):
            local(environment, run_values(evaluation, state, int(row)))
    atoms = gathered(state, comm)
    off_the_lattice = DISPLACEMENT * directions(np.arange(state.n_total))  # where neighbors sit at the cutoff exactly
    system = System(state.cell, state.species_table, atoms["species"], atoms["position"] + off_the_lattice)
    engine = WholeEngine(model, comm, place.skin, None)
    whole = WholeChecks(engine, system, model.info)
    alone = WholeEngine(model, Comm.serial(), place.skin, None)
    whole.same_as("ranks", "these against one", comm.on_root(lambda: alone(system)), None)
    whole.rebuild(place.skin)
    whole.wrapping()
    whole.rotation()
    whole.reflection()
    whole.permutation()
    whole.strain(engine)
    return [result.as_dict() for result in results_of([*local.all_stats, *whole.all_stats], comm)]


def main() -> None:
    torch.set_num_threads(1)
    faulthandler.register(signal.SIGTERM, chain=True)
    comm = Comm.world()
    found = {name: certified(place, comm) for name, place in places().items()}
    if comm.rank == 0:
        Path(sys.argv[1]).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
