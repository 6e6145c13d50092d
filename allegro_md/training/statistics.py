"""Statistics of the training frames, from which a network gets its scales and shifts before the first step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ase.data import atomic_numbers
from numpy.typing import NDArray

from allegro_md.config.training import DenseModel, ResidualModel
from allegro_md.errors import InputError
from allegro_md.io.labeled import Frame
from allegro_md.training.graph import Graph

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Statistics:
    """Of the training frames.

    Attributes:
        average_neighbors: edges per atom, or what the input says.
        force_rms: eV/Å, of all components; NaN without forces.
        force_rms_per_species: the same of each element that has forces.
        scales: eV, per element.
        shifts: eV, per element.
        shortest: Å, smallest distance per pair "A-B" (in the order of the symbols) that was seen.
        frames: how many.
        atoms: of all frames.
    """

    average_neighbors: float
    force_rms: float
    force_rms_per_species: dict[str, float]
    scales: dict[str, float]
    shifts: dict[str, float]
    shortest: dict[str, float]
    frames: int
    atoms: int

    def summary(self) -> str:
        """A few lines for people."""
        lines = [
            f"{self.frames} training frames, {self.atoms} atoms, {self.average_neighbors:.2f} neighbors per atom",
            f"force RMS {self.force_rms:.4g} eV/Å ({_list(self.force_rms_per_species)})",
            f"scales {_list(self.scales)} eV",
            f"shifts {_list(self.shifts)} eV",
            f"shortest distances {_list(self.shortest)} Å",
        ]
        return "\n".join(lines)


def _list(numbers: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {number:.6g}" for name, number in numbers.items()) or "none"


def statistics_of(
    frames: Iterable[Frame],
    symbols: Sequence[str],
    graphs: Iterable[Graph],
    model: DenseModel | ResidualModel,
    isolated: Mapping[str, float] | None = None,
) -> Statistics:
    """Measures the training frames in one pass.

    Args:
        frames: the training frames.
        symbols: elements in the order of the species.
        graphs: their edges, in the same order.
        model: says which scales and shifts are wanted.
        isolated: eV per element, see `training.dataset.Dataset`.

    Raises:
        InputError: scales or shifts need labels that the frames do not have, or an element without a number.
    """
    sums = _Sums(symbols)
    for frame, graph in zip(frames, graphs, strict=True):
        sums.add(frame, graph)
    rms, per_species = sums.force_rms()
    average = sums.edges / sums.atoms if model.average_neighbors == "auto" else model.average_neighbors
    return Statistics(
        average_neighbors=average,
        force_rms=rms,
        force_rms_per_species=per_species,
        scales=_scales(model.scales, symbols, rms, per_species),
        shifts=_shifts(model.shifts, symbols, sums, isolated or {}),
        shortest=sums.shortest_distances(),
        frames=sums.frames,
        atoms=sums.atoms,
    )


class _Sums:
    """Running sums over frames."""

    def __init__(self, symbols: Sequence[str]) -> None:
        n = len(symbols)
        self.symbols = symbols
        self.frames = self.atoms = self.edges = 0
        self.compositions: list[Array] = []
        self.energies: list[float] = []
        self._species = np.full(120, -1)
        self._species[[atomic_numbers[symbol] for symbol in symbols]] = np.arange(n)
        self._squares, self._components = np.zeros(n), np.zeros(n)
        self._shortest = np.full((n, n), np.inf)

    def add(self, frame: Frame, graph: Graph) -> None:
        species, n = self._species[frame.numbers], len(self.symbols)
        self.frames += 1
        self.atoms += len(species)
        self.edges += len(graph.center)
        if frame.energy is not None:
            self.compositions.append(np.bincount(species, minlength=n).astype(np.float64))
            self.energies.append(frame.energy)
        if frame.forces is not None:
            self._squares += np.bincount(species, (frame.forces**2).sum(axis=1), n)
            self._components += 3.0 * np.bincount(species, minlength=n)
        length = np.sqrt((graph.vector**2).sum(axis=1))
        np.minimum.at(self._shortest, (species[graph.center], species[graph.neighbor]), length)

    def force_rms(self) -> tuple[float, dict[str, float]]:
        """Of all components (NaN without forces), and of those of each element that has some."""
        some = self._components > 0.0
        with np.errstate(invalid="ignore"):
            whole = float(np.sqrt(np.divide(self._squares.sum(), self._components.sum())))
            each = np.sqrt(self._squares / self._components)
        return whole, {symbol: float(each[k]) for k, symbol in enumerate(self.symbols) if some[k]}

    def shortest_distances(self) -> dict[str, float]:
        """Å per unordered pair "A-B" that was seen, in the order of the symbols."""
        both = np.minimum(self._shortest, self._shortest.T)
        return {
            f"{a}-{b}": float(both[i, j])
            for i, a in enumerate(self.symbols)
            for j, b in enumerate(self.symbols)
            if i <= j and both[i, j] < np.inf
        }


def _scales(
    wanted: str | float | Mapping[str, float], symbols: Sequence[str], rms: float, per_species: Mapping[str, float]
) -> dict[str, float]:
    """eV; a force RMS in eV/Å is taken over by the number, as is usual."""
    if not isinstance(wanted, str):
        return _numbers(wanted, symbols, "model.scales")
    if not rms > 0.0:
        what = "needs forces that are not all zero, and the training frames have none"
        raise InputError(what, f'model.scales = "{wanted}"', "give numbers")
    if wanted == "force-rms":
        return dict.fromkeys(symbols, rms)
    # An element whose forces vanish by symmetry, or that has none, is scaled as the others.
    return {symbol: per_species.get(symbol, 0.0) or rms for symbol in symbols}


def _shifts(
    wanted: str | float | Mapping[str, float], symbols: Sequence[str], sums: _Sums, isolated: Mapping[str, float]
) -> dict[str, float]:
    """eV."""
    if not isinstance(wanted, str):
        return _numbers(wanted, symbols, "model.shifts")
    if wanted == "isolated":
        return _numbers(isolated, symbols, "data.isolated")
    if not sums.energies:
        what = "needs energies, and the training frames have none"
        raise InputError(what, f'model.shifts = "{wanted}"', "give numbers, for example 0.0")
    counts, energies = np.array(sums.compositions), np.array(sums.energies)
    if wanted == "mean":
        return dict.fromkeys(symbols, float(np.mean(energies / counts.sum(axis=1))))
    # Of many solutions, as of frames that are all of one composition, the smallest.
    solution = np.linalg.lstsq(counts, energies, rcond=1e-10)[0]
    return {symbol: float(solution[k]) for k, symbol in enumerate(symbols)}


def _numbers(given: float | Mapping[str, float], symbols: Sequence[str], where: str) -> dict[str, float]:
    """One number per element."""
    if not isinstance(given, Mapping):
        return dict.fromkeys(symbols, float(given))
    for symbol in symbols:
        if symbol not in given:
            raise InputError(f"has no number for {symbol}", where, f"it names {', '.join(given) or 'nothing'}")
    return {symbol: given[symbol] for symbol in symbols}
