"""Checkpoint and last frame of a run directory, read in pieces, in memory that does not grow with them."""

from __future__ import annotations

import hashlib
import json
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from allegro_md import read_trajectory

BLOCK = 16384
"""Atoms per checksum of a checkpoint."""

PIECE = 64 * BLOCK
"""Atoms read at a time."""


def read_back(directory: Path) -> dict[str, Any]:
    """Reads the newest checkpoint and, of the trajectory, its step (or the last frame).

    Returns:
        Whether all ids are there once, checksums agree, positions are finite and the same in both files.
    """
    began = time.perf_counter()
    newest = max(directory.glob("checkpoint-*.h5"), key=lambda path: int(path.stem.partition("-")[2]))
    shown = directory / "trajectory.h5"
    with h5py.File(newest) as saved, read_trajectory(shown) as trajectory, h5py.File(shown) as raw:
        header = json.loads(saved["header"][:].tobytes())
        steps = trajectory.steps.tolist()
        same = header["step"] in steps
        frame = trajectory[steps.index(header["step"]) if same else -1]
        n_atoms = header["n_total"]
        figures: dict[str, Any] = {
            "checkpoint": newest.name,
            "frame_of_step": frame.step,
            "atoms": [n_atoms, int(saved["id"].shape[1]), trajectory.n_atoms],
            "ids_once_in_checkpoint": all(in_order(saved["id"][0, a:b], a) for a, b in pieces(n_atoms)),
            "ids_once_in_frame": all(in_order(raw["particles/all/id"][a:b], a) for a, b in pieces(n_atoms)),
            "checksums_agree": all(checksums(saved, name, header) for name in header["digests"]),
        }
        far = [distance(saved["position"][0, a:b], frame.atoms(a, b).position, header["cell"]["matrix"])
               for a, b in pieces(n_atoms)]
    figures["positions_finite"] = bool(np.isfinite(far).all())
    if same:
        figures["largest_distance_between_checkpoint_and_frame_A"] = max(far)
    figures["seconds"] = round(time.perf_counter() - began, 1)
    figures["peak_memory_MB"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
    return figures


def pieces(n_atoms: int) -> Iterator[tuple[int, int]]:
    """First atom and atom after the last of each."""
    for first in range(0, n_atoms, PIECE):
        yield first, min(n_atoms, first + PIECE)


def in_order(ids: NDArray[np.int64], first: int) -> bool:
    """Whether a piece holds the ids from its first atom's on: then all of them are there, and none twice."""
    return bool(np.array_equal(ids, np.arange(first, first + len(ids))))


def checksums(file: h5py.File, name: str, header: dict[str, Any]) -> bool:
    """Whether the blocks of a field have the digests that were saved with them."""
    digests = header["digests"][name]
    for first, last in pieces(header["n_total"]):
        rows = file[name][0, first:last]
        found = [hashlib.sha256(rows[k : k + BLOCK].tobytes()).hexdigest() for k in range(0, len(rows), BLOCK)]
        if found != digests[first // BLOCK : first // BLOCK + len(found)]:
            return False
    return True


def distance(unwrapped: NDArray[np.float64], wrapped: NDArray[Any], matrix: list[list[float]]) -> float:
    """Largest distance between the same atoms in both files, Å, whatever cell each image lies in."""
    cell = np.array(matrix)
    apart = (unwrapped - wrapped) @ np.linalg.inv(cell)
    return float(np.linalg.norm((apart - np.round(apart)) @ cell, axis=1).max())
