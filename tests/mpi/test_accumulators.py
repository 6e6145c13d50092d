"""Averages have the same bits on any number of ranks: frames or atoms are divided, results merged."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
from ranks import MpiRun

pytestmark = pytest.mark.parallel

PROGRAM = textwrap.dedent(
    """
    import copy, hashlib, json, pickle, sys
    import numpy as np
    from allegro_md.accumulators import Correlator, Histogram, Mean, Total, reduced
    from allegro_md.comm import Comm

    comm = Comm.world()
    x = np.random.default_rng(0).normal(size=(200, 7, 3)).cumsum(axis=0)  # of 7 atoms, at 200 steps
    mine = np.arange(7)[comm.rank :: comm.size]
    frames = np.array_split(np.arange(200), comm.size)[comm.rank]

    total, histogram, mean = Total(3), Histogram(-10.0, 10.0, 50), Mean(3)
    total.add(x[:, mine].reshape(-1, 3))
    histogram.add(x[:, mine])
    mean.add(x[frames].sum(axis=1), first=int(frames[0]))
    correlator = Correlator(mine % 2, 2, 3, longest=100)
    for sample in x[:, mine]:
        correlator.add(sample)
    gathered = type(comm).allgather
    for made in (total, histogram, mean, correlator.correlation):
        before = json.dumps(made.state_dict())
        comm.allgather = lambda value: sizes.append(len(pickle.dumps(value))) or gathered(comm, value)
        sizes = []
        found = reduced(made, comm)
        del comm.allgather
        assert max(sizes, default=0) < 200, "memory grows with the number of ranks"
        text = json.dumps(found.state_dict())
        merged, *others = copy.deepcopy(comm.allgather(made))
        for other in others:
            merged.merge(other)
        assert json.dumps(merged.state_dict()) == text, "the sum over ranks is not what merging gives"
        if made is total:
            found.add(np.full((3, 3), -0.1))
            merged.add(np.full((3, 3), -0.1))
            assert found.fractions() == merged.fractions(), "terms that come after the sum are lost"
        assert json.dumps(made.state_dict()) == before, "the one of this rank has changed"
        assert len(set(comm.allgather(text))) == 1, "ranks differ"
        if comm.rank == 0:
            print("state", hashlib.sha256(text.encode()).hexdigest())

    for differs in (Total(1 + comm.rank), Histogram(0.0, 1.0 + comm.rank, 5), Mean(1 + comm.rank)):
        try:
            reduced(differs, comm)
        except ValueError as fault:
            texts = comm.allgather(str(fault))
            assert comm.size > 1 and len(set(texts)) == 1, texts
        else:
            assert comm.size == 1, "accumulators that do not fit were added"
    """
)


def test_on_any_number_of_ranks(mpirun: MpiRun, tmp_path: Path) -> None:
    script = tmp_path / "accumulate.py"
    script.write_text(PROGRAM)
    alone, *others = (mpirun(ranks, [script], timeout=120).stdout.splitlines() for ranks in (1, 2, 3))
    assert len(alone) == 4 and all(found == alone for found in others)
