"""Image sums written for the tests alone: O(N²), numpy, nothing of the engine."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np


def pairs(positions: Any, cell: Any, pbc: Any, cutoff: Any) -> Any:
    """All ordered pairs within the cutoff: center, neighbor, integer shift, vector; sorted by center, neighbor, shift.

    `cutoff` may be a number or an (N, N) table.
    """
    positions = np.asarray(positions, dtype=float)
    cell = np.asarray(cell, dtype=float)
    largest = float(np.max(cutoff)) if len(positions) else 0.0
    counts = []
    for axis in range(3):
        if not pbc[axis]:
            counts.append(0)
            continue
        others = [k for k in range(3) if k != axis]
        # Distance between lattice planes; vectors of free axes may be zero, then lattice lines or points.
        normal = cell[axis].copy()
        basis = np.array([cell[k] for k in others if pbc[k]])
        if len(basis):
            q, _ = np.linalg.qr(basis.T)
            normal = normal - q @ (q.T @ normal)
        spread = np.ptp(positions @ (normal / np.linalg.norm(normal)))
        counts.append(int(np.ceil((largest + spread) / np.linalg.norm(normal))) + 1)
    rows = []
    for shift in itertools.product(*(range(-n, n + 1) for n in counts)):
        offset = np.array(shift) @ cell
        vector = positions[None, :, :] + offset - positions[:, None, :]
        distance = np.linalg.norm(vector, axis=-1)
        near = distance < cutoff
        if shift == (0, 0, 0):
            np.fill_diagonal(near, False)
        for i, j in np.argwhere(near):
            rows.append((i, j, shift, vector[i, j]))
    rows.sort(key=lambda row: row[:3])
    center = np.array([row[0] for row in rows], dtype=np.int64)
    neighbor = np.array([row[1] for row in rows], dtype=np.int64)
    shifts = np.array([row[2] for row in rows], dtype=np.int64).reshape(-1, 3)
    vectors = np.array([row[3] for row in rows], dtype=float).reshape(-1, 3)
    return center, neighbor, shifts, vectors
