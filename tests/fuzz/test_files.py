"""Mutated model and checkpoint files: refused in one sentence, or as good as the original; no hang, no huge memory."""

from __future__ import annotations

import hashlib
import json
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import mutations
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save

from allegro_md.comm import Comm
from allegro_md.errors import InputError
from allegro_md.io.checkpoint import COLUMNS, Checkpoint, read_checkpoint, write_checkpoint
from allegro_md.models.allegro.architecture import Bessel, Dense, Mlp, Residual
from allegro_md.models.allegro.network import Network
from allegro_md.models.check import evaluate_cluster
from allegro_md.models.modelfile import describe, load_model, read_document, save_model
from allegro_md.state import AtomState, SpeciesTable

MODELS, CHECKPOINTS, BATCH = 300, 200, 50
KEY = "allegro-md"

ARCHITECTURES: tuple[Dense | Residual, ...] = (
    Dense(
        symbols=("Na", "Cl"), cutoff=4.0, layers=2, l_max=1, channels=2, average_neighbors=(8.0, 9.5),
        embedding=Bessel(), embedding_width=6, two_body=Mlp(widths=(7,)), scalars=5, latent=Mlp(widths=(6,)),
        readout=Mlp(widths=(4,)), pair_cutoffs=((3.0, 3.5), (4.0, 3.8)), zbl=True,
    ),
    Residual(
        symbols=("Ag",), cutoff=4.0, layers=1, l_max=1, channels=2, average_neighbors=12.0, two_body=Mlp(widths=(5,)),
        latents=6, latent=Mlp(), readout=Mlp(widths=(3,), activation=None), parity="o3_restricted",
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("models")
    paths = []
    for k, architecture in enumerate(ARCHITECTURES):
        network = Network(architecture, (torch.float32, torch.float64)[k]).initialize(5)
        network.shifts.data += 1.5
        paths.append(folder / f"{k}.allegro")
        save_model(network, paths[-1], {"data": "none, ümlaut"}, {"Na-Cl": 2.1} if k == 0 else None)
    return paths


def mutant_model(source: Path, path: Path, rng: random.Random) -> None:
    """Damage to any byte, to the header, or to a document that is then sealed again with right checksums."""
    content = source.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    how = rng.random()
    if how < 0.35:
        content = mutations.raw(content, rng)
    elif how < 0.5:
        content = mutations.raw(content, rng, last=8 + length)
    elif how < 0.7:  # the header of the container: types, shapes, offsets
        header = json.dumps(mutations.document(json.loads(content[8 : 8 + length]), rng)).encode()
        content = struct.pack("<Q", len(header)) + header + content[8 + length :]
    else:
        document = mutations.document(read_document(source), rng)
        if rng.random() < 0.5 and isinstance(document, dict):  # as if nobody had tampered with it
            rest = {k: v for k, v in document.items() if k != "checksum"}
            document["checksum"] = hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
        content = save(load_file(source), metadata={KEY: json.dumps(document)})
    path.write_bytes(content)


def cluster(symbols: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """A place that is not the test vector's."""
    rng = np.random.default_rng(7)
    grid = np.stack(np.meshgrid(*[np.arange(3)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    return 2.3 * grid + rng.uniform(-0.3, 0.3, (27, 3)), rng.integers(0, len(symbols), 27)


def same_model(path: Path, source: Path) -> None:
    """Whether an accepted mutant gives the forces of the original, and says so."""
    network, original = load_model(path), load_model(source)
    assert network.architecture.symbols == original.architecture.symbols
    ours, theirs = (evaluate_cluster(n, *cluster(n.architecture.symbols)) for n in (network, original))
    assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert "test vector     reproduced" in describe(path)


@pytest.mark.parametrize("batch", range(MODELS // BATCH))
def test_300_mutated_models(models: list[Path], tmp_path: Path, limits: Callable[[], Any], batch: int) -> None:
    path, good = tmp_path / "mutant.allegro", 0
    for seed in range(batch * BATCH, (batch + 1) * BATCH):
        rng = random.Random(seed)
        source = rng.choice(models)
        mutant_model(source, path, rng)
        try:
            with limits():
                load_model(path)
                same_model(path, source)
                good += 1
        except InputError as error:
            assert str(path) in str(error) and len(str(error)) < 600
        except Exception as fault:
            raise AssertionError(f"seed {seed}: {fault!r}") from fault
    assert good < BATCH // 2


# --- checkpoints --------------------------------------------------------------------------------------------------

N_ATOMS = 40


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from allegro_md.cell import Cell

    state = AtomState(Cell(np.eye(3) * 9.0), SpeciesTable(("Ar",), np.array([18]), np.array([39.9])), N_ATOMS)
    rng = np.random.default_rng(3)
    state.set_local(
        {
            "id": torch.arange(N_ATOMS),
            "species": torch.zeros(N_ATOMS, dtype=torch.int16),
            "position": torch.from_numpy(rng.uniform(0.0, 9.0, (N_ATOMS, 3))),
            "velocity": torch.from_numpy(rng.normal(size=(N_ATOMS, 3))),
        }
    )
    extras = {"integrator": {"eta": [0.1, 0.2]}, "reporters": {}, "input": {}, "physics": {}, "wall": 1.0}
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint"), 4, state, Comm.serial(), extras, 2)


def mutant_checkpoint(source: Path, path: Path, rng: random.Random) -> None:
    """Damage to any byte, to the part before the data, or to a header that is then sealed again."""
    content = source.read_bytes()
    if rng.random() < 0.75:
        path.write_bytes(mutations.raw(content, rng, last=len(content) if rng.random() < 0.5 else 4000))
        return
    path.write_bytes(content)
    with h5py.File(path, "r+") as file:
        header = mutations.document(json.loads(file["header"][:].tobytes()), rng)
        text = json.dumps(header).encode()
        del file["header"]
        file["header"] = np.frombuffer(text, dtype=np.uint8)
        file["header"].attrs["sha256"] = hashlib.sha256(text).hexdigest()


def same_checkpoint(found: Checkpoint, original: Checkpoint, sealed: bool) -> None:
    """Whether an accepted mutant holds the state of the original; what a sealed header says may be anything."""
    for column in COLUMNS:
        assert np.array_equal(found.slab[column.name], original.slab[column.name])
    if not sealed:
        assert (found.step, found.n_total, found.extras) == (original.step, original.n_total, original.extras)
        assert np.array_equal(found.cell.matrix, original.cell.matrix) and found.cell.periodic == original.cell.periodic
        assert found.species_table.symbols == original.species_table.symbols
        assert np.array_equal(found.species_table.masses, original.species_table.masses)


def header_of(path: Path) -> bytes:
    with h5py.File(path, "r") as file:
        return bytes(file["header"][:].tobytes())


@pytest.mark.parametrize("batch", range(CHECKPOINTS // BATCH))
def test_200_mutated_checkpoints(checkpoint: Path, tmp_path: Path, limits: Callable[[], Any], batch: int) -> None:
    path, original, good = tmp_path / "checkpoint-4.h5", read_checkpoint(checkpoint, Comm.serial()), 0
    for seed in range(batch * BATCH, (batch + 1) * BATCH):
        rng = random.Random(seed)
        mutant_checkpoint(checkpoint, path, rng)
        try:
            with limits():
                found = read_checkpoint(path, Comm.serial())
                same_checkpoint(found, original, header_of(path) != header_of(checkpoint))
                good += 1
        except InputError as error:
            assert str(path) in str(error) and "\n" not in str(error)
        except Exception as fault:
            raise AssertionError(f"seed {seed}: {fault!r}") from fault
    assert good < BATCH
