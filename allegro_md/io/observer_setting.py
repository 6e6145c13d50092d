"""The surroundings that observers of the input are built for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from allegro_md.comm import Comm


@dataclass(frozen=True)
class ObserverSetting:
    """A run, as far as its observers are concerned.

    Attributes:
        directory: of the run.
        n_total: atoms of the whole system.
        comm: all ranks.
    """

    directory: Path
    n_total: int
    comm: Comm
