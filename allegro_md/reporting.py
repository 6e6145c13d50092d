"""Observers say when they are due and what they need; the simulation computes the union once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from allegro_md.cell import Cell
from allegro_md.comm import Comm
from allegro_md.evaluation import Evaluation, Needs
from allegro_md.state import AtomState, SpeciesTable
from allegro_md.triggers import Trigger

OBSERVE = "observe"
"""Folder of a run directory for the results of observers; all of it belongs to the run."""


@dataclass(frozen=True)
class Thermo:
    """Global observables of one step, equal on all ranks.

    Attributes:
        potential, kinetic, total, conserved: eV.
        temperature: K.
        pressure: GPa, with the kinetic part; NaN without a volume.
        volume: Å³.
        stress: (6,) GPa, Voigt order xx yy zz yz xz xy, positive in tension, with the kinetic part.
        density: g/cm³, of a run whose cell changes; else NaN.
        max_force_std: of a committee, largest standard deviation of the force on an atom, eV/Å; else None.
    """

    potential: float
    kinetic: float
    total: float
    conserved: float
    temperature: float
    pressure: float
    volume: float
    stress: NDArray[np.float64]
    density: float = np.nan
    max_force_std: float | None = None


@dataclass(frozen=True)
class Snapshot:
    """Read-only view of the simulation at one step, handed to observers on all ranks.

    Attributes:
        step: number of the step.
        time: fs.
        state: atoms of this rank.
        wall: seconds since the run began.
        evaluation: of the forces at this step, with what the due observers need.
        thermo: present when a due observer needs "thermo".
    """

    step: int
    time: float
    state: AtomState
    wall: float
    evaluation: Evaluation = field(default_factory=Evaluation)
    thermo: Thermo | None = None

    @property
    def force_std(self) -> NDArray[np.float64] | None:
        """(n_local,) float64, eV/Å, of a committee, when a due observer needs it."""
        return self.evaluation.force_std


class Observer(Protocol):
    """Something that looks at the simulation now and then and never changes it.

    Attributes:
        name: unique within a run; key of its state in checkpoints.
        priority: observers that are due at the same step are called in ascending order.
        needs: "thermo", and names of `evaluation.QUANTITIES`, that the snapshot must hold.
    """

    name: str
    priority: int
    needs: Needs

    @property
    def trigger(self) -> Trigger:
        """Steps at which it is called."""

    def __call__(self, snapshot: Snapshot) -> None:
        """Looks at one step; called on all ranks."""


@runtime_checkable
class Stateful(Protocol):
    """An observer whose continuation needs more than the atoms."""

    def state_dict(self) -> dict[str, Any]:
        """Returns what a continuation needs: values that JSON can hold, equal on all ranks."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up from a checkpoint's `state_dict`; {}: the checkpoint has none."""


@runtime_checkable
class HoldsRows(Protocol):
    """An observer whose continuation needs a row for every atom, too much for `Stateful`; it is that as well.

    Each rank holds the rows of its range of ids, `io.id_partition.IdPartition(n_total, comm, io.checkpoint.BLOCK)`,
    wherever the atoms are.
    """

    def rows(self) -> Mapping[str, NDArray[Any]]:
        """Returns name → (n_own, …) array, of the same names, shapes and types on all ranks; {}: there are none yet."""

    def load_rows(self, rows: Mapping[str, NDArray[Any]]) -> None:
        """Takes up the rows that a checkpoint holds of this rank's range of ids; called after `load_state_dict`."""


@runtime_checkable
class Writes(Protocol):
    """An observer that writes files into the run directory."""

    @property
    def files(self) -> tuple[str, ...]:
        """Files and folders that it writes, as names or patterns relative to the run directory.

        ``run.json`` lists them. ``--overwrite``, and a run that begins anew, remove what fits.
        """

    def bytes_per_sample(self, n_atoms: int) -> float:
        """Bytes on disk for one call in a system of `n_atoms`."""

    def flush(self) -> None:
        """Brings all samples so far to the disk (collective; called before a checkpoint)."""

    def close(self) -> None:
        """Brings everything to the disk and closes the files (collective)."""


@runtime_checkable
class HoldsMemory(Protocol):
    """An observer that needs memory for every atom."""

    def bytes_held(self, n_local: int) -> float:
        """Bytes that a rank with `n_local` atoms keeps for it from call to call, at most."""

    def bytes_while_called(self, n_local: int) -> float:
        """Bytes on top of `bytes_held` while it is called, at most."""


@dataclass(frozen=True)
class ObserverSetting:
    """A run, as far as its observers are concerned: a builder takes a table of the input and this.

    Attributes:
        directory: of the run.
        n_total: atoms of the whole system.
        thermo_every: steps between rows of ``thermo.csv``, for observers without a period of their own.
        comm: all ranks.
        species_table: the elements of the system.
        cell: at the beginning.
        timestep: fs.
        steps: that the run, or its stage, is to have.
        first_step: steps made before the stage of the run that the observer belongs to.
        changes_cell: the cell may change.
        results: folder of the results of ``output.observe``, relative to the run directory.
    """

    directory: Path
    n_total: int
    thermo_every: int
    comm: Comm
    species_table: SpeciesTable
    cell: Cell
    timestep: float
    steps: int
    first_step: int = 0
    changes_cell: bool = False
    results: str = OBSERVE


PRIORITY = {"stop": 0, "write": 10, "log": 20}
"""An observer that may end the run comes before those that write the step, and the log is last."""


def needs_of(due: Iterable[Observer]) -> Needs:
    """Union of the needs of observers."""
    return frozenset().union(*(observer.needs for observer in due))
