"""Input of a network: edges sorted by center, and quantities that are derived from them once."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from allegro_md.kernels.contract import Rows


@dataclass(frozen=True)
class Edges:
    """Ordered pairs within the cutoff, sorted by center.

    Attributes:
        vector: (E, 3) Å float64, from center to neighbor.
        center: (E,) int64, ascending, index into `center_species`.
        center_species: (C,) int64, index into the architecture's symbols.
        neighbor_species: (E,) int64.
    """

    vector: torch.Tensor
    center: torch.Tensor
    center_species: torch.Tensor
    neighbor_species: torch.Tensor


@dataclass(frozen=True)
class Geometry:
    """Derived quantities of a block of edges.

    Attributes:
        r: (E,) Å.
        x: (E,) r over the cutoff of the ordered pair.
        harmonics: (E, (l_max + 1)²) in the network's precision.
        pair: (E,) int64, center species · n + neighbor species.
        center: (E,) int64.
        center_species: (C,) int64.
    """

    r: torch.Tensor
    x: torch.Tensor
    harmonics: torch.Tensor
    pair: torch.Tensor
    center: torch.Tensor
    center_species: torch.Tensor

    @property
    def on_edges(self) -> Rows:
        """Contractions of edges with edges to edges."""
        n = len(self.center)
        return Rows(n, (None, None, None), (n, n, n))

    @property
    def to_centers(self) -> Rows:
        """Contractions of edges with edges, summed into centers."""
        n = len(self.center)
        return Rows(n, (None, None, self.center), (n, n, len(self.center_species)))

    @property
    def with_centers(self) -> Rows:
        """Contractions of edges with their centers to edges."""
        n = len(self.center)
        return Rows(n, (None, self.center, None), (n, len(self.center_species), n))
