"""The fused potential: as close to the network as promised, its own forces to its energy, and exact to the bit."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from allegro_md.cell import Cell
from allegro_md.errors import InputError, PhysicsError
from allegro_md.kernels.cpu_single_layer_arrays import BLOCK_ROWS
from allegro_md.models.allegro.architecture import Bessel, Dense, Mlp, Residual, Spline
from allegro_md.models.allegro.network import Network
from allegro_md.models.convert.allegro_2023 import network_from_paper
from allegro_md.models.convert.importer import load_foreign
from allegro_md.models.modelfile import load_model
from allegro_md.neighbors.list import NeighborList
from allegro_md.potentials.allegro import AllegroPotential
from allegro_md.potentials.fused import FusedPotential
from allegro_md.state import AtomState

SYMBOLS = ("Cu", "Ni")
COMMON = {"symbols": SYMBOLS, "cutoff": 4.2, "channels": 5, "average_neighbors": 14.0, "layers": 1}
DENSE = COMMON | {"embedding": Bessel(), "embedding_width": 12, "scalars": 20}
RESIDUAL = COMMON | {"latents": 24, "two_body": Mlp(widths=(16,))}
ARCHITECTURES: dict[str, Dense | Residual] = {
    "dense": Dense(**DENSE | {"average_neighbors": (13.0, 15.5), "zbl": True}, l_max=1, two_body=Mlp(widths=(24,)),
                   latent=Mlp(widths=(24,)), readout=Mlp(widths=(12,))),
    "deep": Dense(**DENSE, l_max=3, two_body=Mlp(widths=(24,)), latent=Mlp(widths=(24, 20), activation="gelu"),
                  readout=Mlp(widths=(12,), activation="mish"), individual_weights=False),
    "spline": Dense(**DENSE | {"embedding": Spline(), "pair_cutoffs": ((4.2, 3.6), (3.9, 3.3)), "zbl": True}, l_max=2,
                    two_body=Mlp(), latent=Mlp(), readout=Mlp()),
    "residual": Residual(**RESIDUAL, l_max=2, latent=Mlp(widths=(24,)), readout=Mlp(widths=(8,))),
    "residual, linear latents": Residual(**RESIDUAL, l_max=0, latent=Mlp(), readout=Mlp(widths=(8,))),
    "residual, linear": Residual(**RESIDUAL, l_max=3, latent=Mlp(), readout=Mlp()),
    "layers": Dense(**DENSE | {"layers": 3, "average_neighbors": (13.0, 15.5), "zbl": True}, l_max=2,
                    two_body=Mlp(widths=(24,)), latent=Mlp(widths=(24,)), readout=Mlp(widths=(12,))),
    "residual, layers": Residual(**RESIDUAL | {"layers": 2, "average_neighbors": (13.0, 15.5)}, l_max=2,
                                 latent=Mlp(widths=(24,)), readout=Mlp(widths=(8,))),
}  # fmt: skip


def random_architecture(seed: int) -> Any:
    """Either form, up to three layers, any degree, one to four species."""
    rng = np.random.default_rng(seed)

    def mlp(activations: Any) -> Any:
        widths = tuple(int(w) for w in rng.integers(5, 30, size=rng.integers(3)))
        return Mlp(widths=widths, activation=activations[rng.integers(len(activations))])

    n = int(rng.integers(1, 5))
    common = {
        "symbols": ("Cu", "Ni", "Ag", "O")[:n], "cutoff": 4.0, "channels": int(rng.integers(1, 12)), "l_max": seed % 4,
        "layers": 1 + seed // 4 % 3, "zbl": bool(rng.integers(2)),
        "average_neighbors": tuple(rng.uniform(10.0, 20.0, n)) if rng.integers(2) else 14.0,
    }  # fmt: skip
    if seed % 3 == 0:
        return Residual(**common, latents=int(rng.integers(5, 30)), envelope=float(rng.choice([6.0, 10.0])),
                        two_body=mlp(["silu"]), latent=mlp(["silu", None]), readout=mlp(["silu", None]),
                        parity=str(rng.choice(["o3_full", "o3_restricted", "so3"])))  # fmt: skip
    every = ["silu", "gelu", "mish", None]
    cutoffs = tuple(tuple(rng.uniform(3.0, 4.0, n)) for _ in range(n)) if rng.integers(2) else None
    return Dense(**common, embedding=Spline() if rng.integers(3) == 0 else Bessel(), pair_cutoffs=cutoffs,
                 embedding_width=12, scalars=int(rng.integers(5, 25)), two_body=mlp(every), latent=mlp(every),
                 readout=mlp(every), parity=bool(rng.integers(2)), coupled=bool(rng.integers(2)),
                 individual_weights=bool(rng.integers(2)), forward_normalize=bool(rng.integers(2)))  # fmt: skip


RANDOM = {f"random {seed}": random_architecture(seed) for seed in range(20)}
ARCHITECTURES |= RANDOM


@cache
def network(name: str) -> Any:
    return Network(ARCHITECTURES[name]).initialize(7)


@cache
def fused(name: str, precision: str = "double", symbols: Any = None, tiles: int = 1) -> Any:
    return FusedPotential(network(name), symbols or network(name).architecture.symbols, precision, tiles)


@pytest.fixture(scope="module")
def system(lab: Any) -> Any:
    """125 atoms in a triclinic box."""
    return lab.liquid(SYMBOLS, 2.5, n=5, seed=2)


def kind_of(a: Any) -> Any:
    if a.layers > 1:
        return "multi-layer"
    return "single-layer" if any(mlp.widths and mlp.activation for mlp in (a.latent, a.readout)) else "bilinear"


def same(a: Any, b: Any) -> None:
    assert np.array_equal(a.fixed, b.fixed)
    assert np.array_equal(a.energy, b.energy)
    assert np.array_equal(a.virial, b.virial)


def close(got: Any, wanted: Any) -> None:
    """max(1e-5 eV/Å, 1e-5 |F|)."""
    assert (np.abs(got - wanted) <= np.maximum(1e-5, 1e-5 * np.abs(wanted))).all()


FEW = [name for name in ARCHITECTURES if name not in RANDOM or ARCHITECTURES[name].layers == 2]


@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n in FEW else pytest.mark.long) for n in ARCHITECTURES])
def test_against_the_network(name: Any, lab: Any) -> None:
    potential, symbols = fused(name), ARCHITECTURES[name].symbols
    assert potential.kind == kind_of(ARCHITECTURES[name]) and 0.0 < potential.error <= 0.25
    system = lab.liquid(symbols, 2.5, n=4 if name in RANDOM else 5, seed=2)
    wanted = lab.run(AllegroPotential(network(name), symbols, "double"), system)
    got = lab.run(potential, system)
    close(got.force, wanted.force)
    assert np.abs(got.energy - wanted.energy).max() < 1e-6
    assert np.abs(got.virial - wanted.virial).max() < 1e-4


def unless_slow(name: str, *values: Any) -> Any:
    """A case of the default run, unless its single-precision kernels, of several layers, take long to compile."""
    slow = name not in FEW or ARCHITECTURES[name].layers > 1
    return pytest.param(name, *values, marks=pytest.mark.long if slow else [])


@pytest.mark.parametrize("name", [unless_slow(name) for name in ARCHITECTURES])
def test_single_precision(name: Any, lab: Any) -> None:
    symbols = ARCHITECTURES[name].symbols
    system = lab.liquid(symbols, 2.5, n=4 if name in RANDOM else 5, seed=2)
    wanted = lab.run(AllegroPotential(network(name), symbols, "double"), system)
    mixed = lab.run(fused(name, "mixed"), system)
    assert not np.array_equal(mixed.fixed, lab.run(fused(name), system).fixed)
    assert np.abs(mixed.force - wanted.force).max() < 1e-4 * np.sqrt((wanted.force**2).mean())


@pytest.mark.parametrize("name", ["dense", "spline", "residual", "layers", "residual, layers"])
def test_forces_and_virial_are_derivatives(name: str, lab: Any) -> None:
    small = lab.liquid(SYMBOLS, 2.6, n=2, seed=4)  # a box smaller than the cutoff
    potential = fused(name)
    got = lab.run(potential, small)
    force, virial = lab.differences(lambda s: float(lab.run(potential, s, virial=False).energy.sum()), small)
    assert np.abs(got.force - force).max() < 1e-6 * max(1.0, np.abs(force).max())
    assert np.abs(got.virial.sum(axis=0) - virial).max() < 1e-6 * max(1.0, np.abs(virial).max())


DIVIDED = ("dense", "residual, linear", "layers", "residual, layers")


@pytest.mark.parametrize(
    ("name", "precision"), [*((n, "double") for n in DIVIDED), *(unless_slow(n, "mixed") for n in DIVIDED)]
)
def test_no_division_can_be_seen(name: Any, precision: Any, lab: Any, system: Any) -> None:
    """Tiles per block, ranks, skin, and who shares a block: not one bit of energies, forces, virials."""
    n = len(system.x)
    potential = fused(name, precision)
    whole = lab.run(potential, system)
    assert np.abs(whole.force).max() > 0.01 and not whole.fixed.sum(axis=0).any()
    same(lab.run(fused(name, precision, tiles=7), system), whole)
    everyone = np.random.default_rng(1).permutation(n)  # other centers in every block, at other rows
    for ranks in ([everyone], np.array_split(everyone, 3), [np.array([k]) for k in everyone[:4]] + [everyone[4:]]):
        same(lab.run(potential, system, list(ranks)), whole)
    same(lab.run(potential, system, skin=1.0), whole)


def test_species_are_matched_by_symbol(lab: Any, system: Any) -> None:
    swapped = lab.System(system.x, system.cell, ("Ni", "Cu"), (1 - system.kind).astype(np.int16))
    same(lab.run(fused("dense", symbols=("Ni", "Cu")), swapped), lab.run(fused("dense"), system))


def test_a_center_with_more_edges_than_a_tile(lab: Any) -> None:
    packed = lab.liquid(("Cu",), 0.95, n=3, seed=1)
    one, many = (lab.run(fused("dense", symbols=("Cu",), tiles=t), packed) for t in (1, 8))
    assert np.bincount(lab.pairs(packed, 4.2)[0]).max() > BLOCK_ROWS
    same(one, many)
    wanted = lab.run(AllegroPotential(network("dense"), ("Cu",), "double"), packed).force
    assert np.abs(one.force - wanted).max() < 1e-5 * np.abs(wanted).max()


@pytest.mark.parametrize("name", ["dense", "spline", "layers"])
def test_no_atoms_and_no_neighbors(name: str, lab: Any) -> None:
    lonely = Network(ARCHITECTURES[name]).initialize(3)
    lonely.shifts.data[:] = torch.tensor([-1.25, -2.5])
    potential = FusedPotential(lonely, SYMBOLS, "double")
    gas = lab.System(30.0 * np.arange(21.0).reshape(7, 3), Cell(np.eye(3), (False,) * 3), SYMBOLS,
                     np.array([0, 1, 1, 0, 0, 1, 0], dtype=np.int16))  # fmt: skip
    got = lab.run(potential, gas)
    assert np.array_equal(got.energy, np.where(gas.kind == 0, -1.25, -2.5))
    assert not got.fixed.any() and not got.virial.any()
    state = AtomState(gas.cell, gas.species, 7)  # a rank without atoms
    neighbors = NeighborList(potential.info.cutoff, 0.3)
    neighbors.build(state)
    empty = potential(state, neighbors, frozenset({"virial", "virial_per_atom"}))
    assert empty.per_atom["energy"].shape == (0,) and empty.per_atom["virial_per_atom"].shape == (0, 6)


@pytest.mark.parametrize("name", ["dense", "spline", "layers"])
def test_a_runaway_force_is_an_error(name: str, lab: Any) -> None:
    close_by = lab.System(np.array([[0.0, 0, 0], [1e-7, 0, 0]]), Cell(np.eye(3), (False,) * 3), SYMBOLS,
                          np.array([0, 1], dtype=np.int16))  # fmt: skip
    with pytest.raises(PhysicsError, match="forces on atom 0"):
        lab.run(fused(name), close_by)
    lost = lab.System(np.array([[0.0, 0, 0], [2.5, 0, 0]]), close_by.cell, SYMBOLS, close_by.kind)
    state = lab.hold(lost, np.arange(2), 4.5)
    neighbors = NeighborList(4.2, 0.3)
    neighbors.build(state)
    state.all("position")[1, 1] = float("nan")
    with pytest.raises(PhysicsError, match="forces on atom 0"):
        fused(name)(state, neighbors, frozenset())


def test_refused() -> None:
    with pytest.raises(InputError, match="does not know Ar.*trained for Cu, Ni"):
        FusedPotential(network("dense"), ("Cu", "Ar"))
    four = Network(ARCHITECTURES["residual"].model_copy(update={"l_max": 4})).initialize(1)
    with pytest.raises(InputError, match="l_max = 4.*reference"):
        FusedPotential(four, SYMBOLS)


def structure(lab: Any, positions: Any, rows: Any, pbc: Any, symbols: Any, known: Any) -> Any:
    """A structure of the reference sets."""
    kind = np.array([known.index(str(s)) for s in symbols], dtype=np.int16)
    a, b, c = map(bool, pbc)
    return lab.System(positions, Cell.from_rows(rows, (a, b, c)), tuple(known), kind)


@pytest.mark.parametrize("name", ["ag-dense", "lipo-dense", "c3bpa-dense", "lipo-spline-zbl", "cu"])
def test_references_of_the_dense_form(name: str, shared: Path, root: Path, lab: Any) -> None:
    folder = shared / "reference" / ("cu" if name == "cu" else f"allegro-dense/{name}")
    trained = load_model(root / "inputs" / "models" / "cu.allegro") if name == "cu" else load_foreign(folder)
    known = trained.architecture.symbols
    potential = FusedPotential(trained, known, "double")
    for file in sorted(set(folder.glob("*.npz")) - {folder / "weights.npz"}):
        s = np.load(file)
        atoms = structure(lab, s["positions"], s["cell"], s["pbc"], s["symbols"], known)
        close(lab.run(potential, atoms).force, s["forces"])


@pytest.mark.parametrize("name", ["ag-paper", "li3po4-paper", "small-3layer"])
def test_references_of_the_residual_form(name: str, shared: Path, lab: Any) -> None:
    arrays = dict(np.load(shared / "reference" / "allegro-residual" / f"{name}.npz"))
    config = json.loads(str(arrays["meta_json"]))["config"]
    trained = network_from_paper(config, {key[2:]: value for key, value in arrays.items() if key.startswith("w/")})
    known = trained.architecture.symbols
    potential = FusedPotential(trained, known, "double")
    assert potential.kind == ("multi-layer" if name == "small-3layer" else "bilinear")
    for structure_name in sorted({key.split("/")[1] for key in arrays if key.startswith("s/")}):
        s = {key.split("/")[2]: value for key, value in arrays.items() if key.startswith(f"s/{structure_name}/")}
        atoms = structure(lab, s["positions"], s["cell"], s["pbc"], s["symbols"], known)
        got = lab.run(potential, atoms)
        close(got.force, s["forces"])
        assert np.abs(got.energy - s["energies"].ravel()).max() < 1e-6
