"""Writes the state of a step in which the physics broke: all atoms, and the offending ones with their neighbors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allegro_md.comm import Comm
from allegro_md.errors import AllegroError, PhysicsError
from allegro_md.exact import FORCE_SCALE
from allegro_md.io.checkpoint import save_checkpoint
from allegro_md.io.disk import whole
from allegro_md.state import AtomState
from allegro_md.verify.environment import gather

KEPT = ("id", "species", "velocity", "force")


def dump_failure(
    directory: Path, step: int, error: PhysicsError, state: AtomState, radius: float, comm: Comm, extras: dict[str, Any]
) -> list[str]:
    """Writes ``emergency-STEP.h5``, a checkpoint that is never resumed from, and ``emergency-STEP.extxyz``; collective.

    Args:
        directory: the run directory.
        step: in which it happened.
        error: what happened, with the atoms to blame.
        state: the atoms, as far as the step came.
        radius: of what is shown around each offending atom, Å.
        comm: all ranks.
        extras: as of a checkpoint.

    Returns:
        Lines that say what was written, or why it was not: the fault itself matters more.
    """
    said = []
    try:
        path = directory / f"emergency-{step}.h5"
        save_checkpoint(path, step, state, comm, extras)
        said.append(f"the state of step {step}, as far as it came: {path}")
    except AllegroError as problem:
        said.append(f"no emergency checkpoint: {problem}")
    if not error.atoms:
        return said
    frames = [_frame(atom, state, radius, comm) for atom in error.atoms]
    try:
        path = directory / f"emergency-{step}.extxyz"
        with comm.collective_errors():
            if comm.rank == 0:
                _write(path, [frame for frame in frames if len(frame["id"])], state, step, str(error))
        said.append(f"offending atoms {', '.join(map(str, error.atoms))}, with their neighbors: {path}")
    except AllegroError as problem:
        said.append(f"no file of offending atoms: {problem}")
    return said


def _frame(atom: int, state: AtomState, radius: float, comm: Comm) -> dict[str, NDArray[Any]]:
    """An atom, first, and all others within the radius by distance, as columns; on all ranks. Empty: nobody has it."""
    ids, positions = state.host_local("id"), state.host_local("position")
    mine = np.flatnonzero(ids == atom)
    columns: dict[str, NDArray[Any]] = {"id": ids[mine], "place": positions[mine], "distance": np.zeros(len(mine))}
    around = mine[np.isfinite(positions[mine]).all(axis=1)]
    for environment in gather(state, around, radius, comm):
        distance = np.linalg.norm(environment.place, axis=1)
        order = np.lexsort((environment.id, distance))
        order = order[distance[order] < radius]
        place = positions[mine] + environment.place[order]
        columns = {"id": environment.id[order], "place": place, "distance": distance[order]}
    parts = comm.allgather(columns)
    columns = next((part for part in parts if len(part["id"])), columns)
    held = np.flatnonzero(np.isin(ids, columns["id"]))
    rows = comm.allgather({name: state.host_local(name)[held] for name in KEPT})
    joined = {name: np.concatenate([part[name] for part in rows]) for name in KEPT}
    back = np.argsort(joined["id"])
    at = back[np.searchsorted(joined["id"][back], columns["id"])]
    return columns | {name: joined[name][at] for name in KEPT}


def _write(
    path: Path, frames: Sequence[dict[str, NDArray[Any]]], state: AtomState, step: int, what: str
) -> None:
    from ase import Atoms
    from ase.io import write

    images = []
    for frame in frames:
        image = Atoms(
            state.species_table.numbers[frame["species"]],
            frame["place"],
            cell=state.cell.given_rows,
            pbc=state.cell.periodic,
            info={"step": step, "atom": int(frame["id"][0]), "fault": what.replace('"', "'")},
        )
        for name, values in (
            ("id", frame["id"]),
            ("distance_A", frame["distance"]),
            ("velocity_A_per_fs", frame["velocity"]),
            ("force_eV_per_A", frame["force"] / FORCE_SCALE),
        ):
            image.new_array(name, values)
        images.append(image)
    with whole(path) as part:
        write(part, images, format="extxyz", parallel=False)
