"""What a run is compared with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from allegro_md.config import load_input
from allegro_md.potentials import build_potential
from allegro_md.potentials.allegro import AllegroPotential
from allegro_md.state import SpeciesTable

COPPER = SpeciesTable(("Cu",), np.array([29]), np.array([63.546]))


@pytest.mark.parametrize(
    ("engine", "precision", "own"),
    [
        ("reference", "double", True),
        ("reference", "mixed", False),
        ("fused", "double", False),
        ("fused", "mixed", False),
        ("auto", "double", False),
    ],
)
def test_reference_is_the_network_itself(root: Path, engine: str, precision: str, own: bool) -> None:
    """Folded tables in float64 are no reference for themselves."""
    chosen = [f"potential.engine={engine}", f"potential.precision={precision}"]
    config = load_input(root / "inputs" / "quickstart.toml", chosen)
    potential = build_potential(config.potential, COPPER)
    make = potential.info.reference
    assert (make is None) == own
    reference = potential if make is None else make()
    assert isinstance(reference, AllegroPotential) and reference.info.precision == "double"
