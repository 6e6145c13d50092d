"""What a run is said to need: atoms and ghosts as they will be, memory as it is measured, refusals that help."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk, fcc111

from allegro_md.comm import Comm
from allegro_md.config import load_input
from allegro_md.domain.decomposition import Decomposition
from allegro_md.errors import ResourceError
from allegro_md.io.h5md import TrajectoryWriter
from allegro_md.io.structure import MARGIN, SystemBuilder
from allegro_md.simulation import Simulation, resource_estimate
from allegro_md.simulation.resource_estimate import ResourceEstimate

MpiRun = Callable[..., "subprocess.CompletedProcess[str]"]

INPUT = """
[system]
{source}
{system}
[potential]
{potential}
[dynamics]
ensemble = "nve"
timestep = 1.0
steps = {steps}
[parallel]
skin = {skin}
[output]
directory = "{directory}"
thermo = {{ every = 2 }}
{output}
"""
LJ = 'kind = "lj"\nepsilon = 0.0103\nsigma = 3.4\ncutoff = 8.5'
CRYSTAL = 'crystal = { symbol = "Ar", lattice = "fcc", a = 5.4 }'


def write_input(folder: Path, source: str = CRYSTAL, potential: str = LJ, steps: int = 4, skin: float = 0.5,
                system: str = "repeat = [3, 4, 5]", output: str = "", directory: str = "run") -> Path:  # fmt: skip
    path = folder / "input.toml"
    path.write_text(INPUT.format(**{k: v for k, v in locals().items() if k not in ("folder", "path")}))
    return path


def planned(path: Path) -> ResourceEstimate:
    return resource_estimate.estimate_resources(load_input(path), Comm.serial())


def sources(folder: Path) -> dict[str, str]:
    """Systems of every kind, as lines of [system]."""
    slab = fcc111("Ar", (3, 4, 5), a=5.4, vacuum=20.0)
    slab.pbc = True
    slab.write(folder / "slab.extxyz")
    tilted = bulk("Ar", "fcc", a=5.4) * (2, 3, 4)
    tilted.rattle(0.2, seed=1)
    tilted.positions += 30.0  # far outside of the cell
    tilted.write(folder / "tilted.extxyz")
    cluster = bulk("Ar", "fcc", a=5.4, cubic=True) * (3, 3, 3)
    cluster.pbc, cluster.cell = False, None
    cluster.write(folder / "cluster.xyz")
    return {
        "crystal": CRYSTAL + "\nrepeat = [4, 5, 6]",
        "one cell": CRYSTAL,
        "slab": 'structure = "slab.extxyz"\nrepeat = [2, 1, 1]',
        "half free": 'structure = "slab.extxyz"\nperiodic = [true, false, true]',
        "tilted": 'structure = "tilted.extxyz"\nrepeat = [1, 2, 1]',
        "cluster": 'structure = "cluster.xyz"',
    }


@pytest.mark.parametrize("kind", ["crystal", "one cell", "slab", "half free", "tilted", "cluster"])
def test_atoms_ghosts_and_lists_are_those_of_the_run(tmp_path: Path, kind: str) -> None:
    path = write_input(tmp_path, source=sources(tmp_path)[kind], system="", potential=LJ, skin=0.7)
    foreseen = planned(path)
    simulation = Simulation.from_config(load_input(path), Comm.serial())
    simulation.loop.forces(simulation.state)
    load, state, pairs = foreseen.load(1), simulation.state, simulation.loop.forces.neighbors
    assert (load.own, load.held) == (state.n_local, state.n_all)
    listed = len(pairs.neighbors) / state.n_local
    # Some atoms stand for all; on free axes the copies end somewhere.
    assert foreseen.neighbors == pytest.approx(listed, rel=0.05 if kind != "tilted" else 0.1)


@pytest.mark.parametrize("ranks", [2, 3, 8])
def test_bricks_share_the_atoms(tmp_path: Path, ranks: int) -> None:
    """As `select` hands them out; on free axes evenly, as the decomposition does."""
    for kind, source in sources(tmp_path).items():
        foreseen = planned(write_input(tmp_path, source=source, system=""))
        loads = foreseen._bricks(ranks)
        assert sum(load.own for load in loads) == foreseen.system.n_total, kind
        if all(foreseen.system.cell.periodic):
            bricks = [Decomposition.even(foreseen.grid(ranks), (True,) * 3).brick(r) for r in range(ranks)]
            # `select` widens a region by a margin; atoms on a face belong to the brick above it.
            inner = [(lower + MARGIN - 1e-12, upper - MARGIN - 1e-12) for lower, upper in bricks]
            made = [len(foreseen.system.select(*bounds)["id"]) for bounds in inner]
            assert made == [load.own for load in loads], kind
        elif kind == "cluster":
            assert max(load.own for load in loads) <= 1.6 * foreseen.system.n_total / ranks  # whole layers of atoms


def test_count_equals_all_images() -> None:
    """Against a loop over images of explicit atoms."""
    system = SystemBuilder.from_crystal("Cu", "hcp", 2.6, repeat=(2, 3, 1), periodic=(True, False, True))
    atoms = system.select(np.zeros(3), np.array([1.0, np.inf, 1.0]))["position"]
    fraction = atoms @ system.cell.inverse
    fraction -= np.floor(fraction) * np.array([1, 0, 1])
    rng = np.random.default_rng(4)
    for _ in range(50):
        lower = rng.uniform(-1.3, 0.7, 3)
        upper = lower + rng.uniform(0.0, 2.5, 3)
        images = [fraction + np.array([i, 0, k]) for i in range(-4, 5) for k in range(-4, 5)]
        expected = sum(int(((f >= lower) & (f < upper)).all(axis=1).sum()) for f in images)
        assert system.count(lower, upper) == expected


# --- refusals -----------------------------------------------------------------------------------------------------


def test_more_atoms_than_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is said to fit does fit, and little more would."""
    enough = planned(write_input(tmp_path, system="repeat = [60, 60, 60]"))
    enough.require()

    def with_memory(system: str, gigabytes: float) -> ResourceEstimate:
        config = load_input(write_input(tmp_path, system=system))
        foreseen = resource_estimate.estimate_resources(config, Comm.serial())
        foreseen._places[0]["memory"] = gigabytes * 1e9
        return foreseen

    with pytest.raises(ResourceError) as caught:
        with_memory("repeat = [300, 300, 300]", 4.0).require()
    text = str(caught.value)
    found = re.search(r"108000000 atoms on 1 rank need .* at most (\d+) atoms fit there; all fit on about (\d+)", text)
    assert found is not None, text
    atoms, ranks = int(found[1]), int(found[2])
    edge = int((atoms / 4) ** (1 / 3))
    with_memory(f"repeat = [{edge}, {edge}, {edge}]", 4.0).require()
    with pytest.raises(ResourceError):
        with_memory(f"repeat = [{int(1.1 * edge)}, {int(1.1 * edge)}, {int(1.1 * edge)}]", 4.0).require()
    short = with_memory("repeat = [300, 300, 300]", 4.0)
    share = 4.0e9 + short._places[0]["resident"]
    assert short.memory(ranks) <= share < short.memory(int(0.8 * ranks))


def test_too_many_ranks_on_a_host(tmp_path: Path) -> None:
    foreseen = planned(write_input(tmp_path))
    foreseen._places = [{"host": "here", "memory": 2.2 * foreseen.program, "resident": 0}] * 8
    assert "use at most 2 ranks per host" in (foreseen._short_of_memory() or "")


def test_more_frames_than_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = 'trajectory = { every = 10, fields = ["position", "velocity", "image"] }\ncheckpoint = { keep = 3 }'
    foreseen = planned(write_input(tmp_path, steps=1000, output=output))
    needed = 240 * (101 * (12 + 12 + 12) + 4 * 58) + 501 * 300
    assert foreseen.disk() == needed
    monkeypatch.setattr(resource_estimate, "free_disk", lambda directory: needed - 1)
    with pytest.raises(ResourceError, match="of the disk are free — raise output.trajectory.every"):
        foreseen.require()
    foreseen.require(first_step=100)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thermo.csv").write_text("old")
    foreseen.require(replaces=True)


def test_a_disk_that_counts_no_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    foreseen = planned(write_input(tmp_path))
    monkeypatch.setattr(resource_estimate, "free_disk", lambda directory: math.inf)
    foreseen.require()
    assert foreseen.rows(1)["disk"].endswith("an unknown number of bytes are free")


def test_memory_that_observers_ask_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of those that look at any step; what they hold is on top of every moment, also that of the evaluation."""
    n_atoms = 4 * 30**3

    def memory(output: str, held: float, called: float, evaluation: float = 0.0) -> float:
        monkeypatch.setattr(TrajectoryWriter, "bytes_held", lambda self, n_local: held * n_local)
        monkeypatch.setattr(TrajectoryWriter, "bytes_while_called", lambda self, n_local: called * n_local)
        foreseen = planned(write_input(tmp_path, system="repeat = [30, 30, 30]", output=output))
        foreseen.block = evaluation * n_atoms
        return foreseen.memory(1) - foreseen.program

    def difference(first: float, second: float) -> float:
        return (second - first) / n_atoms

    large = memory(EVERYTHING, 1e5, 2e5)
    assert difference(memory(EVERYTHING, 1e5, 1e5), large) == pytest.approx(1e5)
    assert difference(memory(EVERYTHING, 0.0, 2e5), large) == pytest.approx(1e5)
    during = memory(EVERYTHING, 0.0, 1e5, evaluation=1e6)
    assert difference(memory(EVERYTHING, 0.0, 0.0, evaluation=1e6), during) == 0.0
    assert difference(during, memory(EVERYTHING, 1e5, 1e5, evaluation=1e6)) == pytest.approx(1e5)
    assert memory(EVERYTHING.replace("every = 1", "every = 0"), 1e5, 1e5) < 1e5 * n_atoms


# --- memory as it is measured -------------------------------------------------------------------------------------


def predicted_and_measured(mpirun: MpiRun, path: Path, ranks: int) -> tuple[float, float]:
    """MB per rank that `check` says and that a run reaches at most."""
    said = mpirun(ranks, ["-m", "allegro_md", "check", path]).stdout
    foreseen = re.search(r"^# memory per rank: (\S+) (M|G)B", said, re.MULTILINE)
    assert foreseen is not None, said
    mpirun(ranks, ["-m", "allegro_md", path])
    record = json.loads((path.parent / "run" / "run.json").read_text())
    peak = max(rank["peak_memory_MB"] for rank in record["ranks"]) * 1.048576  # they are of 2²⁰ bytes
    return float(foreseen[1]) * {"M": 1.0, "G": 1000.0}[foreseen[2]], peak


ARGON_200K = CRYSTAL.replace("}", ", rattle = 0.05 }") + "\nvelocities = { temperature = 200.0 }"
COPPER = 'structure = "cu.extxyz"\nvelocities = { temperature = 600.0 }'
EVERYTHING = 'trajectory = { every = 1, fields = ["position", "velocity", "force", "image"], dtype = "float64" }'
LONG_AND_PARALLEL = [pytest.mark.long, pytest.mark.parallel]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("ranks", "source", "repeat", "output"),
    [
        pytest.param(1, "lj", [37, 37, 37], "", id="200,000 of lj, 1 rank"),
        pytest.param(2, "lj", [46, 33, 33], "", id="200,000 of lj, 2 ranks", marks=LONG_AND_PARALLEL),
        pytest.param(2, "lj", [74, 37, 37], EVERYTHING, id="400,000 with frames, 2 ranks", marks=LONG_AND_PARALLEL),
        pytest.param(4, "lj", [80, 40, 40], "", id="512,000 of lj, 4 ranks", marks=LONG_AND_PARALLEL),
        pytest.param(1, "allegro", [4, 4, 4], "", id="Allegro, 1 rank", marks=pytest.mark.long),
        pytest.param(2, "allegro", [8, 4, 4], "", id="Allegro, 2 ranks", marks=LONG_AND_PARALLEL),
    ],
)
def test_memory_within_five_percent(
    mpirun: MpiRun, tmp_path: Path, root: Path, ranks: int, source: str, repeat: list[int], output: str
) -> None:
    (bulk("Cu", "fcc", a=3.62, cubic=True) * (5, 5, 5)).write(tmp_path / "cu.extxyz")
    model = f'model = "{root / "inputs" / "models" / "cu.allegro"}"'
    path = write_input(
        tmp_path, source=ARGON_200K if source == "lj" else COPPER, system=f"repeat = {repeat}",
        potential=LJ if source == "lj" else model, steps=6 if source == "lj" else 2, output=output, skin=0.2,
    )  # fmt: skip
    foreseen, peak = predicted_and_measured(mpirun, path, ranks)
    print(f"{foreseen:.0f} MB foreseen, {peak:.0f} MB measured")
    assert foreseen == pytest.approx(peak, rel=0.05)
