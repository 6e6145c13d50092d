"""A second backend in plain torch operations: short and slow, all pairs tried.

It stands in for that of the host, so that arrays come and go as those of numpy.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from allegro_md.backends.base import AtomCost, Backend, Bins, Columns
from allegro_md.exact import ExactSum
from allegro_md.rng import Draw, normals
from allegro_md.state import AtomState, DeviceArray
from allegro_md.units import AMU_A2_PER_FS2

VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
CALLS: set[str] = set()


def place(state: AtomState, n: int) -> torch.Tensor:
    """Wrapped positions of the first n atoms, x + shift · h, each product and sum rounded on its own."""
    h, s = torch.from_numpy(np.array(state.cell.matrix)), state.all("shift")[:n].double()
    return state.all("position")[:n] + (s[:, :1] * h[0] + s[:, 1:2] * h[1] + s[:, 2:] * h[2])


def fraction(state: AtomState, axis: int) -> torch.Tensor:
    x, inverse = state.local("position") - torch.from_numpy(state.cell.origin.copy()), state.cell.inverse[:, axis]
    return x[:, 0] * float(inverse[0]) + x[:, 1] * float(inverse[1]) + x[:, 2] * float(inverse[2])


def chosen(state: AtomState, within: int = 0) -> torch.Tensor:
    """Which local atoms are not held, and in groups `within`, (n_local,) bool."""
    if "group" not in state.fields:
        return torch.ones(state.n_local, dtype=torch.bool)
    group = state.local("group")
    return ((group & state.held) == 0) & ((group & within != 0) if within else True)


class Steps:
    def kick(self, state: AtomState, factors: NDArray[np.float64]) -> None:
        CALLS.add("kick")
        factor = torch.from_numpy(factors)[state.local("species").long()]
        state.local("velocity").add_(state.local("force").double() * factor[:, None] * chosen(state)[:, None])

    def drift(self, state: AtomState, time: float) -> None:
        CALLS.add("drift")
        state.local("position").add_(state.local("velocity") * time)

    def thermalize(
        self, state: AtomState, keep: NDArray[np.float64], width: NDArray[np.float64], draw: Draw, within: int = 0
    ) -> ExactSum:
        CALLS.add("thermalize")
        old, kind = state.local("velocity").clone(), state.local("species").long()
        noise = torch.from_numpy(normals(state.local("id").numpy(), draw))
        new = torch.from_numpy(keep)[kind][:, None] * old + torch.from_numpy(width)[kind][:, None] * noise
        new = torch.where(chosen(state, within)[:, None], new, old)
        state.local("velocity").copy_(new)
        gain = new * new - old * old
        mass = torch.from_numpy(state.species_table.masses * AMU_A2_PER_FS2)[kind]
        heat = 0.5 * mass * (gain[:, 0] + gain[:, 1] + gain[:, 2])
        return ExactSum.of(heat.numpy(), "kinetic", state.local("id").numpy())

    def work(self, state: AtomState, time: float) -> None:
        held = (state.local("group") & state.held) != 0
        terms = state.local("force").double() * state.local("velocity")
        for k in range(3):
            state.local("work")[held] += terms[held, k] * time

    def scale_velocities(self, state: AtomState, factor: float, within: int = 0) -> None:
        CALLS.add("scale_velocities")
        state.local("velocity")[chosen(state, within)] *= factor

    def add_forces(self, state: AtomState, forces: NDArray[np.int64], within: int) -> None:
        rows = chosen(state, within)
        state.local("force")[rows] += torch.from_numpy(forces)[state.local("species").long()[rows]]

    def strain(self, state: AtomState, deformation: NDArray[np.float64]) -> None:
        origin, f = torch.from_numpy(state.cell.origin.copy()), torch.from_numpy(deformation.copy())
        d = state.local("position") - origin
        state.local("position").copy_(origin + (d[:, :1] * f[0] + d[:, 1:2] * f[1] + d[:, 2:] * f[2]))

    def kick_with_cell(
        self, state: AtomState, factors: NDArray[np.float64], damping: NDArray[np.float64], gain: NDArray[np.float64]
    ) -> None:
        CALLS.add("kick_with_cell")
        d, g, v = torch.from_numpy(damping.copy()), torch.from_numpy(gain.copy()), state.local("velocity")
        f = state.local("force").double() * torch.from_numpy(factors)[state.local("species").long()][:, None]
        kept = v[:, :1] * d[0] + v[:, 1:2] * d[1] + v[:, 2:] * d[2]
        v.copy_(kept + (f[:, :1] * g[0] + f[:, 1:2] * g[1] + f[:, 2:] * g[2]))

    def drift_with_cell(
        self, state: AtomState, deformation: NDArray[np.float64], flight: NDArray[np.float64]
    ) -> None:
        CALLS.add("drift_with_cell")
        f, t, v = torch.from_numpy(deformation.copy()), torch.from_numpy(flight.copy()), state.local("velocity")
        origin = torch.from_numpy(state.cell.origin.copy())
        d = state.local("position") - origin
        mapped = d[:, :1] * f[0] + d[:, 1:2] * f[1] + d[:, 2:] * f[2]
        state.local("position").copy_(origin + (mapped + (v[:, :1] * t[0] + v[:, 1:2] * t[1] + v[:, 2:] * t[2])))

    def combine(self, rows: NDArray[np.float64], factors: NDArray[np.float64], into: int) -> None:
        CALLS.add("combine")
        vectors = torch.from_numpy(rows)
        total = torch.zeros(len(rows), 3, dtype=torch.float64)
        for k, factor in enumerate(factors.tolist()):
            total += vectors[:, k] * factor
        vectors[:, into] = total


class Sums:
    def kinetic_energy(self, state: AtomState, within: int = 0) -> ExactSum:
        v = state.local("velocity") * chosen(state, within)[:, None]
        squares = v[:, 0] * v[:, 0] + v[:, 1] * v[:, 1] + v[:, 2] * v[:, 2]
        return self.summed(0.5 * self._mass(state) * AMU_A2_PER_FS2 * squares, "kinetic", state)

    def kinetic_tensor(self, state: AtomState) -> ExactSum:
        v, mass = state.local("velocity") * chosen(state)[:, None], self._mass(state) * AMU_A2_PER_FS2
        terms = torch.stack([mass * v[:, a] * v[:, b] for a, b in VOIGT], dim=1)
        return self.summed(terms, "kinetic", state)

    def momentum(self, state: AtomState) -> ExactSum:
        return self.summed(self._mass(state)[:, None] * state.local("velocity"), "momentum", state)

    def total_mass(self, state: AtomState) -> ExactSum:
        return self.summed(self._mass(state), "mass", state)

    def summed(self, values: NDArray[np.float64] | torch.Tensor, kind: str, state: AtomState) -> ExactSum:
        CALLS.add(kind)
        return ExactSum.of(torch.as_tensor(values).numpy(), kind, state.local("id").numpy())

    def products(self, rows: NDArray[np.float64], chosen: Sequence[int], state: AtomState) -> ExactSum:
        vectors = torch.from_numpy(rows).unbind(1)
        pairs = [(vectors[a], q) for a in chosen for q in vectors]
        terms = [p[:, 0] * q[:, 0] + p[:, 1] * q[:, 1] + p[:, 2] * q[:, 2] for p, q in pairs]
        return self.summed(torch.stack(terms, dim=1), "product", state)

    def _mass(self, state: AtomState) -> torch.Tensor:
        return torch.from_numpy(state.species_table.masses)[state.local("species").long()]


class Limits:
    def largest_length(self, rows: NDArray[np.float64] | NDArray[np.int64]) -> float:
        CALLS.add("largest_length")
        return float(torch.linalg.vector_norm(torch.from_numpy(rows).double(), dim=1).max()) if len(rows) else 0.0

    def least_clearance(
        self, state: AtomState, lists: tuple[NDArray[np.int64], NDArray[np.int32]], shortest: NDArray[np.float64]
    ) -> tuple[float, int, int]:
        CALLS.add("least_clearance")
        offsets, neighbors = (torch.from_numpy(array) for array in lists)
        center = torch.repeat_interleave(torch.arange(len(offsets) - 1), offsets.diff())
        where, other, species = place(state, state.n_all), neighbors.long(), state.all("species").long()
        limit = torch.from_numpy(shortest)[species[center], species[other]]
        clearance = torch.linalg.vector_norm(where[other] - where[center], dim=1) - limit
        clearance[limit == 0.0] = math.inf
        if len(clearance) == 0 or not clearance.min() < math.inf:
            return math.inf, -1, -1
        k = int(clearance.argmin())
        return float(clearance[k]), int(center[k]), int(other[k])


class Lists:
    def sort_order(self, state: AtomState, distance: float) -> NDArray[np.int64] | None:
        CALLS.add("sort_order")
        return torch.argsort(-state.local("id")).numpy() if state.n_local else None  # any order will do

    def find_pairs(
        self, state: AtomState, n_centers: int, distance: float, order: NDArray[np.int64] | None = None
    ) -> tuple[DeviceArray, DeviceArray]:
        CALLS.add("find_pairs")
        chosen = torch.arange(state.n_all) if order is None else torch.from_numpy(order)
        where, ids, shift = place(state, state.n_all)[chosen], state.all("id")[chosen], state.all("shift")[chosen]
        key = np.lexsort((*(shift[:, k].numpy() for k in (2, 1, 0)), ids.numpy()))
        near = torch.cdist(where[:n_centers], where[key], compute_mode="donot_use_mm_for_euclid_dist") < distance
        near[torch.from_numpy(key) == torch.arange(n_centers)[:, None]] = False
        offsets = torch.cat([torch.zeros(1, dtype=torch.int64), near.sum(1).cumsum(0)])
        neighbors = key[near.nonzero()[:, 1].numpy()].astype(np.int32)
        return state.device_array(offsets.numpy()), state.device_array(neighbors)

    def farthest(self, state: AtomState) -> float:
        CALLS.add("farthest")
        return float(place(state, state.n_local).abs().max()) if state.n_local else 0.0

    def wrapped(self, state: AtomState, dtype: type[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        CALLS.add("wrapped")
        return place(state, state.n_local).numpy().astype(dtype)

    def largest_displacement(
        self, state: AtomState, reference: NDArray[np.floating[Any]], deformation: NDArray[np.float64] | None
    ) -> float:
        CALLS.add("largest_displacement")
        stretch = torch.eye(3, dtype=torch.float64) if deformation is None else torch.from_numpy(deformation)
        start = torch.from_numpy(reference).double() @ stretch
        moved = torch.linalg.vector_norm(place(state, state.n_local) - start, dim=1)
        return float(moved.max()) if len(moved) else 0.0


class Domain:
    def first_beyond(self, state: AtomState, farthest: float) -> int:
        CALLS.add("first_beyond")
        bad = (~(state.local("position").abs() < farthest)).any(dim=1).nonzero().flatten()
        return int(bad[0]) if len(bad) else -1

    def extremes(self, state: AtomState) -> NDArray[np.float64]:
        CALLS.add("extremes")
        found = np.full(6, -np.inf)
        for axis in range(3):
            f = fraction(state, axis)
            if len(f):
                found[axis], found[axis + 3] = float((-f).max()), float(f.max())
        return found

    def costs_along(self, state: AtomState, columns: Columns, bins: Bins, cost: AtomCost) -> NDArray[np.int64]:
        CALLS.add("costs_along")
        f = [fraction(state, axis) for axis in range(3)]
        place = [v - v.floor() if flag else v for v, flag in zip(f, state.cell.periodic, strict=True)]
        lists = np.zeros(state.n_local + 1) if cost.offsets is None else cost.offsets
        neighbors = torch.as_tensor(lists).diff()[: state.n_local]
        one = ((neighbors.double() + cost.constant) * cost.scale + 0.5).long()
        n_y = columns.y.shape[1] - 1
        total = torch.zeros((len(columns.y) * n_y, bins.n), dtype=torch.int64)
        bin_of = ((place[bins.axis] - bins.lower) / bins.width).clamp(0, bins.n - 1).long()
        for i in range(len(one)):
            a = min(max(int(np.searchsorted(columns.x, float(place[0][i]), "right")) - 1, 0), len(columns.y) - 1)
            b = min(max(int(np.searchsorted(columns.y[a], float(place[1][i]), "right")) - 1, 0), n_y - 1)
            total[a * n_y + b, bin_of[i]] += one[i]
        return np.asarray(total.numpy(), dtype=np.int64)

    def assign_owners(
        self, state: AtomState, planes: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
    ) -> NDArray[np.int32]:
        CALLS.add("assign_owners")
        f = torch.stack([fraction(state, axis) for axis in range(3)])
        wraps = -f.floor() * torch.tensor(state.cell.periodic)[:, None]
        state.local("shift")[:] = wraps.T.to(torch.int32)
        place = (f + wraps).numpy()
        grid = len(planes[0]) - 1, planes[1].shape[1] - 1, planes[2].shape[2] - 1
        owner = np.zeros(state.n_local, dtype=np.int32)
        for rank, (i, j, k) in enumerate(np.ndindex(grid)):  # the last one whose lower planes are below owns it
            low = planes[0][i], planes[1][i, j], planes[2][i, j, k]
            owner[(place >= np.array(low)[:, None]).all(axis=0)] = rank
        return owner

    def within(
        self, state: AtomState, inner: NDArray[np.float64], boxes: NDArray[np.float64]
    ) -> tuple[torch.Tensor, NDArray[np.int64]]:
        CALLS.add("within")
        x, inverse = state.local("position") - torch.from_numpy(state.cell.origin.copy()), state.cell.inverse
        f = [
            x[:, 0] * float(a) + x[:, 1] * float(b) + x[:, 2] * float(c) + state.local("shift")[:, axis]
            for axis, (a, b, c) in enumerate(inverse.T)
        ]
        found = []
        for lower, upper in boxes:
            inside = [(f[axis] >= lower[axis]) & (f[axis] < upper[axis]) for axis in range(3)]
            found.append((inside[0] & inside[1] & inside[2]).nonzero().flatten().to(torch.int32))
        rows = torch.cat(found) if found else torch.zeros(0, dtype=torch.int32)
        return rows, np.array([len(part) for part in found], dtype=np.int64)

    def gather(self, values: NDArray[Any], rows: torch.Tensor, out: NDArray[Any]) -> None:
        CALLS.add("gather")
        torch.as_tensor(out).copy_(torch.as_tensor(values)[rows])

    def scatter_add(self, values: NDArray[Any], rows: torch.Tensor, addends: NDArray[Any]) -> None:
        CALLS.add("scatter_add")
        torch.as_tensor(values).index_add_(0, rows, torch.as_tensor(addends).clone())


BACKEND = Backend(Steps(), Sums(), Limits(), Lists(), Domain())

if __name__ == "__main__":  # the program with this backend
    from allegro_md.backends import BACKENDS
    from allegro_md.cli import main

    sys.path.insert(0, str(Path(__file__).parent))
    BACKENDS["cpu"] = Path(__file__).stem
    main()
