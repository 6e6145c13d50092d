"""Quantities that compare atoms with their own past: what they keep, and how it continues."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Generic, Literal

import numpy as np
from numpy.typing import NDArray

from allegro_md.accumulators.blocks import Blocks, S, load_on_root
from allegro_md.analysis.base import Quantity, Sample
from allegro_md.analysis.classes import Classes
from allegro_md.analysis.comoving import Comoving
from allegro_md.analysis.history import History
from allegro_md.analysis.lags import Lags
from allegro_md.comm import Comm


class Tracked(Quantity, Generic[S]):
    """A quantity that continues from its blocks, the classes of atoms, and the history of each atom."""

    divided: ClassVar[Literal["frames", "atoms", "no"]] = "atoms"

    _blocks: Blocks[S]
    _classes: Classes
    _lags: Lags
    _history: History | None = None

    def state_dict(self, comm: Comm) -> dict[str, Any]:
        return {"blocks": self._blocks.reduced(comm).state_dict(), "classes": self._classes.state_dict()}

    def load_state_dict(self, state: dict[str, Any], comm: Comm) -> None:
        self._classes.load_state_dict(state["classes"])  # of which there are as many as sums in the blocks
        load_on_root(self._blocks, state["blocks"], comm)

    def rows(self) -> Mapping[str, NDArray[Any]]:
        return {} if self._history is None else self._history.rows()

    def load_rows(self, rows: Mapping[str, NDArray[Any]]) -> None:
        self._history = History.restored(self._lags, self._classes.count, rows)

    def _new_history(
        self, sample: Sample, species: NDArray[np.integer[Any]], position: NDArray[np.float64]
    ) -> History:
        """An empty history of the atoms of this rank's range of ids (collective).

        Args:
            sample: the first one.
            species: (n_own,) index into the species table.
            position: (n_own, 3) float64, Å, unwrapped.
        """
        return History(self._lags, self._classes.assign(sample, species, position), self._classes.count)


class Displaced(Tracked[S]):
    """A quantity of displacements, in the frame of `comoving`."""

    fields = ("position", "image")

    _frame: Comoving

    def state_dict(self, comm: Comm) -> dict[str, Any]:
        return super().state_dict(comm) | {"frame": self._frame.state_dict()}

    def load_state_dict(self, state: dict[str, Any], comm: Comm) -> None:
        super().load_state_dict(state, comm)
        self._frame.load_state_dict(state["frame"])

    def rows(self) -> Mapping[str, NDArray[Any]]:
        return {} if self._history is None else {**super().rows(), **self._frame.rows()}

    def load_rows(self, rows: Mapping[str, NDArray[Any]]) -> None:
        super().load_rows(rows)
        self._frame.load_rows(rows)

    def _new_history(
        self, sample: Sample, species: NDArray[np.integer[Any]], position: NDArray[np.float64]
    ) -> History:
        """As of `Tracked`, in the cell of the sample: `species` (n_own,), `position` (n_own, 3) Å."""
        self._frame.cell = sample.cell
        return super()._new_history(sample, species, position)
