"""The fused potential: as close to the network as promised, its own forces to its energy, and exact to the bit."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pytest
import torch

from allegro_md.cell import Cell
from allegro_md.errors import InputError, PhysicsError
from allegro_md.kernels.cpu_folded import TILE
from allegro_md.models.architecture import Bessel, Dense, Mlp, Residual, Spline
from allegro_md.models.importer import load_foreign
from allegro_md.models.modelfile import load_model
from allegro_md.models.network import Network
from allegro_md.models.paper import network_from_paper
from allegro_md.neighbors.list import NeighborList
from allegro_md.potentials.allegro import AllegroPotential
from allegro_md.potentials.base import Virial
from allegro_md.potentials.fused import FusedPotential
from allegro_md.state import AtomState

SYMBOLS = ("Cu", "Ni")
COMMON = {"symbols": SYMBOLS, "cutoff": 4.2, "channels": 5, "average_neighbors": 14.0, "layers": 1}
DENSE = COMMON | {"embedding": Bessel(), "embedding_width": 12, "scalars": 20}
RESIDUAL = COMMON | {"latents": 24, "two_body": Mlp(widths=(16,))}
ARCHITECTURES = {
    "dense": Dense(**DENSE | {"average_neighbors": (13.0, 15.5), "zbl": True}, l_max=1, two_body=Mlp(widths=(24,)),
                   latent=Mlp(widths=(24,)), readout=Mlp(widths=(12,))),
    "deep": Dense(**DENSE, l_max=3, two_body=Mlp(widths=(24,)), latent=Mlp(widths=(24, 20), activation="gelu"),
                  readout=Mlp(widths=(12,), activation="mish"), individual_weights=False),
    "spline": Dense(**DENSE | {"embedding": Spline(), "pair_cutoffs": ((4.2, 3.6), (3.9, 3.3)), "zbl": True}, l_max=2,
                    two_body=Mlp(), latent=Mlp(), readout=Mlp()),
    "residual": Residual(**RESIDUAL, l_max=2, latent=Mlp(widths=(24,)), readout=Mlp(widths=(8,))),
    "residual, linear latents": Residual(**RESIDUAL, l_max=0, latent=Mlp(), readout=Mlp(widths=(8,))),
    "residual, linear": Residual(**RESIDUAL, l_max=3, latent=Mlp(), readout=Mlp()),
}  # fmt: skip
KINDS = {"spline": "collapsed", "residual, linear": "collapsed"}


@cache
def network(name):
    return Network(ARCHITECTURES[name]).initialize(7)


@cache
def fused(name, precision="double", symbols=SYMBOLS, tiles=1):
    return FusedPotential(network(name), symbols, precision, tiles)


@pytest.fixture(scope="module")
def system(lab):
    """125 atoms in a triclinic box."""
    return lab.liquid(SYMBOLS, 2.5, n=5, seed=2)


def same(a, b):
    assert np.array_equal(a.quanta, b.quanta)
    assert np.array_equal(a.energy, b.energy)
    assert np.array_equal(a.virial, b.virial)


def close(got, wanted):
    """max(1e-5 eV/Å, 1e-5 |F|)."""
    assert (np.abs(got - wanted) <= np.maximum(1e-5, 1e-5 * np.abs(wanted))).all()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_against_the_network(name, lab, system):
    potential = fused(name)
    assert potential.kind == KINDS.get(name, "folded") and 0.0 < potential.error <= 0.25
    wanted = lab.run(AllegroPotential(network(name), SYMBOLS, "double"), system)
    got = lab.run(potential, system)
    close(got.force, wanted.force)
    assert np.abs(got.energy - wanted.energy).max() < 1e-6
    assert np.abs(got.virial - wanted.virial).max() < 1e-4
    mixed = lab.run(fused(name, "mixed"), system)
    assert not np.array_equal(mixed.quanta, got.quanta)
    assert np.abs(mixed.force - wanted.force).max() < 1e-4 * np.sqrt((wanted.force**2).mean())


@pytest.mark.parametrize("name", ["dense", "spline", "residual"])
def test_forces_and_virial_are_derivatives(name, lab):
    small = lab.liquid(SYMBOLS, 2.6, n=2, seed=4)  # a box smaller than the cutoff
    potential = fused(name)
    got = lab.run(potential, small)
    force, virial = lab.differences(lambda s: float(lab.run(potential, s, virial=False).energy.sum()), small)
    assert np.abs(got.force - force).max() < 1e-6 * max(1.0, np.abs(force).max())
    assert np.abs(got.virial.sum(axis=0) - virial).max() < 1e-6 * max(1.0, np.abs(virial).max())


@pytest.mark.parametrize("precision", ["mixed", "double"])
@pytest.mark.parametrize("name", ["dense", "residual, linear"])
def test_no_division_can_be_seen(name, precision, lab, system):
    """Tiles per block, ranks, skin, and who shares a block: not one bit of energies, forces, virials."""
    n = len(system.x)
    potential = fused(name, precision)
    whole = lab.run(potential, system)
    assert np.abs(whole.force).max() > 0.01 and not whole.quanta.sum(axis=0).any()
    same(lab.run(fused(name, precision, tiles=7), system), whole)
    everyone = np.random.default_rng(1).permutation(n)  # other centers in every block, at other rows
    for ranks in ([everyone], np.array_split(everyone, 3), [np.array([k]) for k in everyone[:4]] + [everyone[4:]]):
        same(lab.run(potential, system, list(ranks)), whole)
    same(lab.run(potential, system, skin=1.0), whole)


def test_species_are_matched_by_symbol(lab, system):
    swapped = lab.System(system.x, system.cell, ("Ni", "Cu"), (1 - system.kind).astype(np.int16))
    same(lab.run(fused("dense", symbols=("Ni", "Cu")), swapped), lab.run(fused("dense"), system))


def test_a_center_with_more_edges_than_a_tile(lab):
    packed = lab.liquid(("Cu",), 0.95, n=3, seed=1)
    one, many = (lab.run(fused("dense", symbols=("Cu",), tiles=t), packed) for t in (1, 8))
    assert np.bincount(lab.pairs(packed, 4.2)[0]).max() > TILE
    same(one, many)
    wanted = lab.run(AllegroPotential(network("dense"), ("Cu",), "double"), packed).force
    assert np.abs(one.force - wanted).max() < 1e-5 * np.abs(wanted).max()


@pytest.mark.parametrize("name", ["dense", "spline"])
def test_no_atoms_and_no_neighbors(name, lab):
    lonely = Network(ARCHITECTURES[name]).initialize(3)
    lonely.shifts.data[:] = torch.tensor([-1.25, -2.5])
    potential = FusedPotential(lonely, SYMBOLS)
    gas = lab.System(30.0 * np.arange(21.0).reshape(7, 3), Cell(np.eye(3), (False,) * 3), SYMBOLS,
                     np.array([0, 1, 1, 0, 0, 1, 0], dtype=np.int16))  # fmt: skip
    got = lab.run(potential, gas)
    assert np.array_equal(got.energy, np.where(gas.kind == 0, -1.25, -2.5))
    assert not got.quanta.any() and not got.virial.any()
    state = AtomState(gas.cell, gas.species, 7)  # a rank without atoms
    neighbors = NeighborList(potential.cutoff, 0.3)
    neighbors.build(state)
    empty = potential(state, neighbors, Virial.PER_ATOM)
    assert empty.energy.shape == (0,) and empty.virials.shape == (0, 6)


@pytest.mark.parametrize("name", ["dense", "spline"])
def test_a_runaway_force_is_an_error(name, lab):
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
        fused(name)(state, neighbors, virial=False)


def test_refused():
    with pytest.raises(InputError, match="does not know Ar.*trained for Cu, Ni"):
        FusedPotential(network("dense"), ("Cu", "Ar"))
    two = Network(ARCHITECTURES["residual"].model_copy(update={"layers": 2})).initialize(1)
    with pytest.raises(InputError, match="2 layers.*reference"):
        FusedPotential(two, SYMBOLS)


def structure(lab, positions, rows, pbc, symbols, known):
    """A structure of the reference sets."""
    kind = np.array([known.index(str(s)) for s in symbols], dtype=np.int16)
    return lab.System(positions, Cell.from_rows(rows, tuple(bool(p) for p in pbc)), tuple(known), kind)


@pytest.mark.parametrize("name", ["ag-dense", "lipo-dense", "cu"])
def test_references_of_the_dense_form(name, shared, root, lab):
    folder = shared / "reference" / ("cu" if name == "cu" else f"allegro-dense/{name}")
    trained = load_model(root / "inputs" / "models" / "cu.allegro") if name == "cu" else load_foreign(folder)
    known = trained.architecture.symbols
    potential = FusedPotential(trained, known, "double")
    for file in sorted(set(folder.glob("*.npz")) - {folder / "weights.npz"}):
        s = np.load(file)
        atoms = structure(lab, s["positions"], s["cell"], s["pbc"], s["symbols"], known)
        close(lab.run(potential, atoms).force, s["forces"])


@pytest.mark.parametrize("name", ["ag-paper", "li3po4-paper"])
def test_references_of_the_residual_form(name, shared, lab):
    arrays = dict(np.load(shared / "reference" / "allegro-residual" / f"{name}.npz"))
    config = json.loads(str(arrays["meta_json"]))["config"]
    trained = network_from_paper(config, {key[2:]: value for key, value in arrays.items() if key.startswith("w/")})
    known = trained.architecture.symbols
    potential = FusedPotential(trained, known, "double")
    assert potential.kind == "collapsed"
    for structure_name in sorted({key.split("/")[1] for key in arrays if key.startswith("s/")}):
        s = {key.split("/")[2]: value for key, value in arrays.items() if key.startswith(f"s/{structure_name}/")}
        atoms = structure(lab, s["positions"], s["cell"], s["pbc"], s["symbols"], known)
        got = lab.run(potential, atoms)
        close(got.force, s["forces"])
        assert np.abs(got.energy - s["energies"].ravel()).max() < 1e-6
