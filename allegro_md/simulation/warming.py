"""Small runs that go through all kernels, so that they are compiled and kept before a large run needs them.

A kernel is compiled for the types of its arguments: a few atoms and a few steps compile what a run of any size needs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from allegro_md.cache_folder import NO_CACHE
from allegro_md.comm import Comm
from allegro_md.config import load_input
from allegro_md.models.allegro.architecture import parse_architecture
from allegro_md.models.allegro.network import Network
from allegro_md.models.modelfile import read_document, save_model
from allegro_md.simulation.run import Simulation

_SMALL: dict[str, Any] = {"widths": (16,)}
_NETWORK: dict[str, Any] = {
    "symbols": ("Cu", "Ni"), "cutoff": 3.6, "average_neighbors": (9.0, 11.0), "layers": 1, "channels": 4,
}  # fmt: skip
_DENSE: dict[str, Any] = {
    **_NETWORK, "form": "dense", "l_max": 1, "scalars": 16, "embedding_width": 8, "embedding": {"kind": "bessel"},
    "two_body": _SMALL, "latent": _SMALL, "readout": _SMALL,
}  # fmt: skip
NETWORKS: dict[str, dict[str, Any]] = {
    "bilinear": {**_NETWORK, "form": "residual", "l_max": 2, "latents": 16, "two_body": _SMALL, "latent": {},
                 "readout": {}},
    "single-layer": _DENSE,
    "multi-layer": {**_DENSE, "layers": 2},
}  # fmt: skip
"""Architectures of each class of the fused engine, with random weights."""

OBSERVERS = (
    '{ kind = "rdf", every = 1, rmax = 6.0 }', '{ kind = "adf", every = 1, cutoff = 4.5 }',
    '{ kind = "coordination", every = 1, cutoff = 4.5 }', '{ kind = "steinhardt", every = 1, cutoff = 4.5 }',
    '{ kind = "msd", every = 1 }', '{ kind = "vacf", every = 1 }', '{ kind = "van-hove", every = 1, times = [0.01] }',
    '{ kind = "structure-factor", every = 1 }', '{ kind = "profile", every = 1 }', '{ kind = "averages", every = 1 }',
    '{ kind = "heat-flux", every = 1 }',
)

ENSEMBLES = (
    'ensemble = "nve", timestep = 1.0, apply = [{ group = "left", velocity = [0.0, 0.0, 1e-4] }]',
    'ensemble = "nvt-nose-hoover", temperature = 20.0, timestep = 1.0',
    'ensemble = "nvt-langevin", temperature = 20.0, friction = "1/ps", timestep = 1.0',
    'ensemble = "nvt-bussi", temperature = 20.0, timestep = 1.0',
    'ensemble = "npt-mtk", temperature = 20.0, pressure = "1 bar", cell = "flexible", timestep = 1.0',
    'ensemble = "npt-crescale", temperature = 20.0, pressure = "1 bar", compressibility = "1e-4/bar", timestep = 1.0',
    'ensemble = "minimize"',
)

ARGON = """
[system]
crystal = { symbol = "Ar", lattice = "fcc", a = 5.3, repeat = [4, 4, 4], rattle = 0.05 }
velocities = { temperature = 20.0 }
[[group]]
name = "left"
region = { x = [-1.0, 3.0] }
"""
LENNARD_JONES = '[[potential]]\nkind = "lj"\nepsilon = 0.0103\nsigma = 3.405\ncutoff = 8.5\n'
ZBL = '[[potential]]\nkind = "zbl"\ncutoff = 4.0\n'
NVE = '[dynamics]\nensemble = "nve"\ntimestep = 0.01\nsteps = 2\n'
GUARD = "[guard]\nmax_force = 1e6\nmin_distance = 1e-6\nmax_temperature = 1e9\n"
OUTPUT = (
    "[output]\nthermo = { every = 1 }\n"
    'trajectory = { every = 1, fields = ["position", "velocity", "force", "image"] }\n'
)
"""The output of every trial run."""


@dataclass(frozen=True)
class Trial:
    """A run of a few steps.

    Attributes:
        name: what it compiles the kernels of.
        text: the input, without its output.
        observed: entries of ``output.observe``.
        keeps_tables: tables made of its model are worth keeping.
    """

    name: str
    text: str
    observed: str = ""
    keeps_tables: bool = False

    def run(self, folder: Path) -> None:
        """Makes the steps in a folder, silently.

        Raises:
            AllegroError: the run failed.
        """
        source = folder / "input.toml"
        source.write_text(f"{self.text}{OUTPUT}observe = [{self.observed}]\n")
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), _tables_kept(self.keeps_tables):
            Simulation.from_config(load_input(source), Comm.serial(), overwrite=True).run()


def trials(models: Sequence[Path], folder: Path) -> Iterator[Trial]:
    """The runs that compile all kernels, those of models last.

    Args:
        models: files of models; without any, networks of each class with random weights.
        folder: for the files they need.

    Raises:
        InputError: a model cannot be read.
    """
    documents = {file: read_document(file) for file in models}
    stages = "".join(f"[[stage]]\ndynamics = {{ {e}, steps = 2 }}\n" for e in ENSEMBLES)
    yield Trial("lj, all ensembles", ARGON + LENNARD_JONES + stages)
    yield Trial("zbl, all observers", ARGON + LENNARD_JONES + ZBL + NVE, observed=", ".join(OBSERVERS))
    (folder / "table.eam.alloy").write_text(_eam_table())
    yield Trial("eam", ARGON + '[potential]\nkind = "eam"\nfile = "table.eam.alloy"\n' + NVE)
    if not models:
        for kind, architecture in NETWORKS.items():
            file = folder / f"{kind}.allegro"
            network = Network(parse_architecture(architecture)).initialize(1)
            save_model(network, file, shortest=dict.fromkeys(("Cu-Cu", "Cu-Ni", "Ni-Ni"), 1.0))
            documents[file] = read_document(file)
    for file, document in documents.items():
        vector = document["test"]
        (folder / f"{file.stem}.extxyz").write_text(_cluster(vector["symbols"], vector["positions"]))
        for precision in ("mixed", "double"):
            text = (
                f'[system]\nstructure = "{file.stem}.extxyz"\nvelocities = {{ temperature = 1.0 }}\n'
                f'[potential]\nmodel = "{file.resolve()}"\nprecision = "{precision}"\n'
            )
            yield Trial(f"{file.stem}, {precision}", text + NVE + GUARD, keeps_tables=bool(models))


@contextmanager
def _tables_kept(kept: bool) -> Iterator[None]:
    """Within: tables of models are kept, or neither read nor kept."""
    before = os.environ.get(NO_CACHE)
    if not kept:
        os.environ[NO_CACHE] = "1"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(NO_CACHE, None)


def _cluster(symbols: Sequence[str], positions: Sequence[Sequence[float]]) -> str:
    """A free cluster in extended XYZ format."""
    rows = [f"{symbol} {x} {y} {z}" for symbol, (x, y, z) in zip(symbols, positions, strict=True)]
    return "\n".join([str(len(rows)), 'Properties=species:S:1:pos:R:3 pbc="F F F"', *rows, ""])


def _eam_table() -> str:
    """A made-up embedded-atom table of argon in setfl format: smooth, and zero at the cutoff of 6 Å."""
    n, cutoff = 500, 6.0
    r = np.arange(n) * cutoff / (n - 1)
    density = (1.0 - r / cutoff) ** 3
    embedding = -np.sqrt(np.arange(n) * 10.0 / n)
    head = ["made up", "for compiling", "kernels", "1 Ar", f"{n} {10.0 / n} {n} {cutoff / (n - 1)} {cutoff}"]
    values = np.concatenate([embedding, density, r * density]).astype(str)
    return "\n".join([*head, "18 39.95 5.3 fcc", *values, ""])
