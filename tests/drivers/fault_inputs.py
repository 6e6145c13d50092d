"""The inputs that faults are shown in: small, hot enough to move, one in a tilted cell, one smaller than its cutoff."""

from __future__ import annotations

from pathlib import Path

from systems import INPUTS

from allegro_md.models.allegro.architecture import Mlp, Residual
from allegro_md.models.allegro.network import Network
from allegro_md.models.convert.importer import import_model
from allegro_md.models.modelfile import save_model

COMMON = """
[system.velocities]
temperature = 300.0
[dynamics]
ensemble = "nve"
timestep = 2.0
steps = 1
"""

LJ = """
[system]
crystal = { symbol = "Ar", lattice = "fcc", a = 5.6, repeat = [3, 3, 3], rattle = 0.05 }
[potential]
kind = "lj"
epsilon = 0.0103
sigma = 3.4
cutoff = 6.0
"""
EAM = f"""
[system]
structure = "{INPUTS / "structures" / "ag-primitive.extxyz"}"
repeat = [6, 5, 6]
[potential]
kind = "eam"
file = "{INPUTS / "potentials" / "ag-sutton-chen.eam.alloy"}"
"""
ALLEGRO = """
[system]
crystal = {{ symbol = "Cu", lattice = "fcc", a = 3.64, repeat = {repeat}, rattle = 0.05 }}
[potential]
model = "{model}"
engine = "{engine}"
"""
TILTED = """
[system]
structure = "tilted.extxyz"
repeat = [3, 3, 3]
[potential]
kind = "lj"
epsilon = 0.0103
sigma = 3.4
cutoff = 6.0
"""
SPECIES = """
[system]
structure = "mixed.extxyz"
[potential]
model = "{model}.allegro"
"""
ONE = """1
Lattice="4.0 0.0 0.0 1.7 3.9 0.0 -1.2 1.1 4.1" Properties=species:S:1:pos:R:3 pbc="T T T"
Ar 0.3 0.2 0.1
"""
MIXED = """6
Lattice="6.0 0.0 0.0 0.5 6.2 0.0 0.0 0.3 5.8" Properties=species:S:1:pos:R:3 pbc="T T T"
O 0.0 0.1 0.0
P 1.6 0.2 0.1
O 2.0 1.6 0.4
Li 4.0 3.1 2.9
O 0.5 3.3 3.4
Li 2.7 4.4 4.6
"""


def write(folder: Path, data: Path) -> None:
    """All of them; `data` is the folder of reference networks."""
    import_model(data / "allegro-dense" / "lipo-spline-zbl", folder / "mixed.allegro")
    small = Residual(symbols=("O", "Li", "P"), cutoff=4.0, layers=1, l_max=1, channels=4, average_neighbors=10.0,
                     latents=16, two_body=Mlp(widths=(16,)), latent=Mlp(widths=(16,)), readout=Mlp())  # fmt: skip
    save_model(Network(small).initialize(3), folder / "folded.allegro")
    (folder / "tilted.extxyz").write_text(ONE)
    (folder / "mixed.extxyz").write_text(MIXED)
    model = INPUTS / "models" / "cu.allegro"
    texts = {
        "lj": LJ, "eam": EAM, "tilted": TILTED,
        "species": SPECIES.format(model="mixed") + 'engine = "reference"\n',
        "folded-species": SPECIES.format(model="folded"),
        "allegro": ALLEGRO.format(repeat=[2, 2, 2], model=model, engine="reference"),
        "folded": ALLEGRO.format(repeat=[2, 2, 2], model=model, engine="auto"),
        "folded-double": ALLEGRO.format(repeat=[2, 2, 2], model=model, engine="auto") + 'precision = "double"\n',
        "small": ALLEGRO.format(repeat=[1, 1, 1], model=model, engine="reference"),
    }  # fmt: skip
    for name, text in texts.items():
        (folder / f"{name}.toml").write_text(text + COMMON)
