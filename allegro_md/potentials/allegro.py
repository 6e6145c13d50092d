"""``model = "NAME.allegro"``: an Allegro network on the reference engine (torch, autograd), or folded.

``engine = "auto"`` is the fused engine on the CPU where the network can be folded, else the reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from allegro_md.errors import InputError, PhysicsError, ResourceError, out_of_memory
from allegro_md.evaluation import OF_EDGES, Evaluation, Needs, PotentialInfo, TrainedModel, centroid_rows, wants_virial
from allegro_md.kernels.arguments import Atoms, Block, Lists, Out
from allegro_md.kernels.blocks import BLOCK_ROWS, TILES, fill_block, padded, spread_block
from allegro_md.kernels.centroid import spread_virials
from allegro_md.kernels.fixed import FINE
from allegro_md.models.allegro.edges import Edges
from allegro_md.models.allegro.network import Evaluator, Network
from allegro_md.models.fused.fold import UnfoldableError
from allegro_md.models.modelfile import read_document
from allegro_md.neighbors.list import NeighborList
from allegro_md.potentials.base import Potential, host_arguments
from allegro_md.potentials.fused import FusedPotential
from allegro_md.potentials.pair import PACKED
from allegro_md.potentials.parts import Parts
from allegro_md.potentials.trained import trained
from allegro_md.state import AtomState, on_host

NOT_SEEN = 'the fused engine has not been seen to run on a GPU yet: engine = "fused" asks for it'
"""Why the engine of GPUs is not the first choice there."""

PRECISIONS = {"mixed": torch.float32, "double": torch.float64}


class AllegroPotential:
    """Evaluates own centers block after block, in memory that does not grow with the system.

    A block holds whole centers, its edges padded to whole tiles; nothing of a result depends on how centers are
    divided into blocks. Geometry, scales, shifts and sums are in float64, the network proper in float32 ("mixed")
    or float64 ("double").

    Attributes:
        info: description of itself, with the reason why it is not the fused engine.
    """

    members: tuple[Potential, ...] = ()

    def __init__(
        self,
        model: Network | str | Path,
        symbols: Sequence[str],
        precision: str = "mixed",
        device: str = "cpu",
        tiles: int = TILES,
        reason: str = "asked for",
        weight: float = 1.0,
    ) -> None:
        """Prepares a model for a system.

        Args:
            model: a network, or its file.
            symbols: of the system's species, in the order of its species table.
            precision: "mixed" or "double".
            device: where the network is evaluated.
            tiles: per block; halved when memory runs out.
            reason: why it is this engine.
            weight: all energies are multiplied by it.

        Raises:
            InputError: the file is no model, or the model does not know an element.
        """
        network, _ = trained(model, symbols)
        known = network.architecture.symbols
        self.info = PotentialInfo(
            "allegro",
            float(network.architecture.cutoff),
            provides=OF_EDGES,
            precision="mixed" if precision == "mixed" else "double",
            engine="reference",
            description=f"reference engine, {reason}",
            bytes_per_atom=PACKED,
        )
        self._species = np.array([known.index(symbol) for symbol in symbols], dtype=np.int64)
        self._device = torch.device(device)
        with torch.no_grad():
            self._evaluate: Evaluator = network.prepare(PRECISIONS[precision], self._device, weight)
        self._cutoff2 = self._evaluate.cutoffs**2
        self._tiles = tiles

    def __call__(self, state: AtomState, lists: NeighborList, needs: Needs) -> Evaluation:
        """Evaluates the local atoms; adds the forces to the state (see `base.Potential`)."""
        return self.in_parts(state, lists, needs, Parts.whole(state))

    def in_parts(self, state: AtomState, lists: NeighborList, needs: Needs, parts: Parts) -> Evaluation:
        """Evaluates part by part, see `parts.InParts`."""
        force = state.array_all("force")
        host_force = on_host(force)  # the same memory where the state is on the host
        n = state.n_local
        energy, virials = np.empty(n), np.zeros((n if wants_virial(needs) else 0, 6))
        centroid = centroid_rows(state, needs)
        out = Out(host_force, energy, virials, centroid)
        atoms, pairs = host_arguments(state, lists)
        atoms = atoms._replace(species=self._species[atoms.species])
        for part in parts:
            status = self._evaluate_centers(part.centers, atoms, pairs, out)
            if status != FINE:
                atom = int(state.array_all("id")[status])
                raise PhysicsError(f"allegro: the forces on atom {atom} are not finite or out of range", [atom])
        if host_force is not force:
            force[...] = state.device_array(host_force)
        return Evaluation.of(state, needs, energy, virials, centroid)

    def _evaluate_centers(self, centers: tuple[int, int], atoms: Atoms, lists: Lists, out: Out) -> int:
        """Evaluates a range of centers block after block.

        Args:
            centers: the first, and the one after the last.
            atoms, lists, out: see `arguments`; species are those of the model.

        Returns:
            `FINE`, or an atom whose forces are out of range.
        """
        first, last = centers
        lists = lists._replace(offsets=lists.offsets[: last + 1])
        while first < last:
            taken = 0
            try:
                block, taken, edges = self._gather(first, atoms, lists)
                values, gradient = self._block(block, atoms.species[first : first + taken], atoms.species)
            except (RuntimeError, MemoryError) as error:
                self._halve(taken, error)
                continue
            virial = out.virial[first : first + taken] if len(out.virial) else out.virial
            status = spread_block(first, edges, block, gradient, out.force, virial)
            if status == FINE and len(out.centroid):
                status = spread_virials(first, edges, block, gradient, out.centroid)
            if status != FINE:
                return int(status)
            out.energy[first : first + taken] = values[:taken]
            first += taken
        return FINE

    def _gather(self, first: int, atoms: Atoms, lists: Lists) -> tuple[Block, int, int]:
        """The next block, its number of centers and of edges; more tiles where one center fills them all."""
        rows = self._tiles * BLOCK_ROWS
        while True:
            block = Block(np.empty((rows, 3)), np.empty(rows, dtype=np.int64), np.empty(rows, dtype=np.int64))
            taken, edges = fill_block(first, atoms, lists, self._cutoff2, block)
            if taken:  # the last block of a rank may need fewer tiles
                used = padded(edges)
                return Block(block.vector[:used], block.center[:used], block.neighbor[:used]), taken, edges
            rows = padded(edges)

    def _block(
        self, block: Block, centers: NDArray[np.int64], species: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Energies of the centers (and of the padding) and edge gradients (rows, 3).

        Args:
            block: vectors, centers and neighbors of the edges.
            centers: (n,) species of the centers.
            species: (n_all,) species of all atoms.
        """
        vectors, center, neighbor = block
        vector = torch.from_numpy(vectors).to(self._device, copy=True).requires_grad_()
        edges = Edges(
            vector,
            torch.from_numpy(center).to(self._device),
            torch.from_numpy(np.append(centers, 0)).to(self._device),
            torch.from_numpy(species[neighbor]).to(self._device),
        )
        energy = self._evaluate(edges)
        (gradient,) = torch.autograd.grad(energy, vector, torch.ones_like(energy))
        return energy.detach().cpu().numpy(), gradient.cpu().numpy()

    def _halve(self, taken: int, error: Exception) -> None:
        """Half as many tiles, for this block and all that follow, when memory ran out."""
        if not out_of_memory(error):
            raise error
        if taken == 1 or self._tiles == 1:
            raise ResourceError(f"{self.info.name}: out of memory for the smallest block of edges") from error
        self._tiles //= 2


def described(
    potential: AllegroPotential | FusedPotential, model: Network | str | Path, symbols: Sequence[str], weight: float
) -> Potential:
    """Adds to a potential's description what follows from its model: file, distances, and ways to make it again."""

    def rebuild(symbols: Sequence[str], engine: str, precision: str, weight: float) -> Potential:
        return choose(model, symbols, engine, precision, "cpu", weight)

    info = potential.info
    if info.engine == "fused" or info.precision == "mixed":
        info = replace(info, reference=lambda: rebuild(symbols, "reference", "double", weight))
    if not isinstance(model, Network):
        info = replace(
            info,
            files=(Path(model),),
            min_distance=read_document(model)["shortest_distance"],
            model=TrainedModel(Path(model), weight, rebuild, lambda: read_document(model)["test"]),
        )
    potential.info = info
    return potential


def choose(
    model: Network | str | Path,
    symbols: Sequence[str],
    engine: str = "auto",
    precision: str = "mixed",
    device: str = "auto",
    weight: float = 1.0,
) -> Potential:
    """A model on an engine; "auto" is the fused one on the CPU where the model can be folded, else the reference.

    Args:
        model: a network, or its file.
        symbols: of the system's species, in the order of its species table.
        engine: "auto", "reference" or "fused".
        precision: "mixed" or "double".
        device: "auto", "cpu" or "cuda".
        weight: all energies are multiplied by it.

    Raises:
        InputError: see `AllegroPotential` and `FusedPotential`; or a device that is not there.
    """
    place, reason = "cpu", "asked for"  # auto: both engines are at home on the CPU
    if device == "cuda":
        if not torch.cuda.is_available():
            raise InputError("device = \"cuda\", but torch finds no GPU", "potential.device", 'use device = "auto"')
        place, reason = "cuda", "asked for" if engine == "reference" else NOT_SEEN
    if engine == "fused" or (engine == "auto" and place == "cpu"):
        try:
            fused = FusedPotential(model, symbols, precision, weight=weight)
            if place == "cuda" and (obstacle := fused.info.gpu_obstacle):
                what = f"the fused engine cannot run this model on a GPU: {obstacle}"
                raise UnfoldableError(what, "potential.model", 'use device = "cpu" or engine = "reference"')
            return described(fused, model, symbols, weight)
        except UnfoldableError as error:
            if engine == "fused":
                raise
            reason = error.what
    potential = AllegroPotential(model, symbols, precision, place, reason=reason, weight=weight)
    return described(potential, model, symbols, weight)
