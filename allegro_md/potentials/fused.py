"""``model = "NAME.allegro"`` on the fused engine: a folded network on hand-written CPU kernels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from allegro_md.backends.cuda import sums
from allegro_md.errors import InputError, PhysicsError
from allegro_md.evaluation import OF_EDGES, TOLERANCE, Evaluation, Needs, PotentialInfo, centroid_rows, wants_virial
from allegro_md.exact import ExactSum
from allegro_md.kernels.arguments import Atoms, Lists, Out
from allegro_md.kernels.cpu_single_layer_arrays import BLOCK_ROWS
from allegro_md.kernels.fixed import FINE
from allegro_md.models.allegro.network import Network
from allegro_md.models.fused.block_size import size_blocks
from allegro_md.models.fused.fold import UnfoldableError, class_reason, fold, obstacle
from allegro_md.models.fused.gpu import NO_CENTER
from allegro_md.models.fused.packing import FusedEvaluator
from allegro_md.models.fused.splines import scaled
from allegro_md.models.fused.tables import Tables
from allegro_md.neighbors.list import NeighborList
from allegro_md.potentials.base import Potential, host_arguments
from allegro_md.potentials.parts import Parts, spans
from allegro_md.potentials.trained import trained
from allegro_md.state import HOST, AtomState, DeviceArray

CENTERS = 1 << 16
"""Evaluated in one call: what is kept of each but its energy does not grow with the system."""

GPU_CENTERS = 1 << 22
"""Likewise on a GPU, where a call is a launch."""

PRECISIONS: dict[str, type[np.floating[Any]]] = {"mixed": np.float32, "double": np.float64}


class FusedPotential:
    """Radial tables and merged matrices instead of the network; block after block of centers, in constant memory.

    Attributes:
        info: description of itself; `tolerance` is that of the tables.
        kind: class of the folded model, "bilinear", "single-layer" or "multi-layer".
        reason: what decides the class, a phrase.
        intervals: of the tables.
        error: of the tables in double precision: largest error of a force component against the network on random
            environments, in units of max(1e-5 eV/Å, 1e-5 |F|).
    """

    members: tuple[Potential, ...] = ()

    def __init__(
        self,
        model: Network | str | Path,
        symbols: Sequence[str],
        precision: str = "mixed",
        tiles: int | None = None,
        weight: float = 1.0,
    ) -> None:
        """Folds a model for a system.

        Args:
            model: a network, or its file.
            symbols: of the system's species, in the order of its species table.
            precision: "mixed" (float32 tables and matrices) or "double".
            tiles: per block; None for the fastest.
            weight: all energies are multiplied by it; the tables are as fine as those of the whole.

        Raises:
            InputError: the file is no model, or the model does not know an element.
            UnfoldableError: it has no folded form, or none that is accurate enough.
        """
        network, where = trained(model, symbols)
        if problem := obstacle(network.architecture):
            what = f"the fused engine cannot run this model: {problem}"
            raise UnfoldableError(what, where, 'use engine = "reference"')
        shape = fold(network, symbols)
        tables = Tables(network, shape, symbols, None if isinstance(model, Network) else Path(model))
        self._tables: Tables | None = tables
        self.kind, self.reason = shape.kind, class_reason(network.architecture)
        self.intervals, self.error = tables.table.shape[1], tables.error
        self._evaluate = FusedEvaluator(*scaled(shape, tables.table, weight), PRECISIONS[precision], tiles or 1)
        if tiles is None and self.kind != "bilinear":
            size_blocks(self._evaluate, shape, max(network.architecture.neighbors_per_species))
        self.info = PotentialInfo(
            "allegro",
            float(network.architecture.cutoff),
            provides=OF_EDGES,
            precision="mixed" if precision == "mixed" else "double",
            tolerance=TOLERANCE,
            engine="fused",
            gpu_obstacle=self._evaluate.gpu_obstacle or "",
            description=self._description(),
            virial_bytes=0.0,
        )

    def release_tables(self, keep: bool) -> None:
        """Lets go of the tables in full precision, once they have been found right.

        Args:
            keep: beside the model file, for the next time; one rank is enough.
        """
        if keep and self._tables is not None:
            self._tables.keep()
        self._tables = None

    def _description(self) -> str:
        """For the log: class, accuracy and size."""
        blocks = "" if self.kind == "bilinear" else f"; blocks of {self._evaluate.tiles} x {BLOCK_ROWS} edges"
        return (
            f"fused engine, {self.kind}: {self.reason}; tables of {self.intervals} intervals, "
            f"{self._evaluate.table_bytes / 1e6:.2g} MB; forces within {self.error:.2g} of max(1e-5 eV/Å, 1e-5 |F|)"
            f"{blocks}"
        )

    def __call__(self, state: AtomState, lists: NeighborList, needs: Needs) -> Evaluation:
        """Evaluates the local atoms; adds the forces to the state (see `base.Potential`)."""
        return self.in_parts(state, lists, needs, Parts.whole(state))

    def in_parts(self, state: AtomState, lists: NeighborList, needs: Needs, parts: Parts) -> Evaluation:
        """Evaluates part by part, see `parts.InParts`.

        Raises:
            InputError: the state is on a GPU, where networks of this class cannot be evaluated.
        """
        return (self._on_host if state.device == HOST else self._on_gpu)(state, lists, needs, parts)

    def _on_host(self, state: AtomState, lists: NeighborList, needs: Needs, parts: Parts) -> Evaluation:
        n, virial, per_atom = state.n_local, wants_virial(needs), "virial_per_atom" in needs
        energy, total = np.empty(n), ExactSum.of(np.zeros((0, 6)), "virial")
        virials, centroid = np.zeros((n if per_atom else 0, 6)), centroid_rows(state, needs)
        force, ids = state.array_all("force"), state.host_all("id")
        atoms, pairs = host_arguments(state, lists)
        for first, last in (block for part in parts for block in spans(part.centers, CENTERS)):
            own = virials[first:last] if len(virials) else np.zeros((last - first if virial else 0, 6))
            status = self._evaluate(atoms, pairs, (first, last), Out(force, energy[first:last], own, centroid))
            if status != FINE:
                raise _out_of_range(int(ids[status]))
            total = total.plus(ExactSum.of(own, "virial", ids[first:last]))
        return _evaluation(needs, energy, virials, centroid, total)

    def _on_gpu(self, state: AtomState, lists: NeighborList, needs: Needs, parts: Parts) -> Evaluation:
        """Does the same on a GPU, where all but the virial and one status stays."""
        if self.info.gpu_obstacle:
            what = f"the fused engine cannot run this model on a GPU: {self.info.gpu_obstacle}"
            raise InputError(what, "potential.model", 'use device = "cpu"')
        evaluate, device = self._evaluate.on_device(state.device), state.device
        n, virial, per_atom = state.n_local, wants_virial(needs), "virial_per_atom" in needs
        energy: DeviceArray = torch.empty(n, dtype=torch.float64, device=device)
        virials: DeviceArray = torch.empty((n if per_atom else 0, 6), dtype=torch.float64, device=device)
        rows = state.n_all if "centroid_virial" in needs else 0
        centroid: DeviceArray = torch.zeros((rows, 9), dtype=torch.int64, device=device)
        total = ExactSum.of(np.zeros((0, 6)), "virial")
        status = torch.full((1,), NO_CENTER, dtype=torch.int64, device=device)
        position, shift, species, force = (state.array_all(name) for name in ("position", "shift", "species", "force"))
        atoms, pairs = Atoms(position, shift, species, state.cell.matrix), Lists(lists.offsets, lists.neighbors)
        for first, last in (block for part in parts for block in spans(part.centers, GPU_CENTERS)):
            own = virials[first:last] if per_atom else virials.new_empty((last - first if virial else 0, 6))
            out = Out(force, energy[first:last], own, centroid)
            evaluate(atoms, pairs, lists.longest, (first, last), out, status)
            if virial:
                total = total.plus(sums.summed(own, "virial", state, first))
        if (failed := int(status)) != NO_CENTER:
            raise _out_of_range(int(state.array_local("id")[failed]))
        return _evaluation(needs, energy, virials, centroid, total)


def _out_of_range(atom: int) -> PhysicsError:
    return PhysicsError(f"allegro: the forces on atom {atom} are not finite or out of range", [atom])


def _evaluation(
    needs: Needs, energy: DeviceArray, virials: DeviceArray, centroid: DeviceArray, total: ExactSum
) -> Evaluation:
    """Holds what is needed of the energies, virials per atom, centroid virials and the virial."""
    per_atom = {"energy": energy}
    if "virial_per_atom" in needs:
        per_atom["virial_per_atom"] = virials
    if "centroid_virial" in needs:
        per_atom["centroid_virial"] = centroid
    return Evaluation(per_atom, {"virial": total} if wants_virial(needs) else {})
