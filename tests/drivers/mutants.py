"""Engines that are wrong on purpose, each in one way that the exactness tests must see."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray

from allegro_md.backends.cpu import domain
from allegro_md.comm import Comm
from allegro_md.evaluation import NOTHING_MORE, Evaluation, Needs, PotentialInfo
from allegro_md.exact import FORCE_SCALE, ExactSum
from allegro_md.neighbors.list import NeighborList
from allegro_md.simulation.forces import ForceEvaluator
from allegro_md.state import AtomState


class FloatSum:
    """What an ordinary program does: a sum in float64, in whatever order the atoms have."""

    def __init__(self, values: Any, kind: str, ids: Any = None) -> None:
        table = np.asarray(values, dtype=np.float64)
        self.total = np.atleast_1d(table.sum(axis=0))


def _float_reduce(comm: Comm, part: FloatSum) -> Any:
    return np.sum(np.stack([p.total for p in comm.allgather(part)]), axis=0)


class FloatLennardJones:
    """Lennard-Jones with forces added up in float64 (kept in the bits of the integer accumulator)."""

    members: tuple[Any, ...] = ()

    def __init__(self, potential: Any) -> None:
        self.info = PotentialInfo("float-lj", potential.info.cutoff, bit_exact=False)
        self._a, self._b, self._c = potential._parameters.table[0, 0, :3]

    def __call__(self, state: AtomState, lists: NeighborList, needs: Needs) -> Evaluation:
        i = np.repeat(np.arange(state.n_local), np.diff(lists.offsets))
        j = lists.neighbors
        x, s = state.all("position").numpy(), state.all("shift").numpy()
        d = (x[j] - x[i]) + (s[j] - s[i]) @ state.cell.matrix
        r2 = (d * d).sum(axis=1)
        near = r2 < self.info.cutoff**2
        i, j, d, r2 = i[near], j[near], d[near], r2[near]
        energy, six = np.zeros(state.n_local), 1.0 / r2**3
        np.add.at(energy, i, 0.5 * (self._a * six * six - self._b * six - self._c))
        g = (0.5 * (6.0 * self._b * six - 12.0 * self._a * six * six) / r2)[:, None] * d
        force = state.all("force").view(torch.float64).numpy()
        np.add.at(force, i, g)
        np.subtract.at(force, j, g)
        w = np.zeros((state.n_local, 6))
        for v, (a, b) in enumerate([(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]):
            np.add.at(w[:, v], i, -d[:, a] * g[:, b])
        return Evaluation.of(state, needs, energy, w)


class _FloatHalo:
    def __init__(self, halo: Any) -> None:
        self._halo = halo

    def __getattr__(self, name: str) -> Any:
        return getattr(self._halo, name)

    def begin_reverse(self, values: NDArray[np.int64]) -> None:
        self._halo.begin_reverse(values.view(np.float64))


class FloatForces(ForceEvaluator):
    """Everything that belongs to one atom is added in floating point and only then put on the grid of the forces."""

    def __call__(self, state: AtomState, needs: Needs = NOTHING_MORE) -> Evaluation:
        evaluation = super().__call__(state, needs)
        own = state.local("force")
        own[:] = torch.round(own.view(torch.float64) * FORCE_SCALE).long()
        return evaluation

    def _rebuild(self, state: AtomState) -> None:
        super()._rebuild(state)
        self.halo = _FloatHalo(self.halo)  # type: ignore[assignment]


def wrap_in_place(right: Callable[..., Any]) -> Callable[..., Any]:
    """Positions are moved into the box when owners are found, instead of keeping a shift beside them."""

    def assign_owners(state: AtomState, planes: Any) -> Any:
        owner = right(state, planes)
        x, s = state.local("position").numpy(), state.local("shift").numpy()
        x += s @ state.cell.matrix
        s[:] = 0
        return owner

    return assign_owners


@contextmanager
def mutated(name: str) -> Iterator[type[ForceEvaluator]]:
    """The engine with one fault; yields the class of forces to use."""
    with ExitStack() as stack:
        if name == "float-reduce":
            stack.enter_context(mock.patch.object(ExactSum, "of", staticmethod(FloatSum)))
            stack.enter_context(mock.patch.object(Comm, "reduce", _float_reduce))
        elif name == "wrap":
            stack.enter_context(mock.patch.object(domain, "assign_owners", wrap_in_place(domain.assign_owners)))
        elif name not in ("", "float-forces"):
            raise ValueError(name)
        yield FloatForces if name == "float-forces" else ForceEvaluator
