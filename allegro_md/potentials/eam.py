"""``kind = "eam"``: embedded-atom tables, in float64."""

from __future__ import annotations

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from allegro_md.config import EamTerm
from allegro_md.errors import InputError
from allegro_md.evaluation import OF_EDGES, Evaluation, Needs, PotentialInfo
from allegro_md.kernels.eam import Functions, eam
from allegro_md.neighbors.list import NeighborList
from allegro_md.potentials.base import Potential
from allegro_md.potentials.eam_file import EamTables, read_eam
from allegro_md.potentials.pair import PACKED, GpuParameters, evaluate
from allegro_md.potentials.parts import Parts
from allegro_md.state import AtomState, SpeciesTable


def hermite(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Piecewise cubics through equidistant values, with LAMMPS' choice of slopes.

    The slope at a point is the five-point difference quotient, the three-point one next to the ends, and the
    two-point one at the ends.

    Args:
        values: (..., n), n ≥ 5.

    Returns:
        (..., n − 1, 4) coefficients of the cubic in the fraction p of each interval, highest power first.
    """
    f = values
    slope = np.empty_like(f)
    slope[..., 2:-2] = (f[..., :-4] - f[..., 4:] + 8.0 * (f[..., 3:-1] - f[..., 1:-3])) / 12.0
    slope[..., 1], slope[..., -2] = 0.5 * (f[..., 2] - f[..., 0]), 0.5 * (f[..., -1] - f[..., -3])
    slope[..., 0], slope[..., -1] = f[..., 1] - f[..., 0], f[..., -1] - f[..., -2]
    rise, left, right = np.diff(f), slope[..., :-1], slope[..., 1:]
    return np.stack([left + right - 2.0 * rise, 3.0 * rise - 2.0 * left - right, left, f[..., :-1]], axis=-1)


class Eam:
    """E_i = F(ρ_i) + ½ Σ_j φ(r_ij), ρ_i = Σ_j ρ_j(r_ij); M. S. Daw, M. I. Baskes, Phys. Rev. B 29, 6443 (1984)."""

    members: tuple[Potential, ...] = ()

    def __init__(self, tables: EamTables, species: SpeciesTable) -> None:
        """Picks the elements of the system out of the tables.

        Raises:
            InputError: the tables lack an element of the system.
        """
        self.info = PotentialInfo(
            "eam", tables.cutoff, provides=OF_EDGES, files=(tables.path,), bytes_per_atom=PACKED, gpu_obstacle=""
        )
        rows = np.array([_row(tables, s, int(z)) for s, z in zip(species.symbols, species.numbers, strict=True)])
        density, r_phi = hermite(tables.density[rows]), hermite(tables.r_phi[np.ix_(rows, rows)])
        pairs = np.concatenate([np.broadcast_to(density[None], r_phi.shape), r_phi], axis=-1)
        embedding = hermite(tables.embedding[rows])
        self._functions = Functions(tables.cutoff, tables.rho_spacing, embedding, tables.r_spacing, pairs)
        self._on_gpu = gpu_parameters(self._functions)

    def __call__(self, state: AtomState, lists: NeighborList, needs: Needs) -> Evaluation:
        return self.in_parts(state, lists, needs, Parts.whole(state))

    def in_parts(self, state: AtomState, lists: NeighborList, needs: Needs, parts: Parts) -> Evaluation:
        """Evaluates part by part, see `parts.InParts`."""
        return evaluate(self.info.name, eam, (self._functions,), self._on_gpu, state, lists, needs, parts)


def gpu_parameters(functions: Functions) -> GpuParameters:
    """Makes those of the kernel of GPUs, which keeps five numbers and the neighbor of each edge."""
    (kinds, of_rho, _), of_r = functions.embedding.shape, functions.pairs.shape[2]
    embedding = functions.rho_spacing, functions.embedding, of_rho
    pairs = functions.r_spacing, functions.pairs, kinds, of_r
    return GpuParameters((functions.cutoff * functions.cutoff, *embedding, *pairs), edge_bytes=44)


def _row(tables: EamTables, symbol: str, number: int) -> int:
    """Position of an element in the tables."""
    for key in (symbol, number):
        if key in tables.elements:
            return tables.elements.index(key)
    named = dict(enumerate(chemical_symbols))  # funcfl has numbers
    known = ", ".join(key if isinstance(key, str) else named.get(key, str(key)) for key in tables.elements)
    raise InputError(f"no functions for {symbol}, only for {known}", str(tables.path), "use a table of that element")


def build(term: EamTerm, species: SpeciesTable) -> Eam:
    """The potential of an input section for the species of a system."""
    return Eam(read_eam(term.file), species)
