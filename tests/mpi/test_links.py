"""Messages between ranks are measured in a process of their own, for `allegro-md plan --launcher`."""

from __future__ import annotations

import pytest

from allegro_md.errors import InputError
from allegro_md.launcher import find_mpirun
from allegro_md.scaling.links import measure_link


@pytest.mark.parallel
def test_link_between_two_ranks() -> None:
    """Wide bounds: two ranks may have to share a core."""
    found = measure_link(f"{find_mpirun()} -n {{n}}")
    assert 1e-8 <= found.latency < 0.1
    assert 0.0 <= found.overhead < 0.1
    assert 1e6 < found.bandwidth < 1e12


@pytest.mark.parametrize(
    ("launcher", "told"),
    [("no-such-launcher -n {n}", "there is no program 'no-such-launcher'"), ("mpirun '", "close the quotes")],
)
def test_a_launcher_that_is_not_there_is_refused(launcher: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        measure_link(launcher)


@pytest.mark.parallel
def test_another_number_of_ranks_is_refused() -> None:
    for n, named in ((1, "1 rank"), (3, "3 ranks")):
        with pytest.raises(InputError, match=f"it starts {named}, not 2"):
            measure_link(f"{find_mpirun()} -n {n}")
