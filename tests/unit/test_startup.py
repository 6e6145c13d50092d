"""What a start loads: packages that take long to import come in only where something uses them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TABLE = ROOT / "inputs/potentials/ag-sutton-chen.eam.alloy"

LJ = """
[system]
crystal = { symbol = "Ar", lattice = "fcc", a = 5.3, repeat = [3, 3, 3], rattle = 0.02 }
velocities = { temperature = 60.0, seed = 1 }
[potential]
kind = "lj"
epsilon = 0.0103
sigma = 3.4
cutoff = 6.0
[dynamics]
ensemble = "nvt-nose-hoover"
timestep = 4.0
steps = 3
temperature = 60.0
thermostat_time = 50.0
[parallel]
skin = 0.5
[output]
directory = "run"
thermo = { every = 1 }
trajectory = { every = 2 }
"""

EAM = LJ.replace('"Ar"', '"Ag"').replace("5.3", "4.09").replace(
    'kind = "lj"\nepsilon = 0.0103\nsigma = 3.4\ncutoff = 6.0', f'kind = "eam"\nfile = "{TABLE}"'
)

DRIVER = """
import sys
from allegro_md.cli import main
status = main(sys.argv[1:])
print("LOADED", *sorted({name for name in sys.modules}), file=sys.stderr)
raise SystemExit(status)
"""


def loaded(folder: Path, *arguments: str) -> set[str]:
    """Modules that a process of the program has loaded when it is done."""
    done = subprocess.run([sys.executable, "-c", DRIVER, *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stderr.rsplit("LOADED", 1)[1].split())


@pytest.mark.parametrize("text", [LJ, EAM], ids=["lj", "eam"])
@pytest.mark.parametrize("command", ["run", "check"])
def test_a_classical_potential_needs_little(tmp_path: Path, text: str, command: str) -> None:
    (tmp_path / "input.toml").write_text(text)
    assert not loaded(tmp_path, command, "input.toml") & {"torch", "matplotlib", "scipy.integrate", "ase.build"}


def test_help_loads_little(tmp_path: Path) -> None:
    assert not loaded(tmp_path, "--help") & {"torch", "h5py"}
