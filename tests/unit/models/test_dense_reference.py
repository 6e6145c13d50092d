"""The dense form against outputs of nequip-allegro."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from allegro_md.models.convert.importer import load_foreign
from allegro_md.models.modelfile import load_model

SMALL = ["ag-dense", "c3bpa-dense", "lipo-spline-zbl"]
VARIANTS = ["mish-uncoupled", "scalar-only", "pair-cutoffs", "linear-latents", "wide-deep"]


def agree(
    on_structure: Any, network: Any, file: Path, tolerance: float, dtype: torch.dtype = torch.float64,
    dtype_of_reference: torch.dtype = torch.float64,
) -> None:
    """Energies less shifts, forces and virial within the tolerance of their maximum."""
    reference = np.load(file)
    symbols = [str(s) for s in reference["symbols"]]
    got = on_structure(
        network, reference["positions"], reference["cell"], reference["pbc"], symbols, dtype
    )
    shifts = network.shifts.detach().numpy()[[network.architecture.symbols.index(s) for s in symbols]]
    energy = reference["atomic_energy"].ravel()
    assert np.abs(got.energies - energy).max() <= tolerance * np.abs(energy - shifts).max()
    assert np.abs(got.forces - reference["forces"]).max() <= tolerance * max(np.abs(reference["forces"]).max(), 1e-3)
    scale = np.abs(reference["virial"]).max()
    if dtype_of_reference == torch.float32:  # near equilibrium the virial is a small rest of terms of this precision
        scale = max(scale, got.virial_terms)
    assert np.abs(got.virial - reference["virial"].reshape(3, 3)).max() <= tolerance * scale


@pytest.mark.parametrize("name", SMALL)
def test_small_references(name: Any, data: Path, on_structure: Any) -> None:
    network = load_foreign(data / "allegro-dense" / name)
    files = sorted(set((data / "allegro-dense" / name).glob("*.npz")) - {data / "allegro-dense" / name / "weights.npz"})
    assert len(files) == 4
    for file in files:
        agree(on_structure, network, file, 1e-9)


@pytest.mark.parametrize("name", VARIANTS)
def test_variants(name: Any, data: Path, on_structure: Any) -> None:
    network = load_foreign(data / "allegro-variants" / name)
    agree(on_structure, network, data / "allegro-variants" / name / "slab8.npz", 1e-9)


@pytest.mark.parametrize("name", [*SMALL, "lipo-dense"])
def test_all_references(name: Any, shared: Path, on_structure: Any) -> None:
    folder = shared / "reference" / "allegro-dense" / name
    network = load_foreign(folder)
    for file in sorted(folder.glob("*.npz")):
        if file.name != "weights.npz":
            agree(on_structure, network, file, 1e-9)


def test_weight_counts(shared: Path) -> None:
    counts = {"ag-dense": 21_696, "lipo-dense": 117_216, "c3bpa-dense": 75_424, "lipo-spline-zbl": 7_708}
    for name, count in counts.items():
        assert load_foreign(shared / "reference" / "allegro-dense" / name).count_weights() == count


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_copper(dtype: Any, root: Path, data: Path, on_structure: Any) -> None:
    network = load_model(root / "inputs" / "models" / "cu.allegro")
    assert network.count_weights() == 28_000
    for name in ("slab32", "vacancy107", "primitive1"):
        agree(on_structure, network, data / "cu" / f"{name}.npz", 1e-5, dtype, torch.float32)
