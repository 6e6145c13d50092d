"""Frames of a step: put behind one another, and how an epoch is divided into steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from allegro_md.io.labeled import Frame
from allegro_md.models.allegro.edges import Edges
from allegro_md.training.graph import Graph, graph_of

KEPT_BYTES = 2 << 30
"""Of neighbors that are kept between epochs; those of further frames are found whenever they are asked for."""


@dataclass(frozen=True)
class Batch:
    """Several frames as one block of edges, with their labels; NaN where a label is missing.

    Attributes:
        edges: of all frames, sorted by center.
        neighbor: (E,) int64, the atom at the other end.
        frame: (A,) int64, the frame of each atom, ascending.
        atoms: (B,) float64, atoms of each frame.
        volume: (B,) Å³, NaN where a frame has none.
        energy: (B,) eV.
        forces: (A, 3) eV/Å.
        stress: (B, 3, 3) eV/Å³.
    """

    edges: Edges
    neighbor: torch.Tensor
    frame: torch.Tensor
    atoms: torch.Tensor
    volume: torch.Tensor
    energy: torch.Tensor
    forces: torch.Tensor
    stress: torch.Tensor


class Samples:
    """Frames of a set with their neighbors, which are found when first asked for and kept while there is room.

    Attributes:
        frames: the frames.
    """

    def __init__(self, frames: Sequence[Frame], symbols: Sequence[str], cutoffs: NDArray[np.float64]) -> None:
        """Prepares the frames.

        Args:
            frames: labeled configurations of elements among `symbols`.
            symbols: the elements, in the order of the species.
            cutoffs: (species, species) Å, [center, neighbor].
        """
        from ase.data import atomic_numbers

        self.frames = frames
        self._cutoffs = cutoffs
        self._species = np.full(max(atomic_numbers.values()) + 1, -1, dtype=np.int64)
        for index, symbol in enumerate(symbols):
            self._species[atomic_numbers[symbol]] = index
        self._graphs: dict[int, Graph] = {}
        self._room = KEPT_BYTES
        self._edges = np.full(len(frames), -1, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.frames)

    def species(self, index: int) -> NDArray[np.int64]:
        """(n,) species of a frame's atoms."""
        return self._species[self.frames[index].numbers]

    def graph(self, index: int) -> Graph:
        """Neighbors of a frame."""
        if index in self._graphs:
            return self._graphs[index]
        graph = graph_of(self.frames[index], self.species(index), self._cutoffs)
        self._edges[index] = len(graph.center)
        if graph.nbytes <= self._room:
            self._graphs[index] = graph
            self._room -= graph.nbytes
        return graph

    def edges_of(self, index: int) -> int:
        """Number of edges of a frame."""
        return int(self._edges[index]) if self._edges[index] >= 0 else len(self.graph(index).center)

    def batch(self, indices: Sequence[int], device: torch.device | str = "cpu") -> Batch:
        """Puts frames behind one another."""
        frames = [self.frames[k] for k in indices]
        graphs = [self.graph(k) for k in indices]
        counts = np.array([len(frame.numbers) for frame in frames], dtype=np.int64)
        starts = np.cumsum(counts) - counts
        species = np.concatenate([self.species(k) for k in indices])
        center, neighbor = (
            np.concatenate([getattr(g, name) + start for g, start in zip(graphs, starts, strict=True)])
            for name in ("center", "neighbor")
        )

        def tensor(values: NDArray[np.generic]) -> torch.Tensor:
            """Copies `values` (n, …) of any dtype and unit to the device."""
            return torch.from_numpy(np.ascontiguousarray(values)).to(device)

        nothing = np.full((3, 3), np.nan)
        return Batch(
            edges=Edges(
                tensor(np.concatenate([g.vector for g in graphs])), tensor(center), tensor(species),
                tensor(species[neighbor]),
            ),
            neighbor=tensor(neighbor),
            frame=tensor(np.repeat(np.arange(len(frames)), counts)),
            atoms=tensor(counts.astype(np.float64)),
            volume=tensor(np.array([frame.volume or np.nan for frame in frames])),
            energy=tensor(np.array([np.nan if frame.energy is None else frame.energy for frame in frames])),
            forces=tensor(np.concatenate([_forces(frame) for frame in frames])),
            stress=tensor(np.stack([nothing if frame.stress is None else frame.stress for frame in frames])),
        )


def _forces(frame: Frame) -> NDArray[np.float64]:
    return np.full(frame.position.shape, np.nan) if frame.forces is None else frame.forces


def shuffled(samples: Samples, frames: int | None, edges: int | None, seed: int, epoch: int) -> list[list[int]]:
    """The steps of an epoch: every frame once, in an order that seed and epoch decide.

    Args:
        samples: the training set.
        frames: frames per step; the last step may have fewer.
        edges: instead, the most edges per step (a frame with more is a step of its own).
        seed: of the order.
        epoch: number of the epoch.
    """
    order = np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(len(samples)).tolist()
    if edges is not None:
        return list(packed(samples, order, edges))
    size = frames or 1
    return [order[k : k + size] for k in range(0, len(order), size)]


def packed(samples: Samples, order: Sequence[int], edges: int) -> Iterator[list[int]]:
    """Frames in the given order, as many at a time as have no more than so many edges together."""
    step: list[int] = []
    total = 0
    for index in order:
        more = samples.edges_of(index)
        if step and total + more > edges:
            yield step
            step, total = [], 0
        step.append(index)
        total += more
    if step:
        yield step
