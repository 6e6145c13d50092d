"""The residual form against outputs of the 2023 code, and the weight counts of its paper."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from allegro_md.models.allegro.architecture import Mlp, Residual
from allegro_md.models.allegro.network import Network
from allegro_md.models.convert.allegro_2023 import network_from_paper

COUNTS = {"li3po4-paper": 9_058, "ag-paper": 2_946, "small-3layer": 42_304}


def load(file: Any) -> Any:
    arrays = dict(np.load(file))
    config = json.loads(str(arrays["meta_json"]))["config"]
    weights = {key[2:]: value for key, value in arrays.items() if key.startswith("w/")}
    return network_from_paper(config, weights), arrays


def check(file: Any, on_structure: Any) -> None:
    network, arrays = load(file)
    assert network.count_weights() == COUNTS[file.stem]
    for name in sorted({key.split("/")[1] for key in arrays if key.startswith("s/")}):
        s = {key.split("/")[2]: value for key, value in arrays.items() if key.startswith(f"s/{name}/")}
        got = on_structure(network, s["positions"], s["cell"], s["pbc"], s["symbols"])
        assert np.abs(got.energies - s["energies"].ravel()).max() < 1e-9
        assert np.abs(got.forces - s["forces"]).max() < 1e-9 * max(1.0, np.abs(s["forces"]).max())
        assert np.abs(got.virial + s["dE_dstrain"]).max() < 1e-9 * max(1.0, np.abs(s["dE_dstrain"]).max())
    symbols, direction = network.architecture.symbols, arrays["pairscan/direction"]
    for pair in sorted({key.split("/")[1] for key in arrays if key.startswith("pairscan/") and key.endswith("/r")}):
        scan = {key: arrays[f"pairscan/{pair}/{key}"] for key in ("r", "energies", "force_on_atom1")}
        a, b = (symbols[int(k)] for k in pair.split("-"))
        for r, energies, force in zip(scan["r"], scan["energies"], scan["force_on_atom1"], strict=True):
            x = np.stack([0 * direction, r * direction])
            got = on_structure(network, x, np.zeros((3, 3)), (False,) * 3, [a, b])
            assert np.abs(got.energies - energies).max() < 1e-9
            assert np.abs(got.forces[1] - force).max() < 1e-9 * max(1.0, np.abs(force).max())


@pytest.mark.parametrize("name", COUNTS)
def test_small_references(name: Any, data: Path, on_structure: Any) -> None:
    check(data / "allegro-residual" / f"{name}.npz", on_structure)


@pytest.mark.parametrize("name", COUNTS)
def test_all_references(name: Any, shared: Path, on_structure: Any) -> None:
    check(shared / "reference" / "allegro-residual" / f"{name}.npz", on_structure)


@pytest.mark.parametrize(("layers", "l_max", "count"), [(1, 3, 7_375_237), (3, 2, 17_926_533)])
def test_weights_of_the_qm9_models(layers: int, l_max: int, count: int) -> None:
    """The paper states the numbers of weights; five are the shifts per species."""
    architecture = Residual(
        symbols=("H", "C", "N", "O", "F"), cutoff=10.0, layers=layers, l_max=l_max, channels=256, parity="o3_full",
        average_neighbors=18.0, two_body=Mlp(widths=(128, 256, 512)), latents=1024, latent=Mlp(widths=(1024, 1024)),
        readout=Mlp(widths=(128,), activation=None), trainable_shifts=True,
    )  # fmt: skip
    with torch.device("meta"):
        network = Network(architecture, torch.float32)
    assert network.count_weights() == count
