"""Messages between ranks are measured in a process of their own, for `allegro-md plan --launcher`."""

from __future__ import annotations

import pytest
from ranks import find_mpirun

from allegro_md.errors import InputError
from allegro_md.scaling.links import measure_link


@pytest.mark.parallel
def test_link_between_two_ranks() -> None:
    """Wide bounds: two ranks may have to share a core."""
    found = measure_link(f"{find_mpirun()} -n 2")
    assert 1e-8 <= found.latency < 0.1
    assert 0.0 <= found.overhead < 0.1
    assert 1e6 < found.bandwidth < 1e12


@pytest.mark.parallel
def test_one_rank_has_nobody_to_send_to() -> None:
    with pytest.raises(InputError, match="one rank"):
        measure_link(f"{find_mpirun()} -n 1")
