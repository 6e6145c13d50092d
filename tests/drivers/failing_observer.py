"""The program, in which an observer runs out of memory on the last rank only, while the others communicate."""

from __future__ import annotations

import sys

from allegro_md.analysis.base import Sample
from allegro_md.analysis.rdf import Rdf
from allegro_md.cli import main

whole = Rdf.add


def failing(self: Rdf, sample: Sample) -> None:
    """Fails at the second sample."""
    if sample.number == 1 and sample.comm.rank == sample.comm.size - 1:
        raise MemoryError
    whole(self, sample)


Rdf.add = failing  # type: ignore[method-assign]
sys.exit(main())
