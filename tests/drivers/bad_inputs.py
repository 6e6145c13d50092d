"""Bad inputs: the good files to start from, and the ways to spoil them. The table is in bad_input_table.py."""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import torch
from safetensors.torch import load_file, save, save_file

from allegro_md.cli import main
from allegro_md.models.allegro.architecture import Mlp, Residual
from allegro_md.models.allegro.network import Network
from allegro_md.models.modelfile import read_document, save_model

ARGON = """
[system]
crystal = { symbol = "Ar", lattice = "fcc", a = 5.4, repeat = [3, 3, 3] }
[potential]
kind = "lj"
epsilon = 0.0103
sigma = 3.4
cutoff = 6.0
[dynamics]
ensemble = "nve"
timestep = 2.0
steps = 4
[output]
directory = "run"
thermo = { every = 2 }
checkpoint = { every = 2 }
"""
FILE = ARGON.replace('crystal = { symbol = "Ar", lattice = "fcc", a = 5.4, repeat = [3, 3, 3] }',
                     'structure = "start.extxyz"')  # fmt: skip
PARAMETERS = 'kind = "lj"\nepsilon = 0.0103\nsigma = 3.4\ncutoff = 6.0\n'
MODEL = FILE.replace(PARAMETERS, 'model = "ar.allegro"\n')
EAM = ARGON.replace(PARAMETERS, 'kind = "eam"\nfile = "cu.eam"\n').replace('"Ar"', '"Cu"').replace("5.4", "3.6")
HEADER = 'Lattice="12 0 0 0 12 0 0 0 12" Properties=species:S:1:pos:R:3 pbc="T T T"'
ATOMS = ("Ar 1 1 1", "Ar 5 5 5")


@dataclass(frozen=True)
class Case:
    """One bad input.

    Attributes:
        name: for people.
        arguments: of the program, in the case's folder.
        words: all must be in the message.
        make: spoils the good folder.
        status: exit status.
        faults: of the input, each with its line.
    """

    name: str
    arguments: tuple[str, ...]
    words: tuple[str, ...]
    make: Callable[[Path], object] = lambda folder: None
    status: int = 2
    faults: int = 1


def make_good(folder: Path) -> None:
    """Inputs, structure, model, table and a finished run with checkpoints at steps 2 and 4."""
    folder.mkdir(parents=True)
    for name, text in (("argon", ARGON), ("file", FILE), ("model", MODEL), ("eam", EAM)):
        (folder / f"{name}.toml").write_text(text)
    (folder / "done.toml").write_text(ARGON.replace('"run"', '"done"'))
    (folder / "start.extxyz").write_text(extxyz())
    architecture = Residual(
        symbols=("Ar", "Kr"), cutoff=4.0, layers=1, l_max=1, channels=2, average_neighbors=12.0,
        two_body=Mlp(widths=(5,)), latents=6, latent=Mlp(), readout=Mlp(widths=(3,), activation=None),
    )  # fmt: skip
    save_model(Network(architecture, torch.float64).initialize(5), folder / "ar.allegro")
    grid = np.linspace(1.0, 0.1, 8)
    rows = [" ".join(map(str, grid)), " ".join(map(str, grid)), " ".join(map(str, grid))]
    (folder / "cu.eam").write_text("a table\n29 63.5 3.6 FCC\n8 0.5 8 0.5 3.5\n" + "\n".join(rows) + "\n")
    assert main([str(folder / "done.toml")]) == 0


def extxyz(*atoms: str, header: str = HEADER) -> str:
    """A structure file."""
    lines = atoms or ATOMS
    return "\n".join([str(len(lines)), header, *lines]) + "\n"


# --- ways to spoil ------------------------------------------------------------------------------------------------


def text(name: str, content: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(content)


def raw(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content)


def change(name: str, old: str, new: str) -> Callable[[Path], object]:
    def make(folder: Path) -> None:
        content = (folder / name).read_text()
        assert old in content
        (folder / name).write_text(content.replace(old, new))

    return make


def cut(name: str, share: float) -> Callable[[Path], object]:
    """Keeps the first part of a file."""
    return lambda folder: (folder / name).write_bytes(
        (folder / name).read_bytes()[: int(share * (folder / name).stat().st_size)]
    )


def flip(name: str, place: float) -> Callable[[Path], object]:
    """Other bits in one byte."""

    def make(folder: Path) -> None:
        content = bytearray((folder / name).read_bytes())
        content[min(int(place * len(content)), len(content) - 1)] ^= 0x55
        (folder / name).write_bytes(content)

    return make


def flip_positions(name: str) -> Callable[[Path], object]:
    """Other bits in a coordinate of a checkpoint."""

    def make(folder: Path) -> None:
        with h5py.File(folder / name) as file:
            place = file["position"].id.get_chunk_info(0).byte_offset
        content = bytearray((folder / name).read_bytes())
        content[place + 100] ^= 0x55
        (folder / name).write_bytes(content)

    return make


def folder_named(name: str) -> Callable[[Path], object]:
    def make(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).mkdir()

    return make


def all_of(*makes: Callable[[Path], object]) -> Callable[[Path], object]:
    return lambda folder: [make(folder) for make in makes]


def resaved(**changes: object) -> Callable[[Path], object]:
    """The model file with other entries in its document."""

    def make(folder: Path) -> None:
        path = folder / "ar.allegro"
        document = {**read_document(path), **changes}
        path.write_bytes(save(load_file(path), metadata={"allegro-md": json.dumps(document)}))

    return make


def other_safetensors(folder: Path) -> None:
    save_file({"weight": torch.zeros(3)}, folder / "ar.allegro")


def wrong_result(folder: Path) -> None:
    """A model whose stored energies are not those it gives."""
    vector = read_document(folder / "ar.allegro")["test"]
    vector["energies"][0] += 1e-3
    resaved(test=vector)(folder)


def wrong_format(folder: Path) -> None:
    """A checkpoint of a later version, its checksums right."""
    for path in (folder / "done").glob("checkpoint-*.h5"):
        with h5py.File(path, "r+") as file:
            header = {**json.loads(file["header"][:].tobytes()), "format": 99}
            content = json.dumps(header).encode()
            del file["header"]
            file["header"] = np.frombuffer(content, dtype=np.uint8)
            file["header"].attrs["sha256"] = hashlib.sha256(content).hexdigest()


def both_checkpoints(spoil: Callable[[str], Callable[[Path], object]]) -> Callable[[Path], object]:
    return all_of(spoil("done/checkpoint-2.h5"), spoil("done/checkpoint-4.h5"))


_HELD: list[object] = []


def locked(folder: Path) -> None:
    """A run directory in use."""
    file = (folder / "done" / ".lock").open("w")
    fcntl.flock(file, fcntl.LOCK_EX)
    _HELD.append(file)


def sparse_structure(n: int) -> str:
    """Many atoms on a cubic grid, 4 Å apart."""
    edge = int(np.ceil(n ** (1 / 3)))
    rows = [f"Ar {4 * (k // edge**2)} {4 * (k // edge % edge)} {4 * (k % edge)}" for k in range(n)]
    return extxyz(*rows, header=HEADER.replace("12", str(4 * edge)))


def sets(*assignments: str, file: str = "argon.toml") -> tuple[str, ...]:
    return (file, *(word for a in assignments for word in ("--set", a)))
