"""Every input of `inputs/` runs, shortened, two of them on two ranks as well, and does what its comment says."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from ase.io import read
from ranks import MpiRun
from runs import SMALLER, assigned

from allegro_md.config import load_input

ROOT = Path(__file__).resolve().parents[2]
INPUTS = sorted((ROOT / "inputs").glob("*.toml"))
NAMES = [path.stem for path in INPUTS]

# On two ranks: what nothing in tests/mpi runs there, embedded atoms and a calculator of ASE. Others are in it.
RUNS = [
    *((name, 1) for name in NAMES),
    *(pytest.param(name, 2, marks=pytest.mark.parallel) for name in ("triclinic", "molecule")),
]
STEPS = {"molecule": 400}


class Run:
    """The run directory of one shortened input."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        with (directory / "thermo.csv").open() as file:
            self.thermo = list(csv.DictReader(file))

    def column(self, name: str) -> np.ndarray:
        return np.array([float(row[name]) for row in self.thermo])

    def bits(self) -> list[dict[str, str]]:
        """The rows as written, without the wall clock."""
        return [{key: value for key, value in row.items() if key != "wall_s"} for row in self.thermo]


@pytest.fixture(scope="module")
def run(mpirun: MpiRun, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """`run(name, ranks)`: each combination once."""
    done: dict[tuple[str, int], Run] = {}

    def start(name: str, ranks: int) -> Run:
        if (name, ranks) not in done:
            directory = tmp_path_factory.mktemp(f"{name}-{ranks}") / "run"
            steps = STEPS.get(name, 10)
            settings = [f"dynamics.steps={steps}", f'output.directory="{directory}"', "output.thermo.every=2"]
            settings += SMALLER.get(name, [])
            args = ["-m", "allegro_md", str(ROOT / "inputs" / f"{name}.toml")]
            mpirun(ranks, [*args, *assigned(settings)], timeout=240)
            done[name, ranks] = Run(directory)
        return done[name, ranks]

    return start


def test_there_are_inputs() -> None:
    assert {"quickstart", "ag-crystal", "argon-lj", "molecule", "triclinic", "silver", "record-ag"} <= set(NAMES)


@pytest.mark.parametrize("path", INPUTS, ids=NAMES)
def test_opens_with_what_to_expect(path: Path) -> None:
    head = path.read_text().split("\n\n[")[0]
    assert all(line.startswith("#") for line in head.splitlines())
    assert "Expect:" in head
    assert f"allegro-md inputs/{path.name}" in head


@pytest.mark.parametrize(("name", "ranks"), RUNS)
def test_run_directory_is_complete(run: Any, name: str, ranks: int) -> None:
    result = run(name, ranks)
    steps = STEPS.get(name, 10)
    assert [int(row["step"]) for row in result.thermo] == list(range(0, steps + 1, 2))
    for column in ("potential_eV", "kinetic_eV", "conserved_eV", "temperature_K"):
        assert np.isfinite(result.column(column)).all()
    assert (result.directory / f"checkpoint-{steps}.h5").is_file()
    assert (result.directory / "log.txt").stat().st_size > 0
    assert json.loads((result.directory / "run.json").read_text())
    with h5py.File(result.directory / "trajectory.h5") as file:
        ids = file["particles/all/id"][...]
        assert np.array_equal(ids, np.arange(len(ids)))
        assert file["particles/all/position/value"].shape[1:] == (len(ids), 3)


@pytest.mark.parallel
def test_two_ranks_give_the_bits_of_one(run: Any) -> None:
    """Not promised for the molecule, whose calculator sums in its own order."""
    assert run("triclinic", 1).bits() == run("triclinic", 2).bits()


def test_silver_has_the_cohesive_energy_it_was_fitted_to(run: Any) -> None:
    # The tilted cell starts from the perfect crystal, at rest but for the motion of its atoms.
    perfect = run("triclinic", 1)
    assert perfect.column("potential_eV")[0] / 1000 == pytest.approx(-2.96, abs=1e-6)
    assert perfect.column("volume_A3")[0] == pytest.approx(1000 * 4.09**3 / 4)
    motion = 2 / 3 * perfect.column("kinetic_eV")[0] / perfect.column("volume_A3")[0] * 160.21766208  # eV/Å³ to GPa
    assert perfect.column("pressure_GPa")[0] == pytest.approx(motion, abs=1e-3)
    # The cubic one is rattled by 0.01 Å, which costs little.
    rattled = run("ag-crystal", 1).column("potential_eV")[0] / 6912
    assert -2.96 < rattled < -2.96 + 3e-3


def test_the_record_is_that_of_the_paper() -> None:
    system = load_input(ROOT / "inputs" / "record-ag.toml").system
    assert system.structure is not None
    assert len(read(system.structure)) * np.prod(system.repeat) == 100_640_512
    sibling = load_input(ROOT / "inputs" / "record-ag.toml", ["system.repeat=[24,24,25]"]).system
    assert 71 * np.prod(sibling.repeat) == 1_022_400


@pytest.mark.parametrize("name", ["silver", "record-ag"])
def test_the_record_starts_in_equilibrium(run: Any, name: str) -> None:
    result = run(name, 1)
    assert np.abs(result.column("temperature_K") - 300.0).max() < 30.0  # 2,556 atoms: ±5 K, and copies swing together
    assert np.abs(result.column("pressure_GPa")).max() < 0.5
    assert np.ptp(result.column("conserved_eV")) / 2556 < 5e-5


def test_argon_has_the_density_of_rahman(run: Any) -> None:
    volume = run("argon-lj", 1).column("volume_A3")[0]
    assert 864 * 39.948 * 1.66053907 / volume == pytest.approx(1.374, abs=1e-3)  # g/cm³


@pytest.mark.parametrize("ranks", [1, pytest.param(2, marks=pytest.mark.parallel)])
def test_nitrogen_vibrates_at_its_frequency(run: Any, ranks: int) -> None:
    result = run("molecule", ranks)
    with h5py.File(result.directory / "trajectory.h5") as file:
        positions = file["particles/all/position/value"][...]
    bond = np.linalg.norm(positions[:, 1] - positions[:, 0], axis=1)
    swing = bond - bond.mean()
    up = np.flatnonzero((swing[:-1] < 0) & (swing[1:] >= 0))
    crossings = up + swing[up] / (swing[up] - swing[up + 1])
    period = np.diff(crossings).mean() * 0.5  # fs: a frame every two steps of 0.25 fs
    assert 1e15 / period / 2.99792458e10 == pytest.approx(2359, rel=0.01)  # per cm
    total = result.column("total_eV")
    assert np.ptp(total) < 5e-5


def test_the_readme_shows_a_valid_input(tmp_path: Path) -> None:
    blocks = re.findall(r"```toml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert blocks
    for folder in ("structures", "models", "potentials"):
        (tmp_path / folder).symlink_to(ROOT / "inputs" / folder)
    for number, block in enumerate(blocks):
        path = tmp_path / f"{number}.toml"
        path.write_text(block)
        assert load_input(path)
