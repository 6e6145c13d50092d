"""Published scaling of Allegro on GPUs, and a forecast of its multi-GPU rows from its rows on one GPU alone.

A. Musaelian et al., Nat. Commun. 14, 579 (2023), table 4: A100 GPUs of DGX nodes with eight each, 2 fs per step of
Li3PO4, 5 fs of Ag. Times follow from the printed ns/day: the printed µs per atom and step of the eight rows of 421,824
Li3PO4 atoms are 0.70 of what ns/day, the number of atoms and the time step give, while the other rows agree.
"""

from __future__ import annotations

from dataclasses import dataclass

from allegro_md.scaling.bricks import Bricks
from allegro_md.scaling.devices import DEVICES, LINKS
from allegro_md.scaling.forecast import Costs, Intervals, LinearCost, StepTime, step_time
from allegro_md.scaling.network import Link, Network

SKIN = 1.0
"""Of the neighbor lists, Å, which the paper does not state: an estimate."""


@dataclass(frozen=True)
class PublishedRow:
    """A row of the table.

    Attributes:
        system: "Li3PO4" or "Ag".
        atoms: in all.
        gpus: ranks.
        ns_per_day: as printed.
        printed_us: µs per atom and step as printed.
    """

    system: str
    atoms: int
    gpus: int
    ns_per_day: float
    printed_us: float

    @property
    def seconds(self) -> float:
        """Time of a step that follows from ns/day, s."""
        return 86_400.0 * TIMESTEPS[self.system] * 1e-6 / self.ns_per_day

    @property
    def us_per_atom(self) -> float:
        """Time per atom and step that follows from ns/day, µs."""
        return 1e6 * self.seconds / self.atoms


TIMESTEPS = {"Li3PO4": 2.0, "Ag": 5.0}
"""fs."""

DENSITIES = {"Li3PO4": 0.1, "Ag": 71.0 / (18 * 4.09**3)}
"""Atoms per Å³: of the amorphous Li3PO4 about that, of Ag 71 atoms in 3 x 3 x 2 cubic cells."""

CUTOFF = 4.0
"""Å, of both models."""

ROWS = tuple(
    PublishedRow(*row) for row in (
        ("Li3PO4", 192, 1, 32.391, 27.785), ("Li3PO4", 421_824, 1, 0.518, 0.552), ("Li3PO4", 421_824, 2, 1.006, 0.284),
        ("Li3PO4", 421_824, 4, 1.994, 0.143), ("Li3PO4", 421_824, 8, 3.810, 0.075),
        ("Li3PO4", 421_824, 16, 6.974, 0.041), ("Li3PO4", 421_824, 32, 11.530, 0.025),
        ("Li3PO4", 421_824, 64, 15.515, 0.018), ("Li3PO4", 50_331_648, 128, 0.274, 0.013),
        ("Ag", 71, 1, 90.190, 67.463), ("Ag", 1_022_400, 1, 1.461, 0.289), ("Ag", 1_022_400, 2, 2.648, 0.160),
        ("Ag", 1_022_400, 4, 5.319, 0.079), ("Ag", 1_022_400, 8, 10.180, 0.042), ("Ag", 1_022_400, 16, 18.812, 0.022),
        ("Ag", 1_022_400, 32, 28.156, 0.015), ("Ag", 1_022_400, 64, 43.438, 0.010),
        ("Ag", 1_022_400, 128, 49.395, 0.009), ("Ag", 100_640_512, 128, 1.539, 0.003),
    )
)  # fmt: skip
"""Table 4 as printed."""


def of_system(system: str) -> list[PublishedRow]:
    """The rows of a system: two on one GPU first, then those on several."""
    return [row for row in ROWS if row.system == system]


def one_gpu_costs(system: str) -> Costs:
    """Costs of a GPU from the two rows on one: seconds = fixed + atoms · t_c."""
    small, large = (row for row in of_system(system) if row.gpus == 1)
    per_atom = (large.seconds - small.seconds) / (large.atoms - small.atoms)
    return Costs(LinearCost(small.seconds - small.atoms * per_atom, per_atom))


def paper_network() -> Network:
    """DGX A100 nodes; buffers go through host memory, so that both links have the latency of a copy and a message."""
    inside, between = LINKS["nvlink-3"].link, LINKS["infiniband-hdr"].link
    adapters = DEVICES["a100"].adapters
    return Network(8, inside, Link(inside.latency + between.latency, between.overhead, adapters * between.bandwidth))


def forecast(row: PublishedRow) -> StepTime:
    """Forecasts a row by the closed form with the staged exchange, which LAMMPS makes; nothing is fitted to it.

    Rebuilds, integrator and lists are in the time per atom of one GPU already; a reduction per step is assumed.
    """
    bricks = Bricks.cubes(row.atoms, row.gpus, DENSITIES[row.system], CUTOFF + SKIN)
    return step_time(bricks, one_gpu_costs(row.system), paper_network(), Intervals(rebuild=1e9, reduce=1.0), "staged")
