"""Neighbors of a frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from allegro_md.io.labeled import Frame


@dataclass(frozen=True, eq=False)
class Graph:
    """Ordered pairs of a frame within the cutoff, sorted by center, then neighbor.

    Attributes:
        center: (E,) int32.
        neighbor: (E,) int32.
        vector: (E, 3) float64 Å, from center to (the image of) neighbor.
    """

    center: NDArray[np.int32]
    neighbor: NDArray[np.int32]
    vector: NDArray[np.float64]

    @property
    def nbytes(self) -> int:
        """Memory of the arrays."""
        return self.center.nbytes + self.neighbor.nbytes + self.vector.nbytes


def graph_of(frame: Frame, species: NDArray[np.int64], cutoffs: NDArray[np.float64]) -> Graph:
    """Finds the neighbors of all atoms, images of themselves among them.

    Args:
        frame: the configuration.
        species: (n,) index of each atom into the table's axes.
        cutoffs: (species, species) Å, [center, neighbor].
    """
    from ase.neighborlist import primitive_neighbor_list

    i, j, d, r = primitive_neighbor_list("ijDd", frame.periodic, frame.cell, frame.position, float(cutoffs.max()))
    kept = np.flatnonzero(r < cutoffs[species[i], species[j]])
    kept = kept[np.lexsort((j[kept], i[kept]))]
    return Graph(i[kept].astype(np.int32), j[kept].astype(np.int32), np.ascontiguousarray(d[kept]))
