"""Groups of atoms: how many there may be, and regions that atoms leave."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ase.data import atomic_masses, chemical_symbols
from feeding import Frames, columns, fed

from allegro_md.analysis.groups import Groups
from allegro_md.analysis.table import GroupedTable
from allegro_md.errors import InputError
from allegro_md.state import SpeciesTable

REGION = {"low": {"region": {"z": [0.0, 5.0]}}, "all": {"species": ["Ar"]}}


@pytest.mark.parametrize(
    ("keys", "column"),
    [
        ({"kind": "rdf", "rmax": 4.0, "bins": 8}, "g_low-all"),
        ({"kind": "adf", "cutoff": 4.0, "bins": 6, "triplets": ["all-low-all"]}, "adf_all-low-all"),
        ({"kind": "coordination", "cutoff": 4.0, "pairs": ["low-all"]}, "fraction_low-all"),
        ({"kind": "steinhardt", "cutoff": 4.0, "l": [4], "bins": 5}, "p_q4_low"),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) else "",
)
def test_a_sample_without_atoms_in_a_region_adds_nothing(keys: dict[str, Any], column: str) -> None:
    inside = np.random.default_rng(1).uniform(0.5, 4.5, (1, 12, 3))
    above = inside + [0.0, 0.0, 10.0]
    alone, both = (Frames(position, ["Ar"] * 12) for position in (inside, np.concatenate([inside, above])))
    wanted, found = (columns(fed(frames, groups=REGION, **keys))[column] for frames in (alone, both))
    assert np.any(wanted > 0.0)
    np.testing.assert_array_equal(found, wanted)


def test_more_groups_than_bits_are_refused() -> None:
    numbers = np.arange(1, 34)
    table = SpeciesTable(tuple(chemical_symbols[1:34]), numbers, atomic_masses[numbers])
    chosen = GroupedTable(kind="vacf", every=1, species=tuple(chemical_symbols[1:33]))
    assert len(Groups(chosen, table, 33, "here").names) == 32
    with pytest.raises(InputError, match="33 elements are as many groups, and 32 are possible"):
        Groups(GroupedTable(kind="vacf", every=1), table, 33, "here")
