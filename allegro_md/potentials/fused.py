"""``model = "NAME.allegro"`` with ``engine = "fused"``: a folded network on hand-written CPU kernels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from allegro_md.errors import InputError, PhysicsError
from allegro_md.kernels.fixed import FINE
from allegro_md.models.accuracy import refined
from allegro_md.models.compiled import Compiled
from allegro_md.models.fold import fold, obstacle
from allegro_md.models.network import Network
from allegro_md.neighbors.list import NeighborList
from allegro_md.potentials.base import ForceResult
from allegro_md.potentials.trained import trained
from allegro_md.state import AtomState

TILES = 1
"""Tiles per block."""

PRECISIONS: dict[str, type[np.floating[Any]]] = {"mixed": np.float32, "double": np.float64}


class FusedPotential:
    """Radial tables and merged matrices instead of the network; block after block of centers, in constant memory.

    Attributes:
        kind: class of the folded model, "collapsed" or "folded".
        error: of the tables in double precision: largest error of a force component against the network on random
            environments, in units of max(1e-5 eV/Å, 1e-5 |F|).
    """

    name = "allegro"
    halo_hops = 1
    bit_exact = True

    def __init__(
        self, model: Network | str | Path, symbols: Sequence[str], precision: str = "mixed", tiles: int = TILES
    ) -> None:
        """Folds a model for a system.

        Args:
            model: a network, or its file.
            symbols: of the system's species, in the order of its species table.
            precision: "mixed" (float32 tables and matrices) or "double".
            tiles: per block.

        Raises:
            InputError: the file is no model, the model does not know an element, or cannot be folded.
        """
        network, where = trained(model, symbols)
        if problem := obstacle(network.architecture):
            raise InputError(f"the fused engine cannot run this model: {problem}", where, 'use engine = "reference"')
        self.cutoff = float(network.architecture.cutoff)
        shape = fold(network, symbols)
        table, self.error = refined(network, shape, symbols)
        self.kind = shape.kind
        self._evaluate = Compiled(shape, table, PRECISIONS[precision], tiles)

    def __call__(self, state: AtomState, neighbors: NeighborList, virial: bool) -> ForceResult:
        """Energies and virials of the own atoms; adds the forces to the state (see `base.Potential`)."""
        n = neighbors.n_centers
        energy, virials = np.empty(n), np.zeros((n if virial else 0, 6))
        status = self._evaluate(
            state.all("position").numpy(), state.all("shift").numpy(), state.all("species").numpy(),
            state.cell.matrix, neighbors.offsets, neighbors.neighbors, 0, n, state.all("force").numpy(), energy,
            virials,
        )  # fmt: skip
        if status != FINE:
            atom = int(state.all("id")[status])
            raise PhysicsError(f"{self.name}: the forces on atom {atom} are not finite or out of range", [atom])
        return ForceResult(torch.from_numpy(energy), torch.from_numpy(virials) if virial else None)
