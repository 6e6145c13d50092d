"""Configurations of silver, labeled by an embedded-atom potential: runs of the program itself, read back.

Each run is one small cell: the 3 × 3 × 2 cubic cells of the fcc crystal (72 sites, one of them empty in most), strained
or not, at one temperature. Its frames hold positions and forces; energies and stresses come from `thermo.csv`.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.io import write
from numpy.typing import NDArray

from allegro_md import Simulation, read_trajectory
from allegro_md.units import AMU_A2_PER_FS2, EV_PER_A3_IN_GPA

Array = NDArray[np.float64]

VOIGT = ("xx", "yy", "zz", "yz", "xz", "xy")

SITES = (3, 3, 2)
SMALL = 4.09  # Å, lattice constant of the potential
TIMESTEP = 4.0  # fs

INPUT = """
[system]
structure = "start.traj"

[system.velocities]
temperature = {start}
seed = {seed}

[potential]
kind = "eam"
file = "{table}"

[dynamics]
ensemble = "nvt-nose-hoover"
timestep = {timestep}
steps = {steps}
temperature = {temperature}

[guard]
min_distance = 0.0

[output]
directory = "run"
trajectory = {{ every = {every}, fields = ["position", "velocity", "force"], dtype = "float64" }}
thermo = {{ every = {every} }}
"""

STATIC = """
[system]
structure = "start.traj"

[potential]
{potential}

[dynamics]
ensemble = "nve"
timestep = 1.0
steps = 0

[output]
directory = "run"
trajectory = {{ every = 1, fields = ["position", "velocity", "force"], dtype = "float64" }}
"""

STRAINS = {
    "isotropic": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    "uniaxial": ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0), (0.0, 0.0, 1.0)),
    "tetragonal": ((-0.5, 0.0, 0.0), (0.0, -0.5, 0.0), (0.0, 0.0, 1.0)),
    "shear": ((0.0, 1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 0.0)),
    "oblique": ((0.0, 0.5, 0.5), (0.5, 0.0, 0.5), (0.5, 0.5, 0.0)),
}


@dataclass(frozen=True)
class Frame:
    """One labeled configuration.

    Attributes:
        kind: name of the run it is from.
        cell: (3, 3) Å, rows.
        position: (n, 3) Å.
        energy: eV.
        force: (n, 3) eV/Å.
        stress: (3, 3) eV/Å³, of the potential energy alone, positive in tension.
    """

    kind: str
    cell: Array
    position: Array
    energy: float
    force: Array
    stress: Array


@dataclass(frozen=True)
class Recipe:
    """One run.

    Attributes:
        kind: what its frames are counted under.
        temperature: K.
        lattice: Å, of the undeformed crystal.
        strain: (3, 3), deforms it.
        empty: number of sites without an atom.
        rattle: Å, standard deviation of the displacements at the start.
        skipped: frames at the start that are not used.
        frames: that are.
        every: steps between frames.
        seed: of everything random.
    """

    kind: str
    temperature: float
    lattice: float = SMALL
    strain: tuple[tuple[float, float, float], ...] = ((0.0,) * 3,) * 3
    empty: int = 1
    rattle: float = 0.02
    skipped: int = 3
    frames: int = 1
    every: int = 100
    seed: int = 0

    def start(self) -> Atoms:
        """The crystal before the run."""
        rng = np.random.default_rng(self.seed)
        atoms = bulk("Ag", "fcc", a=self.lattice, cubic=True) * SITES
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + np.array(self.strain)), scale_atoms=True)
        del atoms[rng.choice(len(atoms), size=self.empty, replace=False).tolist()]
        atoms.positions += rng.normal(scale=self.rattle, size=(len(atoms), 3)) if self.rattle else 0.0
        return atoms


def run(recipe: Recipe, table: Path) -> list[Frame]:
    """Frames of a run, labeled."""
    source = INPUT.format(
        start=2.0 * recipe.temperature, temperature=recipe.temperature, seed=recipe.seed, table=table,
        timestep=TIMESTEP, steps=recipe.every * (recipe.skipped + recipe.frames - 1), every=recipe.every,
    )
    return label(recipe.kind, recipe.start(), source)[recipe.skipped :]


def label(kind: str, atoms: Atoms, source: str, repeat: tuple[int, int, int] = (1, 1, 1)) -> list[Frame]:
    """All frames of the run of an input that starts from copies of `atoms`."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder / "start.traj", atoms)
        (folder / "run.toml").write_text(source)
        with contextlib.redirect_stdout(io.StringIO()):
            Simulation.from_toml(folder / "run.toml").run()
        columns = np.genfromtxt(folder / "run" / "thermo.csv", delimiter=",", names=True)
        with read_trajectory(folder / "run" / "trajectory.h5") as trajectory:
            frames = [(frame.position, frame.velocity, frame.force) for frame in trajectory]
    cell, mass = atoms.cell.array * np.array(repeat)[:, None], atoms.get_masses()[0] * AMU_A2_PER_FS2
    volume = abs(np.linalg.det(cell))
    return [
        Frame(kind, cell, p, float(row["potential_eV"]), f, _stress(row) + mass * v.T @ v / volume)
        for (p, v, f), row in zip(frames, np.atleast_1d(columns), strict=True)
    ]


def _stress(row: np.void) -> Array:
    xx, yy, zz, yz, xz, xy = (float(row[f"s{axes}_GPa"]) / EV_PER_A3_IN_GPA for axes in VOIGT)
    return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])


def static(atoms: Atoms, potential: str) -> Frame:
    """A configuration as it is; `potential` is the inside of the section [potential]."""
    return label("static", atoms, STATIC.format(potential=potential))[0]


def training_runs() -> list[Recipe]:
    """What the network sees: the crystal from 300 to 1,200 K, its vacancies, strained cells, and close pairs."""
    recipes = []
    for temperature, lattice in itertools.product((300.0, 600.0, 900.0, 1200.0), (4.03, 4.09, 4.13, 4.18)):
        for empty in (0, 1, 2):
            recipes.append(Recipe("crystal", temperature, lattice, empty=empty))
    for size, (shape, tensor) in itertools.product((-0.05, -0.03, 0.03, 0.05), STRAINS.items()):
        scaled = tuple(tuple(size * x for x in row) for row in tensor)
        recipes.append(Recipe(shape, 300.0, strain=scaled, empty=0))
        recipes.append(Recipe(shape, 600.0, strain=scaled))
    for lattice in (3.7, 3.85, 4.0, 4.25):
        recipes.append(Recipe("melt", 3000.0, lattice, rattle=0.25, skipped=0, frames=4, every=60, empty=2))
        recipes.append(Recipe("cold", 20.0, lattice, rattle=0.0))
    return [replace(recipe, seed=1 + k) for k, recipe in enumerate(recipes)]


def test_runs() -> list[Recipe]:
    """What its errors are measured on: the cell with one vacancy at the lattice constant of its temperature."""
    expansion = {300.0: 4.11, 600.0: 4.13, 900.0: 4.16, 1200.0: 4.19}
    return [
        Recipe(f"{t:.0f} K", t, a, frames=20, skipped=5, seed=1000 + k)
        for k, (t, a) in enumerate(expansion.items())
    ]
