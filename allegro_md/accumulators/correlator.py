"""Time correlation functions while samples arrive: the multiple-tau correlator.

Ramírez, Sukumaran, Vorselaars and Likhtman, "Efficient on the fly calculation of time correlation functions in computer
simulations", J. Chem. Phys. 133, 154103 (2010).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from allegro_md.accumulators.base import Summed, require_alike
from allegro_md.accumulators.total import MOST_TERMS, Total, add_term
from allegro_md.errors import PhysicsError


class CorrelationTable(NamedTuple):
    """A correlation function.

    Attributes:
        lag: (n,) int64, ascending, in samples.
        value: (n, channels) float64, in the squared unit of the samples; NaN in a channel without items.
        products: (n, channels) int64, number of products in each average.
        block: (n,) int64, number of samples that were averaged before they were multiplied; 1: exact.
    """

    lag: NDArray[np.int64]
    value: NDArray[np.float64]
    products: NDArray[np.int64]
    block: NDArray[np.int64]


class Correlation(Summed):
    """Sums of products by channel, level and point: the part of a correlator that is merged over ranks.

    Attributes:
        channels: number of averages.
        levels: number of block lengths 1, m, m², ….
        points: p, points per level.
        averaged: m, samples of a level that make one of the next.
        products: (channels, levels, points) int64, number of terms in each sum.
        sums: of as many columns.
    """

    def __init__(self, channels: int, levels: int, points: int, averaged: int) -> None:
        """Sums without terms."""
        self.channels, self.levels, self.points, self.averaged = channels, levels, points, averaged
        self.products: NDArray[np.int64] = np.zeros((channels, levels, points), dtype=np.int64)
        self.sums = Total(channels * levels * points)

    @property
    def arguments(self) -> dict[str, Any]:
        """Channels, levels, points and averaged samples."""
        return {name: getattr(self, name) for name in ("channels", "levels", "points", "averaged")}

    def words(self) -> list[NDArray[np.int64]]:
        """Returns `products` and the words of `sums`."""
        return [self.products, *self.sums.words()]

    def table(self) -> CorrelationTable:
        """Returns the correlation at all lags of which there are products.

        Raises:
            PhysicsError: a sample was NaN or infinite, or too large for its square.
        """
        faults = self.sums.faults.reshape(self.channels, -1).sum(axis=1)
        if faults.any():
            channel = int(np.flatnonzero(faults)[0])
            raise PhysicsError(
                f"{faults[channel]} products of the samples of channel {channel} are not finite: a sample was NaN or "
                "infinite, or larger than 1e154 — check the samples, or give them in a larger unit"
            )
        first = self.points // self.averaged
        chosen = [
            (level, point)
            for level in range(self.levels)
            for point in range(first if level else 0, self.points)
            if self.products[:, level, point].any()
        ]
        index = np.array(chosen, dtype=np.int64).reshape(-1, 2)
        block = self.averaged ** index[:, 0]
        counts = self.products.ravel().tolist()  # a mean is within the range of float64, also where its sum is not
        means = [float(total / n) if n else math.nan for total, n in zip(self.sums.fractions(), counts, strict=True)]
        value = np.array(means).reshape(self.products.shape)[:, index[:, 0], index[:, 1]].T
        products = self.products[:, index[:, 0], index[:, 1]].T
        return CorrelationTable(index[:, 1] * block, value, products, block)

    def state_dict(self) -> dict[str, Any]:
        """Returns the sums as JSON-like values."""
        return {"arguments": self.arguments, "products": self.products.tolist(), "sums": self.sums.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Replaces the sums by those of a `state_dict`.

        Raises:
            ValueError: its channels, levels or points are others.
        """
        require_alike("Correlation", self.arguments, state["arguments"])
        self.products[:] = state["products"]
        self.sums.load_state_dict(state["sums"])


class Correlator:
    """Multiple-tau correlator: ⟨a(t) · a(t + τ)⟩ of vectors, averaged over time and over the items of each channel.

    An item is an atom, for example, and a channel its element. Row k of every sample is of the same item. Samples of
    level 0 are those given; m successive samples of a level are averaged to one of the next. Each level keeps its last
    p samples and multiplies the newest with them.

    It is for stored trajectories, and for programs that keep each item on one rank. An observer that holds a correlator
    of atoms cannot be continued from a checkpoint: the last samples are a row per item of this rank, while the state of
    an observer has to be JSON, equal on all ranks (`reporting.Stateful`). Writing the checkpoint refuses such a state.

    Lags below p samples are exact. Beyond, a lag τ of blocks of B = mˡ samples has the correlation of block averages,
    which is the correlation itself averaged with triangular weights over τ − B … τ + B. It differs by
    (B² − 1)/12 · C″(τ), and by terms with higher derivatives; B ≤ m τ/p. Where C decays as exp(−τ/T), that is
    a fraction (m τ/(p T))²/12 of C: with p = 16 and m = 2, 0.13 % at τ = T, and 0.5 % at τ = 2 T.

    Attributes:
        correlation: sums so far of the items here; `reduced(correlator.correlation, comm)` is that of all ranks.
        n_samples: number of samples so far.
    """

    def __init__(
        self, channel: NDArray[np.integer[Any]], channels: int, components: int, longest: int,
        points: int = 16, averaged: int = 2,
    ) -> None:  # fmt: skip
        """A correlator without samples; memory per item is 8 · components · points bytes times the levels reached.

        Args:
            channel: (items,) int, channel of each item, 0 … channels − 1.
            channels: number of averages, on all ranks the same.
            components: of a sample of one item.
            longest: longest lag, in samples.
            points: p, lags per level.
            averaged: m, samples of a level that make one of the next; p is a multiple of it.

        Raises:
            ValueError: a channel that does not exist, or numbers that do not fit each other.
        """
        if averaged < 2 or points < averaged or points % averaged or longest < 1 or components < 1:
            raise ValueError(
                f"points = {points} must be a multiple of averaged = {averaged}, at least 2; longest = {longest} and "
                f"components = {components} at least 1"
            )
        self._channel: NDArray[np.int64] = np.array(channel, dtype=np.int64)
        if len(self._channel) and not (0 <= self._channel.min() and self._channel.max() < channels):
            raise ValueError(f"channels {self._channel.min()} to {self._channel.max()} of {channels}")
        self._components, self._points, self._averaged = components, points, averaged
        levels = 1
        while (points - 1) * averaged ** (levels - 1) < longest:
            levels += 1
        self.correlation = Correlation(channels, levels, points, averaged)
        self.n_samples = 0
        self._history: list[NDArray[np.float64]] = []  # per level (items, points, components): a ring
        self._partial: list[NDArray[np.float64]] = []  # per level (items, components): to be averaged

    def add(self, sample: NDArray[np.floating[Any]]) -> None:
        """Adds a sample: `sample` (items, components).

        Raises:
            ValueError: it is of another shape; nothing is added.
        """
        values = np.array(sample, dtype=np.float64)
        wanted = (len(self._channel), self._components)
        if values.shape != wanted:
            raise ValueError(f"a sample of shape {values.shape}, where (items, components) = {wanted} is wanted")
        number = self.n_samples  # of the sample within its level
        self.n_samples += 1
        for level in range(self.correlation.levels):
            self._push(level, number, values)
            self._partial[level] += values
            if (number + 1) % self._averaged:
                return
            values = self._partial[level] / self._averaged
            self._partial[level][:] = 0.0
            number //= self._averaged

    def merge(self, other: Correlator) -> None:
        """Adds the items of another correlator behind those here; both have taken the same number of samples.

        Raises:
            ValueError: they have not, or lags, channels or components are others.
        """
        if (other.n_samples, other._components) != (self.n_samples, self._components):
            raise ValueError(
                f"items with {other.n_samples} samples of {other._components} components cannot be added to items with "
                f"{self.n_samples} of {self._components}"
            )
        self.correlation.merge(other.correlation)
        self._channel = np.concatenate([self._channel, other._channel])
        self._history = [np.concatenate(pair) for pair in zip(self._history, other._history, strict=True)]
        self._partial = [np.concatenate(pair) for pair in zip(self._partial, other._partial, strict=True)]

    def state_dict(self) -> dict[str, Any]:
        """Returns the content; JSON-like but for float64 arrays with a row per item, "history" and "partial".

        These are (items, points, components) and (items, components) for each level reached. The arrays make it unfit
        for `reporting.Stateful`.
        """
        return {
            "n_samples": self.n_samples,
            "correlation": self.correlation.state_dict(),
            "history": [ring.copy() for ring in self._history],
            "partial": [total.copy() for total in self._partial],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Replaces the content by that of a `state_dict`.

        Raises:
            ValueError: it is of other channels, lags, items or components.
        """
        shape = (len(self._channel), self._points, self._components)
        if any(ring.shape != shape for ring in state["history"]):
            raise ValueError(f"a state of items {state['history'][0].shape} for a correlator of items {shape}")
        self.correlation.load_state_dict(state["correlation"])
        self.n_samples = state["n_samples"]
        self._history = [ring.copy() for ring in state["history"]]
        self._partial = [total.copy() for total in state["partial"]]

    def _push(self, level: int, number: int, values: NDArray[np.float64]) -> None:
        """Adds a sample to the history of a level, and its products with the others: `values` (items, components)."""
        items = len(self._channel)
        if level == len(self._history):
            self._history.append(np.zeros((items, self._points, self._components)))
            self._partial.append(np.zeros((items, self._components)))
        ring, correlation = self._history[level], self.correlation
        newest = number % self._points
        ring[:, newest] = values
        first = self._points // self._averaged if level else 0
        last = min(number + 1, self._points)
        if last <= first:
            return
        size = np.bincount(self._channel, minlength=correlation.channels)
        correlation.products[:, level, first:last] += size[:, None]
        limbs = correlation.sums.limbs.reshape(correlation.channels, correlation.levels, self._points, -1)[:, level]
        faults = correlation.sums.faults.reshape(correlation.products.shape)[:, level]
        for start in range(0, items, MOST_TERMS):
            rows = slice(start, start + MOST_TERMS)
            correlation.sums.reserve(min(items - start, MOST_TERMS))
            _add_products(ring[rows], newest, first, last, self._channel[rows], limbs, faults)


@numba.njit(cache=True)
def _add_products(
    ring: NDArray[np.float64], newest: int, first: int, last: int, channel: NDArray[np.int64],
    limbs: NDArray[np.int64], faults: NDArray[np.int64],
) -> None:  # fmt: skip
    """Adds the products of the newest sample with those `first` … `last` − 1 samples before it.

    Args:
        ring: (items, points, components) the last samples.
        newest: place of the newest one.
        first: least lag.
        last: one more than the largest lag.
        channel: (items,) of each item.
        limbs: (channels, points, LIMBS) words of the sums, changed.
        faults: (channels, points) number of products that are not finite, changed.
    """
    points = ring.shape[1]
    for i in range(len(ring)):
        for lag in range(first, last):
            old = (newest - lag) % points
            product = 0.0
            for c in range(ring.shape[2]):
                product += ring[i, newest, c] * ring[i, old, c]
            if math.isfinite(product):
                add_term(limbs[channel[i], lag], product)
            else:
                faults[channel[i], lag] += 1
