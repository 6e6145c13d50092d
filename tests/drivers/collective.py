"""Checks that need several ranks, each a function that asserts; prints the name of each that held everywhere.

    mpirun -n 4 python collective.py
"""

from __future__ import annotations

import faulthandler
import signal
import time
import traceback
from collections.abc import Callable
from functools import partial
from unittest import mock

import image_sum
import numpy as np
import torch
from numpy.typing import NDArray
from systems import spread
from torture import Place, places

from allegro_md import comm as comm_module
from allegro_md.comm import Comm, SendRecv
from allegro_md.domain.decomposition import Decomposition
from allegro_md.domain.halo import HaloExchange
from allegro_md.domain.migrate import assign_initial_owners, migrate
from allegro_md.domain.planes import decompose
from allegro_md.errors import InputError, PhysicsError
from allegro_md.exact import ExactSum
from allegro_md.state import AtomState
from allegro_md.timers import Timers

WHERE = (
    "one-atom-primitive", "two-atoms-small-cell", "three-atoms", "cube", "tilted-far-away", "needle", "slab-free-x",
    "chain", "free", "flat", "droplet-in-corner", "faces-8", "faces-tilted",
)  # fmt: skip


def raised(expected: type[BaseException], work: Callable[[], object]) -> str:
    """The message of the error that `work` must raise."""
    try:
        work()
    except expected as error:
        return str(error)
    raise AssertionError(f"no {expected.__name__}")


def exchange(comm: Comm) -> None:
    """Rows of several types and shapes arrive complete and in order, also when cut into many rounds."""
    rng = np.random.default_rng(comm.rank)
    counts = rng.integers(0, 30, comm.size)
    counts[(comm.rank + 1) % comm.size] = 0
    target = np.repeat(np.arange(comm.size), counts)
    label = 1000 * comm.rank + np.arange(len(target))
    for dtype, shape in ((np.float64, (3,)), (np.int16, ()), (np.int64, (2, 2)), (np.bool_, ())):
        rows = (np.ones((len(target), *shape)) * label.reshape(-1, *[1] * len(shape)) + 1).astype(dtype)
        for limit in (2**26, 200, 1):
            with mock.patch.object(comm_module, "ROUND_BYTES", limit):
                got, sources = comm.exchange(rows, counts)
            everything = comm.allgather((rows, target))
            assert sources.tolist() == [int((t == comm.rank).sum()) for _, t in everything]
            assert got.dtype == rows.dtype
            assert np.array_equal(got, np.concatenate([r[t == comm.rank] for r, t in everything]))


def exchange_nothing(comm: Comm) -> None:
    rows, counts = comm.exchange(np.zeros((0, 3)), np.zeros(comm.size, dtype=np.int64))
    assert rows.shape == (0, 3) and counts.sum() == 0


def send_receive(comm: Comm) -> None:
    """Two messages between the same two ranks in one hop are not mixed up; nobody (−1) is allowed at the ends."""
    up, down = comm.rank + 1, comm.rank - 1
    from_below, from_above = np.full(2, -7), np.full(3, -7)
    top = up if up < comm.size else -1
    legs = [SendRecv(np.full(2, comm.rank), top, from_below, down),
        SendRecv(np.full(3, 100 + comm.rank), down, from_above, top)]
    comm.send_receive(legs)
    assert from_below.tolist() == [comm.rank - 1 if down >= 0 else -7] * 2
    assert from_above.tolist() == [101 + comm.rank if top >= 0 else -7] * 3


def together(comm: Comm) -> None:
    """A fault of any one rank is the same exception on all; without one, nothing happens; the lowest rank speaks."""
    for bad in range(comm.size):
        fault = InputError("broken", f"rank {bad}", "mend it") if comm.rank == bad else None
        message = raised(InputError, partial(comm.raise_together, fault))
        assert message == f"rank {bad}: broken — mend it"

        def fail(bad: int = bad) -> None:
            with comm.collective_errors():
                if comm.rank >= bad:
                    raise KeyError(f"at {comm.rank}")

        message = raised(RuntimeError, fail)
        assert f"rank {bad}: " in message and "KeyError" in message and "collective.py" in message
    comm.raise_together(None)
    with comm.collective_errors():
        pass


def reductions(comm: Comm) -> None:
    """Sums of ints, maxima, exact sums: the same on every rank as on one."""
    assert comm.sum(np.array([1, comm.rank, 2**62 // comm.size])).tolist() == [
        comm.size, comm.size * (comm.size - 1) // 2, 2**62 // comm.size * comm.size,
    ]  # fmt: skip
    raised(TypeError, lambda: comm.sum(np.array([1.0])))  # type: ignore[arg-type]
    assert comm.max(float(comm.rank)) == comm.size - 1
    assert comm.max(np.array([comm.rank, -comm.rank, -np.inf])).tolist() == [comm.size - 1, 0.0, -np.inf]
    assert comm.any(comm.rank == comm.size - 1) and not comm.any(False)
    values = np.random.default_rng(1).normal(size=(1001, 6)) * 10.0 ** np.arange(-4, 2)
    total = comm.reduce(ExactSum.of(values[comm.rank :: comm.size], "virial"))
    assert total.tobytes() == ExactSum.of(values, "virial").value().tobytes()
    assert comm.on_root(lambda: {"rank": comm.rank}) == {"rank": 0}


def agreement(comm: Comm) -> None:
    """Ranks on different kinds of processors take the numbers of one of them; the others make their own."""
    for name, deciding in (("one kind", comm.rank), (f"kind {comm.rank}", 0)):
        twin = comm.split(0)
        with mock.patch("allegro_md.comm.mathematics", lambda name=name: name):
            assert [twin.agreed(partial(int, twin.rank)) for _ in range(2)] == [deciding] * 2


def fault_in_sum(comm: Comm) -> None:
    """A number that is none, on one rank, is an error on all of them."""
    last = comm.rank == comm.size - 1

    def reduce() -> None:
        with comm.collective_errors():
            part = ExactSum.of(np.array([1.0, np.nan if last else 2.0]), "energy")
        comm.reduce(part)

    raised(PhysicsError, reduce)


def _settled(comm: Comm, place: Place) -> tuple[AtomState, Decomposition]:
    state = spread(place.start, place.rows, place.periodic, comm, origin=place.origin)
    domain = decompose(state, comm, None)
    migrate(state, domain, comm)
    return state, domain


def few_operations(comm: Comm) -> None:
    """Of a migration that moves atoms: the numbers of rows once, each field once; two reductions."""
    state, domain = _settled(comm, places()[WHERE[0]])
    state.host_local("position")[...] += 0.5 * state.cell.matrix.sum(axis=0)
    comm.timers = Timers()
    moved = comm.any(migrate(state, domain, comm) > 0)
    fields = sum(field.migrates for field in state.fields.values())
    counts = {what: sum(each[what] for each in comm.timers.counts.values()) for what in ("collectives", "allreduces")}
    if comm.size > 1:
        assert moved and counts == {"collectives": 1 + fields, "allreduces": 3}, counts  # one of them is this test's


def _copies(state: AtomState, first: int) -> set[tuple[int, ...]]:
    rows = torch.cat([state.all("id")[:, None], state.all("shift").long()], dim=1)[first:]
    return {tuple(row) for row in rows.tolist()}


def ownership(comm: Comm) -> None:
    """Every atom is on one rank, inside its brick; a second migration moves nothing; masters keep their bits."""
    for name in WHERE:
        place = places()[name]
        state, domain = _settled(comm, place)
        ids = np.concatenate(comm.allgather(state.local("id").numpy().copy()))
        assert np.array_equal(np.sort(ids), np.arange(len(place.x))), name
        x = state.local("position").numpy()
        assert np.array_equal(x, place.start[state.local("id").numpy()]), name
        fraction = (x - state.cell.origin) @ state.cell.inverse + state.local("shift").numpy()
        lower, upper = domain.brick(comm.rank)
        assert np.all(fraction >= lower - 1e-9) and np.all(fraction <= upper + 1e-9), name
        assert migrate(state, domain, comm) == 0, name


def ghosts(comm: Comm) -> None:
    """Within the width of any own atom every image of every atom is held, exactly once."""
    for name in WHERE:
        place = places()[name]
        width = place.cutoff + place.skin
        state, domain = _settled(comm, place)
        HaloExchange.build(state, domain, comm, width)
        held = _copies(state, 0)
        assert len(held) == state.n_all, f"{name}: an image twice"
        rows = np.array(state.cell.matrix)
        own_ids, own_shifts = state.local("id").numpy(), state.local("shift").numpy()
        x = place.start
        needed = set()
        for own, shift in zip(own_ids, own_shifts, strict=True):
            for s in _near(place, rows, own, width):
                needed.add((int(s[0]), *(int(v) for v in s[1:] + shift)))
        assert needed <= held, f"{name}: {len(needed - held)} images are missing"
        ghost = state.all("id").numpy()[state.n_local :]
        assert np.array_equal(state.all("position").numpy()[state.n_local :], x[ghost]), name


def _near(place: Place, rows: NDArray[np.float64], atom: int, width: float) -> NDArray[np.int64]:
    """(m, 4): neighbor id and S of all images within the width of an atom; S counts from the traveled positions."""
    key = id(place), width
    if key not in _CACHE:
        i, j, s, _ = image_sum.pairs(place.x, rows, place.periodic, width)
        images = place.images if isinstance(place.images, np.ndarray) else np.zeros((len(place.x), 3), dtype=np.int64)
        _CACHE.clear()
        _CACHE[key] = (i, np.column_stack([j, s + images[i] - images[j]]))
    i, table = _CACHE[key]
    return table[i == atom]


_CACHE: dict[tuple[int, float], tuple[NDArray[np.int64], NDArray[np.int64]]] = {}


def adjoint(comm: Comm) -> None:
    """⟨forward(x), y⟩ = ⟨x, reverse_add(y)⟩, in integers; forward brings every ghost its owner's value."""
    for name in WHERE:
        place = places()[name]
        state, domain = _settled(comm, place)
        halo = HaloExchange.build(state, domain, comm, place.cutoff + place.skin)
        rng = np.random.default_rng(comm.rank + 10)
        x = torch.zeros(state.n_all, 3, dtype=torch.int64)
        x[: state.n_local] = torch.from_numpy(rng.integers(-1000, 1000, (state.n_local, 3)))
        y = torch.from_numpy(rng.integers(-1000, 1000, (state.n_all, 3)))
        spread_out, gathered = x.clone(), y.clone()
        halo.forward(spread_out)
        halo.reverse_add(gathered)
        left, right = (spread_out * y).sum(), (x[: state.n_local] * gathered[: state.n_local]).sum()
        sums = comm.sum(np.array([left.item(), right.item()]))
        assert sums[0] == sums[1], name
        owner = torch.full((state.n_all,), -1, dtype=torch.int64)
        owner[: state.n_local] = state.local("id")
        halo.forward(owner)
        assert torch.equal(owner, state.all("id")), name


def lost_and_doubled(comm: Comm) -> None:
    """An atom too few or too many, or nowhere, is an error on all ranks."""
    place = places()["cube"]
    state, domain = _settled(comm, place)
    state.n_total += 1
    assert "one was lost or doubled" in raised(PhysicsError, lambda: migrate(state, domain, comm))
    state, domain = _settled(comm, place)
    if comm.rank == comm.size - 1:
        state.local("position")[3, 1] = float("nan")
    assert "not finite" in raised(PhysicsError, lambda: migrate(state, domain, comm))
    whole = spread(place.x, place.rows, place.periodic, Comm.serial())  # every rank makes all atoms and keeps its own
    assign_initial_owners(whole, domain, comm)
    assert comm.sum(np.array([whole.n_local]))[0] == len(place.x)


def parts(comm: Comm) -> None:
    """Groups of ranks communicate among themselves; what is told reaches all others, and nobody waits for it."""
    part = comm.split(comm.rank % 2)
    members = [rank for rank in range(comm.size) if rank % 2 == comm.rank % 2]
    assert part.allgather(comm.rank) == members and part.rank == members.index(comm.rank)
    assert part.sum(np.array([comm.rank])).tolist() == [sum(members)]
    assert comm.told() == 0
    comm.bcast(None)
    if comm.rank == comm.size - 1:
        comm.tell(3)
        comm.tell(2)
    comm.allgather(None)
    deadline, largest = time.monotonic() + 5.0, 0
    while largest < 3 and comm.rank < comm.size - 1 and time.monotonic() < deadline:
        largest = max(largest, comm.told())
    assert largest == (3 if comm.rank < comm.size - 1 else 0) and comm.told() in (0, 2)


CHECKS = (
    exchange, exchange_nothing, send_receive, together, reductions, agreement, fault_in_sum, ownership, ghosts, adjoint,
    lost_and_doubled, parts, few_operations,
)  # fmt: skip


def main() -> None:
    torch.set_num_threads(1)
    faulthandler.register(signal.SIGTERM, chain=True)
    comm = Comm.world()
    for check in CHECKS:
        fault = ""
        try:
            check(comm)
        except Exception:  # noqa: BLE001  told by rank 0; a rank that fails alone inside a collective hangs and is killed
            fault = traceback.format_exc()
            print(f"rank {comm.rank}: {check.__name__}: {fault}", flush=True)
        if not any(comm.allgather(fault)) and comm.rank == 0:
            print(f"holds: {check.__name__}", flush=True)


if __name__ == "__main__":
    main()
