"""The network: species, cutoffs, scales and shifts around one of the two bodies; edges in, center energies out."""

from __future__ import annotations

import numpy as np
import torch
from ase.data import atomic_numbers

from allegro_md.kernels.segment import segment_sum
from allegro_md.models.allegro.architecture import Architecture, Dense
from allegro_md.models.allegro.dense import DenseWeights
from allegro_md.models.allegro.dense_evaluator import DenseEvaluator
from allegro_md.models.allegro.edges import Edges, Geometry
from allegro_md.models.allegro.geometry import envelope, polar
from allegro_md.models.allegro.residual import ResidualWeights
from allegro_md.models.allegro.residual_evaluator import ResidualEvaluator
from allegro_md.models.allegro.zbl import screening_length, zbl_energy

ZBL_ENVELOPE = 6.0


class Network(torch.nn.Module):
    """Allegro: the energy of each center is a sum over its own edges, so it depends on nothing beyond one cutoff.

    Attributes:
        architecture: hyper-parameters.
        dtype: of the weights.
        weights: parameters of the dense or residual body.
        scales: (species,) float64, eV per unit of the body's energies.
        shifts: (species,) eV, float64.
    """

    def __init__(self, architecture: Architecture, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        a = self.architecture = architecture
        self.dtype = dtype
        n = len(a.symbols)
        self.weights = DenseWeights(a, dtype) if isinstance(a, Dense) else ResidualWeights(a, dtype)
        self.scales = torch.nn.Parameter(torch.ones(n, dtype=torch.float64), requires_grad=a.trainable_scales)
        self.shifts = torch.nn.Parameter(torch.zeros(n, dtype=torch.float64), requires_grad=a.trainable_shifts)

    def initialize(self, seed: int) -> Network:
        """Draws all weights; returns itself."""
        self.weights.initialize(torch.Generator().manual_seed(seed))
        return self

    def count_weights(self) -> int:
        """Number of trainable numbers."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)

    def prepare(
        self, dtype: torch.dtype | None = None, device: torch.device | str = "cpu", weight: float = 1.0
    ) -> Evaluator:
        """Makes the parameters ready for evaluation.

        Args:
            dtype: of the network proper; geometry, scales, shifts and sums are always float64. Default: the weights'.
            device: where edges will live.
            weight: all energies are multiplied by it.
        """
        return Evaluator(self, dtype or self.dtype, torch.device(device), weight)

    def forward(self, edges: Edges) -> torch.Tensor:
        """(C,) energies in eV; differentiable with respect to edge vectors and parameters, twice."""
        return self.prepare(device=edges.vector.device)(edges)


class Evaluator:
    """A network made ready: evaluates blocks of edges.

    Attributes:
        cutoffs: (species, species) Å, [center, neighbor].
    """

    def __init__(self, network: Network, dtype: torch.dtype, device: torch.device, weight: float) -> None:
        a = self._a = network.architecture
        n = len(a.symbols)
        self._dtype = dtype
        self.cutoffs = np.array(a.pair_cutoffs) if a.pair_cutoffs else np.full((n, n), a.cutoff)
        self._inverse_cutoff = torch.as_tensor((1.0 / self.cutoffs).ravel(), device=device)
        body = network.weights
        self._plan: DenseEvaluator | ResidualEvaluator
        if isinstance(body, DenseWeights):
            self._plan, double_counting = DenseEvaluator(body, dtype, device), 2.0
        else:
            assert isinstance(body, ResidualWeights)
            self._plan, double_counting = ResidualEvaluator(body, dtype, device), 1.0
        norms = torch.tensor(a.neighbors_per_species, dtype=torch.float64, device=network.scales.device)
        self._factors = (weight * network.scales / torch.sqrt(double_counting * norms)).to(device)
        self._shifts = (weight * network.shifts).to(device)
        numbers = np.array([atomic_numbers[symbol] for symbol in a.symbols], dtype=np.float64)
        self._charges = torch.as_tensor(weight * np.outer(numbers, numbers).ravel(), device=device)
        self._lengths = torch.as_tensor(screening_length(numbers[:, None], numbers).ravel(), device=device)

    def __call__(self, edges: Edges) -> torch.Tensor:
        """(C,) energy of each center, eV, float64; `shifts` where a center has no edge."""
        if len(edges.vector) == 0:
            return self._shifts[edges.center_species] + edges.vector.sum()
        g = self._geometry(edges)
        n = len(g.center_species)
        edge_energy = self._plan.edge_energies(g).double()
        energy = self._factors[g.center_species] * segment_sum(edge_energy, g.center, n)
        energy = energy + self._shifts[g.center_species]
        if self._a.zbl:
            repulsion = zbl_energy(g.r, self._charges[g.pair], self._lengths[g.pair]) * envelope(g.x, ZBL_ENVELOPE)
            energy = energy + segment_sum(repulsion, g.center, n)
        return energy

    def _geometry(self, edges: Edges) -> Geometry:
        r, harmonics = polar(edges.vector, self._a.l_max)
        n = len(self._a.symbols)
        if n == 1:
            pair = torch.zeros_like(edges.center)
            reduced = r * self._inverse_cutoff
        else:
            pair = edges.center_species[edges.center] * n + edges.neighbor_species
            reduced = r * self._inverse_cutoff[pair]
        return Geometry(r, reduced, harmonics.to(self._dtype), pair, edges.center, edges.center_species)
