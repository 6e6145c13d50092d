"""Awkward places for atoms to be, by name."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from systems import grid_points

Array = NDArray[np.float64]
Flags = tuple[bool, bool, bool]

EPSILON, SIGMA = 0.01, 2.2


@dataclass(frozen=True)
class Place:
    """A configuration; rows of free axes may be zero. `images`: lattice vectors the atoms have traveled from x."""

    x: Array
    rows: Array
    periodic: Flags = (True, True, True)
    cutoff: float = 5.0
    skin: float = 0.4
    potential: str = "lj"
    origin: Array = field(default_factory=lambda: np.zeros(3))
    images: int | NDArray[np.int64] = 0

    @property
    def start(self) -> Array:
        """Where the engine finds the atoms."""
        return self.x + self.images @ self.rows if isinstance(self.images, np.ndarray) else self.x


def _beside(value: float) -> list[float]:
    return [value, float(np.nextafter(value, -np.inf)), float(np.nextafter(value, np.inf))]


def on_faces(box: float, spacing: float, seed: int) -> Array:
    """A lattice with atoms on every face, edge and corner of the box and of the bricks of 2, 4 and 8 ranks.

    They sit on them exactly, one bit beside them, as −0.0, or a whole box away; only atoms off all of these planes
    are displaced, so that the forces are not zero.
    """
    rng = np.random.default_rng(seed)
    x = grid_points((round(box / spacing),) * 3, spacing, 0.0, 0)
    planes = {0.0: [-0.0, *_beside(0.0), *_beside(box), *_beside(-box), 2.0 * box]}
    planes[box / 2] = [*_beside(box / 2), -box / 2]
    inside = np.ones(len(x), dtype=bool)
    for atom, k in np.ndindex(*x.shape):
        for plane, choices in planes.items():
            if abs(x[atom, k] - plane) < 1e-9:
                x[atom, k] = rng.choice(choices)
                inside[atom] = False
    assert inside.any() and not inside.all()
    x[inside] += rng.normal(scale=0.1, size=x[inside].shape)
    return x


def cluster(n: int, spacing: float, radius: float, seed: int) -> Array:
    """A ball of about n atoms."""
    m = int(np.ceil(n ** (1 / 3))) + 3
    x = grid_points((m, m, m), spacing, 0.1, seed)
    center = np.full(3, spacing * (m - 1) / 2)
    return x[np.linalg.norm(x - center, axis=1) < radius] - center


def places() -> dict[str, Place]:
    """All of them."""
    fcc = 1.3 * np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]])
    cube = grid_points((5, 5, 5), 2.6, 0.1, 1)
    box = np.eye(3) * 13.0
    tilted = np.array([[13.0, 0.0, 0.0], [16.0, 13.0, 0.0], [-29.0, 21.0, 13.0]])
    chain, plate = (True, False, False), (True, True, False)
    travel = np.random.default_rng(2).integers(-50, 50, size=cube.shape)
    two = np.array([[0.1, 0.2, -0.1], [1.3, 1.6, 1.2]])
    low = np.array([[2.6, 0.0, 0.0], [0.7, 2.9, 0.0], [-1.1, 0.4, 3.1]])
    drop = cluster(30, 2.6, 5.0, 12)
    none = (False, False, False)
    out = {
        "one-atom-primitive": Place(np.array([[0.3, 0.0, 0.0]]), fcc, cutoff=6.0),
        "one-atom-alone": Place(np.array([[5.0, -3.0, 2.0]]), np.zeros((3, 3)), none),
        "two-atoms-small-cell": Place(two, low, cutoff=7.3),
        "two-atoms-no-skin": Place(two, low, cutoff=7.3, skin=0.0),
        "two-atoms-apart": Place(np.array([[0.0, 0, 0], [500.0, 0, 0]]), np.zeros((3, 3)), none),
        "three-atoms": Place(np.array([[0.0, 0, 0], [2.4, 0, 0], [0, 2.5, 12.9]]), box, cutoff=6.0),
        "cube": Place(cube, box),
        "wide-skin": Place(cube, box, skin=9.0),
        "left-handed": Place(cube[:, [1, 0, 2]], box[[1, 0, 2]]),
        "displaced-origin": Place(cube, box, origin=np.array([-41.3, 6.5, 1e3])),
        "tilted": Place(cube, tilted),
        "tilted-far-away": Place(cube, tilted, images=travel),
        "far-away": Place(cube, box, images=travel),
        "needle": Place(grid_points((12, 1, 1), 2.6, 0.1, 3), np.diag([31.2, 2.7, 2.8]), cutoff=6.1),
        "plate": Place(grid_points((5, 5, 1), 2.6, 0.1, 4), np.diag([13.0, 13.0, 2.6]), cutoff=6.1),
        "slab-free-z": Place(cube, box, plate),
        "slab-free-z-no-vector": Place(cube, np.diag([13.0, 13.0, 0.0]), plate),
        "slab-free-x": Place(cube, np.array([[0.0, 0, 0], [1.0, 13.0, 0], [0.0, 6.0, 13.0]]), (False, True, True)),
        "slab-in-vacuum": Place(cube, np.diag([13.0, 13.0, 70.0])),
        "thin-slab-tilted": Place(
            grid_points((5, 5, 1), 2.6, 0.1, 5), np.array([[13.0, 0, 0], [11.0, 13.0, 0], [0, 0, 0]]), plate
        ),
        "chain": Place(grid_points((8, 1, 1), 2.6, 0.1, 6), np.diag([20.8, 0, 0]), chain),
        "chain-aslant": Place(
            np.array([[0.0, 0, 0], [1.4, 1.5, 1.3]]), np.array([[0, 0, 0], [0, 0, 0], [2.8, 3.1, 2.7]]),
            (False, False, True), cutoff=9.0,
        ),
        "free": Place(cube - 200.0, np.zeros((3, 3)), none),
        "free-with-cell": Place(cube * 1.5, np.eye(3) * 10.0, none, cutoff=6.5),
        "flat": Place(grid_points((6, 6, 1), 2.6, 0.1, 7) * [1.0, 1.0, 0.0], np.zeros((3, 3)), none),
        "straight": Place(grid_points((9, 1, 1), 2.6, 0.1, 8) * [0.0, 0.0, 0.0] + grid_points((1, 1, 9), 2.6, 0.0, 9)
                          * (1.0 + 0.01 * np.arange(9)[:, None]), np.zeros((3, 3)), none),
        "droplet-free": Place(cluster(60, 2.6, 7.0, 10), np.zeros((3, 3)), none),
        "droplet-in-corner": Place(cluster(60, 2.6, 7.0, 11), np.eye(3) * 60.0),
        "two-droplets": Place(np.concatenate([drop, drop[::-1] + 300.0]), np.zeros((3, 3)), none),
        "faces-8": Place(on_faces(8.0, 2.0, 14), np.eye(3) * 8.0, cutoff=4.0),
        "faces-10.4": Place(on_faces(10.4, 2.6, 15), np.eye(3) * 10.4),
        "faces-free": Place(on_faces(8.0, 2.0, 16) % 8.0, np.eye(3) * 8.0, none, cutoff=4.0),
    }  # fmt: skip
    skew = np.array([[1.0, 0.0, 0.0], [0.7, 1.0, 0.0], [-1.3, 0.4, 1.0]])
    out["faces-tilted"] = Place(on_faces(10.4, 2.6, 17) @ skew, 10.4 * skew)
    copper = 1.82 * np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]])
    out["allegro-one-atom"] = Place(np.array([[0.3, 0.0, 0.0]]), copper, potential="allegro")
    out["allegro-two-atoms"] = Place(
        np.array([[0.0, 0, 0], [2.1, 1.3, 1.9]]), np.diag([3.6, 3.7, 3.5]), potential="allegro"
    )
    out["allegro-chain"] = Place(
        grid_points((5, 1, 1), 2.5, 0.1, 18), np.diag([12.5, 0, 0]), chain, potential="allegro"
    )
    out["allegro-tilted"] = Place(grid_points((3, 3, 3), 2.5, 0.1, 19), 7.5 * skew, potential="allegro")
    out["allegro-droplet"] = Place(cluster(20, 2.5, 4.5, 20), np.zeros((3, 3)), none, potential="allegro")
    return out
