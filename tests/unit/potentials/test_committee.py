"""A committee is the mean of its members, each evaluated alone by its network in float64; σ as numpy has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from allegro_md.ase import AllegroCalculator
from allegro_md.comm import Comm
from allegro_md.config import load_input
from allegro_md.errors import InputError
from allegro_md.evaluation import force_std
from allegro_md.models.allegro.architecture import Bessel, Dense, Mlp, Residual
from allegro_md.models.allegro.edges import Edges
from allegro_md.models.allegro.network import Network
from allegro_md.models.modelfile import load_model, save_model
from allegro_md.potentials import build_potential, descriptions
from allegro_md.potentials.committee import Committee
from allegro_md.simulation.build import build_guard
from allegro_md.simulation.forces import ForceEvaluator
from allegro_md.state import AtomState, SpeciesTable
from allegro_md.timers import Timers

SYMBOLS = ("Cu", "Ni")
COMMON = {"symbols": SYMBOLS, "cutoff": 3.6, "channels": 3, "average_neighbors": 10.0, "layers": 1, "l_max": 1}
SMALL = Mlp(widths=(8,))
RESIDUAL = COMMON | {"latents": 8, "two_body": SMALL}
MEMBERS = (  # bilinear with repulsion, single-layer with a shorter cutoff, multi-layer
    Residual(**RESIDUAL, latent=Mlp(), readout=Mlp(), zbl=True),
    Residual(**RESIDUAL | {"cutoff": 3.3}, latent=SMALL, readout=Mlp()),
    Dense(**COMMON | {"layers": 2}, embedding=Bessel(), embedding_width=8, scalars=8, two_body=SMALL, latent=SMALL,
          readout=SMALL),
)  # fmt: skip
UNFOLDABLE = Residual(**RESIDUAL | {"l_max": 4}, latent=Mlp(), readout=Mlp())
INPUT = """
system.crystal = {{ symbol = "Cu", lattice = "fcc", a = 3.6 }}
potential = {{ {potential} }}
dynamics = {{ ensemble = "nve", timestep = 1.0, steps = 1 }}
"""


def member(index: Any, architecture: Any = None) -> Any:
    network = Network(architecture or MEMBERS[index]).initialize(index)
    with torch.no_grad():
        network.scales.mul_(torch.tensor([0.7, 1.3]))
        network.shifts.add_(torch.tensor([-1.0, 2.0]) + index)
    return network


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("members")
    for index in range(3):
        save_model(member(index), folder / f"m-{index}.allegro", shortest={"Cu-Cu": 2.0 + 0.1 * index, "Cu-Ni": 2.4})
    return [folder / f"m-{index}.allegro" for index in range(3)]


@pytest.fixture(scope="module")
def system(lab: Any) -> Any:
    return lab.liquid(SYMBOLS, 2.5, n=3, seed=2)


@pytest.fixture(scope="module")
def alone(lab: Any, system: Any, files: Any) -> Any:
    """Energies (n,), forces (n, 3) and virial (6,) of each network, from its pairs and torch alone."""
    found = []
    for path in files:
        network, n = load_model(path), len(system.x)
        i, j, d = lab.pairs(system, network.architecture.cutoff)
        order = np.argsort(i, kind="stable")
        i, j, vector = i[order], j[order], torch.tensor(d[order], requires_grad=True)
        kind = torch.from_numpy(system.kind.astype(np.int64))
        energy = network(Edges(vector, torch.from_numpy(i), kind, kind[torch.from_numpy(j)]))
        (gradient,) = (g.numpy() for g in torch.autograd.grad(energy.sum(), vector))
        force = np.zeros((n, 3))
        np.add.at(force, i, gradient)
        np.subtract.at(force, j, gradient)
        tensor = -vector.detach().numpy().T @ gradient
        virial = np.array([tensor[a, b] for a, b in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))])
        found.append((energy.detach().numpy(), force, virial))
    return found


def mean(alone: Any, k: Any) -> Any:
    return np.mean([result[k] for result in alone], axis=0)


def std_of(alone: Any) -> Any:
    forces = np.array([result[1] for result in alone])
    return np.sqrt(((forces - forces.mean(axis=0)) ** 2).sum(axis=2).mean(axis=0))


@pytest.mark.parametrize(
    ("engine", "precision", "close"),
    [
        ("reference", "double", 1e-10),
        ("reference", "mixed", 2e-5),
        pytest.param("fused", "double", 3e-5, marks=pytest.mark.long),  # kernels of its own to compile
        ("auto", "mixed", 5e-5),
    ],
)
def test_the_mean_of_networks_evaluated_alone(
    engine: str, precision: str, close: float, lab: Any, system: Any, files: Any, alone: Any
) -> None:
    committee = Committee(files, SYMBOLS, engine, precision)
    result = lab.run(committee, system)
    assert committee.info.engine == ("fused" if engine == "auto" else engine) and committee.info.cutoff == 3.6
    scale = np.abs(mean(alone, 1)).max()
    assert scale > 0.05
    np.testing.assert_allclose(result.energy, mean(alone, 0), rtol=0, atol=close * (1.0 + scale))
    np.testing.assert_allclose(result.force, mean(alone, 1), rtol=0, atol=close * scale)
    np.testing.assert_allclose(result.virial.sum(axis=0), mean(alone, 2), rtol=0, atol=30 * close * scale)
    assert not result.fixed.sum(axis=0).any()  # so momentum is conserved exactly


def test_no_division_over_ranks_can_be_seen(lab: Any, system: Any, files: Any) -> None:
    committee = Committee(files, SYMBOLS)
    whole, everyone = lab.run(committee, system), np.random.default_rng(1).permutation(len(system.x))
    split = lab.run(committee, system, np.array_split(everyone, 4))
    assert np.array_equal(split.fixed, whole.fixed) and np.array_equal(split.energy, whole.energy)


def evaluated(system: Any, potential: Any) -> Any:
    state = AtomState(system.cell, system.species, len(system.x))
    state.set_local(
        {
            "id": torch.arange(len(system.x)), "species": torch.from_numpy(system.kind),
            "position": torch.from_numpy(system.x), "velocity": torch.zeros(len(system.x), 3, dtype=torch.float64),
        }
    )  # fmt: skip
    forces = ForceEvaluator(potential, Comm.serial(), 0.3, None, Timers())
    return forces(state, frozenset({"virial", "force_std"})), state.local("id").numpy()


def test_std_is_that_of_the_members_forces(system: Any, files: Any, alone: Any) -> None:
    result, ids = evaluated(system, Committee(files, SYMBOLS, "reference", "double"))
    np.testing.assert_allclose(result.force_std, std_of(alone)[ids], rtol=1e-9)
    assert std_of(alone).min() > 0.01


def test_std_by_hand() -> None:
    """K = 2, mean forces' parts F/2: (3, 0, 0) and (1, 4, 0) → deviations ±(1, −2, 0), σ = √5."""
    fixed = [np.array([[1.5, 0.0, 0.0], [1.0, 1.0, 1.0]]), np.array([[0.5, 2.0, 0.0], [1.0, 1.0, 1.0]])]
    assert force_std(np.rint(np.stack(fixed, axis=1) * 2.0**44).astype(np.int64)).tolist() == [np.sqrt(5.0), 0.0]


def test_other_terms_leave_the_std_alone(system: Any, files: Any, tmp_path: Path) -> None:
    """And members' forces are not kept where nobody asks."""
    committee = ", ".join(f'"{path}"' for path in files)
    terms: list[Any] = []
    for text in (f"committee = [{committee}]", 'kind = "zbl"\ncutoff = 3.0'):
        (tmp_path / "in.toml").write_text(INPUT.format(potential=text.replace("\n", ", ")))
        terms += load_input(tmp_path / "in.toml").potential
    table = SpeciesTable(SYMBOLS, np.array([29, 28]), np.ones(2))
    alone, _ = evaluated(system, build_potential(terms[:1], table))
    both, _ = evaluated(system, build_potential(terms, table))
    assert np.array_equal(alone.force_std, both.force_std)
    assert not np.array_equal(alone.energy, both.energy)
    assert "member_force" not in both.per_atom


def test_one_engine_for_all(files: Any) -> None:
    committee = Committee([load_model(files[0]), member(1, UNFOLDABLE)], SYMBOLS)
    assert committee.info.engine == "reference"
    first, second = (member.info.description for member in committee.members)
    assert "as another member" in first and "l_max = 4" in second
    with pytest.raises(InputError, match="l_max = 4"):
        Committee([load_model(files[0]), member(1, UNFOLDABLE)], SYMBOLS, "fused")


def test_members_of_other_elements_are_refused(files: Any) -> None:
    other = Network(MEMBERS[0].model_copy(update={"symbols": ("Cu", "Ag")})).initialize(1)
    with pytest.raises(InputError, match=r"member 2: the model is for Cu, Ag, but the first .* is for Cu, Ni") as error:
        Committee([load_model(files[0]), other], ("Cu",))
    assert "\n" not in str(error.value)


def test_the_ase_calculator(system: Any, files: Any, alone: Any) -> None:
    from ase import Atoms

    symbols = [SYMBOLS[kind] for kind in system.kind]
    atoms = Atoms(symbols, system.x, cell=system.cell.matrix, pbc=True)
    atoms.calc = AllegroCalculator(files, engine="reference", precision="double")
    assert atoms.get_potential_energy() == pytest.approx(mean(alone, 0).sum(), abs=1e-9)
    np.testing.assert_allclose(atoms.get_forces(), mean(alone, 1), atol=1e-9)
    np.testing.assert_allclose(atoms.get_stress(), -mean(alone, 2) / atoms.get_volume(), atol=1e-10)
    np.testing.assert_allclose(atoms.calc.results["force_std"], std_of(alone), atol=1e-9)
    with pytest.raises(InputError, match="at least two"):
        AllegroCalculator(files[:1])


def test_input(files: Any, tmp_path: Path) -> None:
    """Members by name; the guard's distances are those of the first member to leave its training."""
    path = tmp_path / "in.toml"
    path.write_text(INPUT.format(potential=f"committee = {[str(file) for file in files]}"))
    config = load_input(path)
    again = tmp_path / "again.toml"
    again.write_text(config.to_toml())
    term: Any = config.potential[0]
    assert load_input(again) == config and term.models == tuple(files)
    table = SpeciesTable(SYMBOLS, np.array([29, 28]), np.ones(2))
    potential: Any = build_potential(config.potential, table)
    assert list(descriptions(potential)) == [file.name for file in files]
    assert potential.info.files == tuple(files)
    guard = build_guard(config.guard, table, potential.info, 1e4, Comm.serial())
    np.testing.assert_allclose(guard._limits.distance, 0.7 * np.array([[2.2, 2.4], [2.4, 0.0]]))


@pytest.mark.parametrize(
    ("potential", "settings", "said"),
    [
        ('committee = ["{0}"]', [], "potential.committee: a committee has at least two models, got 1"),
        ('committee = ["{0}", "{0}"]', [], "is listed twice"),
        ('committee = "{0}"', [], "potential.committee: expected a list of model files"),
        ('committee = ["{0}", "{1}"], model = "{0}"', [], "both model and committee are given"),
        ('committee = ["{0}", "{1}"], kind = "lj"', [], "both committee and kind are given"),
        ('committee = ["{0}", "{0}x"]', [], "no such file"),
        ('model = "{0}"', ["guard.max_force_std=0.1"], "guard.max_force_std: only a committee"),
        ('committee = ["{0}", "{1}"]', ["guard.on_force_std=save"], "has no effect without max_force_std"),
        ('committee = ["{0}", "{1}"]', ["guard.force_std_every=3"], "has no effect without max_force_std"),
        ('committee = ["{0}", "{1}"]', ["guard.max_force_std=1", "output.thermo.every=0"], "is never looked at"),
        ('committee = ["{0}", "{1}"]', ["guard.max_force_std=-1"], "guard.max_force_std: must be positive"),
        ('committee = ["{0}", "{1}"]', ["guard.max_force_std=1", "guard.on_force_std=warn"], '"stop", "save"'),
    ],
)
def test_bad_input(potential: str, settings: Any, said: str, files: Any, tmp_path: Path) -> None:
    path = tmp_path / "in.toml"
    path.write_text(INPUT.format(potential=potential.format(*files)))
    with pytest.raises(InputError) as error:
        load_input(path, settings)
    assert said in str(error.value) and "\n" not in str(error.value)
