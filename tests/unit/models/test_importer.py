"""Import of foreign models: folders, packages and checkpoints, and what must be refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from allegro_md.errors import InputError
from allegro_md.models.convert.importer import import_model, load_foreign
from allegro_md.models.modelfile import load_model


def copy_of(folder: Path, target: Any, change: Any = lambda config: None, drop: Any = ()) -> Any:
    target.mkdir(exist_ok=True)
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (target / "config.json").write_text(json.dumps(config))
    arrays = {k: v for k, v in np.load(folder / "weights.npz").items() if k not in drop}
    np.savez(target / "weights.npz", **arrays)
    return target


def test_folder_to_file(data: Path, tmp_path: Path, on_structure: Any) -> None:
    source, out = data / "allegro-dense" / "ag-dense", tmp_path / "ag.allegro"
    import_model(source, out)
    s = np.load(source / "tiny4.npz")
    got = on_structure(load_model(out), s["positions"], s["cell"], s["pbc"], s["symbols"])
    assert np.abs(got.forces - s["forces"]).max() < 1e-9 * np.abs(s["forces"]).max()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda c: c.update(allegro_mlp_nonlinearity="tanh"), "nonlinearity 'tanh'"),
        (lambda c: c.update(num_layerz=3), "unknown hyper-parameter 'num_layerz'"),
        (lambda c: c.update(allegro_mlp_hidden_layers_depth=2), "is missing"),
        (lambda c: c.update(num_scalar_features=32), "has shape"),
        (lambda c: c.update(type_names=["A1"]), "not a chemical symbol"),
        (lambda c: c.pop("r_max"), "not a configuration"),
        (lambda c: c.update(l_max=-1), "not a configuration"),
        (lambda c: c.update(radial_chemical_embed={"_target_": "x.Y"}), "unknown two-body embedding"),
        (lambda c: c.update(pair_potential={"_target_": "nequip.nn.pair_potential.LennardJones"}), "pair potential"),
    ],
)
def test_unsuitable_configurations(change: Any, complaint: str, data: Path, tmp_path: Path) -> None:
    folder = copy_of(data / "allegro-dense" / "ag-dense", tmp_path / "m", change)
    with pytest.raises(InputError, match=complaint):
        load_foreign(folder)


def test_unsuitable_files(data: Path, tmp_path: Path) -> None:
    source = data / "allegro-dense" / "ag-dense"
    with pytest.raises(InputError, match=r"'tensor_embed.env_embed_linear.mlp.0.weight' is missing"):
        load_foreign(copy_of(source, tmp_path / "a", drop=("func.tensor_embed.env_embed_linear.mlp.0.weight",)))
    broken = copy_of(source, tmp_path / "b")
    (broken / "weights.npz").write_bytes((broken / "weights.npz").read_bytes()[:1000])
    with pytest.raises(InputError, match="not a readable npz"):
        load_foreign(broken)
    (broken / "config.json").write_text("{")
    with pytest.raises(InputError, match="not JSON"):
        load_foreign(broken)
    (tmp_path / "empty").mkdir()
    (tmp_path / "model.pth").write_bytes(b"")
    for bad, complaint in [("empty", "no config.json"), ("nowhere", "no such file"), ("model.pth", "not a source")]:
        with pytest.raises(InputError, match=complaint):
            load_foreign(tmp_path / bad)
    with pytest.raises(InputError, match="NAME.allegro"):
        import_model(source, tmp_path / "out.bin")


CONFIG = """
run: [train]
data:
  _target_: nequip.data.datamodule.ASEDataModule
  seed: 1
  split_dataset: {file_path: data.extxyz, train: 1, val: 1, test: 1}
  transforms:
    - {_target_: nequip.data.transforms.ChemicalSpeciesToAtomTypeMapper, model_type_names: [Na, Cl]}
    - {_target_: nequip.data.transforms.NeighborListTransform, r_max: 4.0}
  train_dataloader: {_target_: torch.utils.data.DataLoader, batch_size: 1}
  val_dataloader: {_target_: torch.utils.data.DataLoader, batch_size: 1}
trainer:
  _target_: lightning.Trainer
  accelerator: cpu
  max_epochs: 1
  enable_progress_bar: false
  logger: false
  callbacks: [{_target_: lightning.pytorch.callbacks.ModelCheckpoint, dirpath: ., save_last: true}]
training_module:
  _target_: nequip.train.EMALightningModule
  loss: {_target_: nequip.train.EnergyForceLoss, coeffs: {total_energy: 1.0, forces: 1.0}}
  val_metrics: {_target_: nequip.train.EnergyForceMetrics, coeffs: {total_energy_mae: 1.0, forces_mae: 1.0}}
  optimizer: {_target_: torch.optim.Adam, lr: 0.01}
  model:
    _target_: allegro.model.AllegroModel
    seed: 7
    model_dtype: float64
    type_names: [Na, Cl]
    r_max: 4.0
    per_edge_type_cutoff: {Na: 3.9, Cl: {Na: 3.7}}
    radial_chemical_embed: {_target_: allegro.nn.TwoBodyBesselScalarEmbed, num_bessels: 6}
    radial_chemical_embed_dim: 8
    scalar_embed_mlp_hidden_layers_width: 12
    l_max: 2
    num_layers: 2
    num_scalar_features: 8
    num_tensor_features: 4
    allegro_mlp_hidden_layers_width: 12
    readout_mlp_nonlinearity: null
    parity: false
    tp_path_channel_coupling: false
    avg_num_neighbors: {Na: 11.0, Cl: 13.0}
    per_type_energy_shifts: {Na: -1.0, Cl: -2.5}
    pair_potential: {_target_: nequip.nn.pair_potential.ZBL, chemical_species: [Na, Cl], units: metal}
global_options: {allow_tf32: false}
"""

EVALUATE = """
import sys
import ase.io, numpy as np
from nequip.data import AtomicDataDict, from_ase
from nequip.data.transforms import ChemicalSpeciesToAtomTypeMapper, NeighborListTransform
from nequip.model.saved_models.load_utils import load_saved_model
from nequip.utils.global_state import set_global_state
set_global_state()
model = load_saved_model(sys.argv[1])
data = from_ase(ase.io.read("data.extxyz", 0))
cutoffs = {"Na": 3.9, "Cl": {"Na": 3.7, "Cl": 4.0}}
for transform in (ChemicalSpeciesToAtomTypeMapper(["Na", "Cl"]),
                  NeighborListTransform(4.0, per_edge_type_cutoff=cutoffs, type_names=["Na", "Cl"])):
    data = transform(data)
out = model(data)
np.savez("out.npz", **{key: out[key].detach() for key in ("atomic_energy", "forces", "virial")})
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A folder with a checkpoint and a package that nequip-allegro made from the configuration above."""
    pytest.importorskip("allegro", reason="nequip-allegro is not installed: pip install 'allegro-md[import]'")
    import ase.build
    import ase.io
    from ase.calculators.singlepoint import SinglePointCalculator

    folder = tmp_path_factory.mktemp("nequip")
    random = np.random.default_rng(0)
    frames = []
    for seed in range(3):
        atoms = ase.build.bulk("NaCl", "rocksalt", a=5.5).repeat((2, 1, 1))
        atoms.rattle(0.1, seed=seed)
        atoms.calc = SinglePointCalculator(atoms, energy=random.normal(), forces=random.normal(size=(4, 3)))
        frames.append(atoms)
    ase.io.write(folder / "data.extxyz", frames)
    (folder / "train.yaml").write_text(CONFIG)
    (folder / "evaluate.py").write_text(EVALUATE)
    programs = Path(sys.executable).parent
    for line in (
        [programs / "nequip-train", "-cd", folder, "-cn", "train"],
        [programs / "nequip-package", "build", "last.ckpt", "model.nequip.zip"],
        [sys.executable, "evaluate.py", "model.nequip.zip"],
    ):
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [str(word) for word in line], cwd=folder, env=environment, capture_output=True, text=True, timeout=240
        )
        assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.parametrize("name", ["model.nequip.zip", "last.ckpt"])
def test_package_and_checkpoint(name: str, trained: Any, tmp_path: Path, on_structure: Any) -> None:
    """Parity off, l_max 2, uncoupled paths, ⟨N⟩ per species, cutoffs per pair, ZBL: agrees with the package itself."""
    import ase.io

    runs_code = name.endswith(".zip")  # this checkpoint holds numbers and names of nequip's own classes only
    if runs_code:
        with pytest.raises(InputError, match="runs.* — .*add --trust"):
            import_model(trained / name, tmp_path / "m.allegro")
    import_model(trained / name, tmp_path / "m.allegro", trust=runs_code)
    network = load_model(tmp_path / "m.allegro")
    atoms: Any = ase.io.read(trained / "data.extxyz", 0)
    reference = np.load(trained / "out.npz")
    symbols = atoms.get_chemical_symbols()
    got = on_structure(network, atoms.positions, atoms.cell.array, atoms.pbc, symbols, torch.float64)
    energies, shifts = reference["atomic_energy"].ravel(), np.where(atoms.numbers == 11, -1.0, -2.5)
    assert np.abs(got.energies - energies).max() < 1e-9 * np.abs(energies - shifts).max()
    assert np.abs(got.forces - reference["forces"]).max() < 1e-9 * np.abs(reference["forces"]).max()
    assert np.abs(got.virial - reference["virial"]).max() < 1e-9 * np.abs(reference["virial"]).max()


def test_a_damaged_package_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.nequip.zip").write_bytes(b"PK nothing")
    with pytest.raises(InputError, match="not an archive of torch"):
        load_foreign(tmp_path / "x.nequip.zip")


class Harmful:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __reduce__(self) -> Any:
        return os.mkdir, (self.folder,)


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("pickle.ckpt", b"\x80\x04K\x01.", "not an archive of torch"),
        ("weights.ckpt", {"weight": torch.zeros(3)}, "without the configuration of a model"),
        ("hidden.ckpt", {"hyper_parameters": Harmful, "state_dict": {}}, r"runs code.*mkdir.*--trust"),
        ("named.ckpt", {"hyper_parameters": {"model": {"_target_": "os.mkdir"}}}, r"runs code.*os.mkdir.*--trust"),
        ("empty.nequip.zip", b"", "not an archive of torch"),
    ],
)
def test_nothing_runs_without_trust(name: str, content: Any, complaint: str, tmp_path: Path) -> None:
    """Wrong files are told apart, and code in right ones does not run, by looking into the archive only."""
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    else:
        made = {k: v(tmp_path / "made") if v is Harmful else v for k, v in content.items()}
        torch.save(made, tmp_path / name)
    with pytest.raises(InputError, match=complaint):
        load_foreign(tmp_path / name)
    assert not (tmp_path / "made").exists()


def test_a_package_needs_trust(tmp_path: Path) -> None:
    import zipfile

    for name, entry, complaint in [("a", "model/a.pkl", "add --trust"), ("b", "readme.txt", "holds no model")]:
        with zipfile.ZipFile(tmp_path / f"{name}.nequip.zip", "w") as archive:
            archive.writestr(entry, "x")
        with pytest.raises(InputError, match=complaint):
            load_foreign(tmp_path / f"{name}.nequip.zip")
