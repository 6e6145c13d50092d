"""Model files: what goes in comes out, and what is damaged is refused in one sentence."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from allegro_md.errors import InputError, ResourceError
from allegro_md.models.allegro.architecture import Bessel, Dense, Mlp, Residual
from allegro_md.models.allegro.network import Network
from allegro_md.models.modelfile import describe, load_model, read_document, save_model

DENSE = Dense(
    symbols=("Na", "Cl"), cutoff=4.0, layers=2, l_max=1, channels=3, average_neighbors=(8.0, 9.5), embedding=Bessel(),
    embedding_width=6, two_body=Mlp(widths=(7,)), scalars=5, latent=Mlp(widths=(6, 6), activation="mish"),
    readout=Mlp(widths=(4,)), pair_cutoffs=((3.0, 3.5), (4.0, 3.8)), zbl=True,
)  # fmt: skip
RESIDUAL = Residual(
    symbols=("Ag",), cutoff=4.0, layers=1, l_max=1, channels=2, average_neighbors=12.0, two_body=Mlp(widths=(5,)),
    latents=6, latent=Mlp(), readout=Mlp(widths=(3,), activation=None), parity="o3_restricted",
)  # fmt: skip


@pytest.fixture(params=[(DENSE, torch.float32), (DENSE, torch.float64), (RESIDUAL, torch.float64)])
def network(request: pytest.FixtureRequest) -> Any:
    architecture, dtype = request.param
    network = Network(architecture, dtype).initialize(5)
    network.shifts.data += 1.5
    return network


@pytest.fixture
def file(network: Any, tmp_path: Path) -> Any:
    save_model(network, tmp_path / "m.allegro", {"data": "none, ümlaut"}, {"Na-Cl": 2.1})
    return tmp_path / "m.allegro"


def test_round_trip(network: Any, file: Any) -> None:
    loaded = load_model(file)
    assert loaded.architecture == network.architecture
    assert loaded.dtype == network.dtype
    for name, tensor in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)
        assert loaded.state_dict()[name].dtype == tensor.dtype
    again = file.with_name("again.allegro")
    save_model(loaded, again, {"data": "none, ümlaut"}, {"Na-Cl": 2.1})
    assert read_document(again) == read_document(file)


def test_document_holds_what_the_contract_asks_for(network: Any, file: Any) -> None:
    with safe_open(file, framework="np") as raw:
        document = json.loads(raw.metadata()["allegro-md"])
    assert document["version"] == 1
    assert document["symbols"] == list(network.architecture.symbols)
    assert document["cutoff"] == 4.0
    assert document["units"]["energy"] == "eV"
    assert document["training"] == {"data": "none, ümlaut"}
    assert document["shortest_distance"] == {"Na-Cl": 2.1}
    assert set(document["scales"]) == set(document["shifts"]) == set(document["symbols"])
    test = document["test"]
    assert np.abs(test["forces"]).max() > 1e-3
    assert len(test["energies"]) == len(test["positions"]) >= 8


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (errno.ENOSPC, ResourceError),
        (errno.EFBIG, ResourceError),
        (errno.EACCES, InputError),
        (errno.EROFS, InputError),
    ],
)
def test_a_failed_write_names_the_file_and_leaves_the_old_one(
    network: Any, file: Any, monkeypatch: pytest.MonkeyPatch, number: Any, error: Any
) -> None:
    before = file.read_bytes()
    write_bytes = Path.write_bytes

    def refuse(path: Path, content: Any) -> None:
        write_bytes(path, content[:100])
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(error, match=f"m.allegro.*{os.strerror(number)}"):
        save_model(network, file)
    assert file.read_bytes() == before and [p.name for p in file.parent.iterdir()] == ["m.allegro"]


def test_places_where_no_file_can_be(network: Any, tmp_path: Path) -> None:
    (tmp_path / "folder.allegro").mkdir()
    for path in (tmp_path / "folder.allegro", tmp_path / "absent" / "m.allegro", tmp_path / ("n" * 300 + ".allegro")):
        with pytest.raises(InputError, match="cannot be written"):
            save_model(network, path)
    assert [p.name for p in tmp_path.iterdir()] == ["folder.allegro"]


def test_description(file: Any) -> None:
    text = describe(file)
    for part in ("Allegro", "cutoff", "4 Å", "none, ümlaut", "Na-Cl 2.1", "reproduced"):
        assert part in text


def test_damage(file: Any, tmp_path: Path) -> None:
    whole = file.read_bytes()
    for name, content, complaint in [
        ("empty", b"", "not a model file, or damaged"),
        ("truncated", whole[: len(whole) // 2], "not a model file, or damaged"),
        ("header", whole[:200], "not a model file, or damaged"),
        ("text", b"this is not a model", "not a model file, or damaged"),
        ("flipped", whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:], "damaged: its weights"),
    ]:
        path = tmp_path / f"{name}.allegro"
        path.write_bytes(content)
        with pytest.raises(InputError, match=complaint) as caught:
            load_model(path)
        assert str(path) in str(caught.value)
    with pytest.raises(InputError, match="no such model file"):
        load_model(tmp_path / "absent.allegro")
    save_file({"x": torch.zeros(2)}, tmp_path / "other.allegro")
    with pytest.raises(InputError, match="not a model of this program"):
        load_model(tmp_path / "other.allegro")


def rewrite(file: Any, change: Any) -> None:
    """The same file with a changed document."""
    with safe_open(file, framework="pt") as raw:
        document = json.loads(raw.metadata()["allegro-md"])
        tensors = {name: raw.get_tensor(name) for name in raw.keys()}  # noqa: SIM118
    change(document)
    save_file(tensors, file, metadata={"allegro-md": json.dumps(document)})


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda d: d.update(version=2), "version 2, this program reads 1"),
        (lambda d: d["architecture"].update(form="new"), "architecture"),
        (lambda d: d["architecture"].update(channels=4), "do not fit"),
        (lambda d: d["test"]["energies"].__setitem__(0, 7.0), "energies differ"),
        (lambda d: d["test"]["forces"][1].__setitem__(2, 7.0), "forces differ"),
        (lambda d: d["test"]["virial"][0].__setitem__(1, 7.0), "virial differ"),
        (lambda d: d.pop("test"), "unreadable"),
    ],
)
def test_wrong_documents(file: Any, change: Any, complaint: str) -> None:
    rewrite(file, change)
    with pytest.raises(InputError, match=complaint):
        load_model(file)


def test_another_reading_of_the_architecture_is_noticed(file: Any) -> None:
    """The test vector catches what the digest cannot: a hyper-parameter that fits but means something else."""
    rewrite(file, lambda d: d["architecture"].update(average_neighbors=10.0))
    with pytest.raises(InputError, match="does not give the result"):
        load_model(file)


def test_seeds() -> None:
    one, same, other = (Network(DENSE).initialize(seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)
    weights = torch.cat([t.ravel() for name, t in one.items() if "latents" in name])
    assert abs(float(weights.var()) - 1.0) < 0.2
