"""Tables kept in the user's cache folder: read when they are right, made anew when anything about them is not."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from allegro_md.models.allegro.architecture import Mlp, Residual
from allegro_md.models.allegro.network import Network
from allegro_md.models.fused import accuracy, tables
from allegro_md.models.fused.fold import fold
from allegro_md.models.fused.tables import Tables
from allegro_md.models.modelfile import load_model, save_model

SYMBOLS = ("Cu", "Ni")
ARCHITECTURE = Residual(
    symbols=SYMBOLS, cutoff=4.2, channels=4, average_neighbors=14.0, layers=1, l_max=1, latents=16,
    two_body=Mlp(widths=(16,)), latent=Mlp(), readout=Mlp(),
)  # fmt: skip


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "m.allegro"
    save_model(Network(ARCHITECTURE).initialize(3), path)
    return path


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Any:
    """How often tables were computed."""
    calls, refined = [], accuracy.refined

    def counted(*model: Any) -> Any:
        calls.append(0)
        return refined(*model)

    monkeypatch.setattr(tables, "refined", counted)
    return calls


def opened(model: Any, symbols: Any = SYMBOLS) -> Any:
    network = load_model(model)
    return Tables(network, fold(network, symbols), symbols, model)


def kept(model: Any) -> Any:
    assert set(model.parent.iterdir()) <= {model, model.parent / "cache"}  # nothing is left beside the model
    return sorted((model.parent / "cache" / "allegro-md").glob("*"))


def test_kept_tables_are_the_same(model: Any, made: Any) -> None:
    first = opened(model)
    assert kept(model) == []  # not before they were found right
    first.keep()
    (path,) = kept(model)
    assert path.name.startswith("m.allegro.tables-") and path.suffix == ".npz" and not os.stat(path).st_mode & 0o077
    before = path.stat().st_mtime_ns
    again = opened(model)
    again.keep()
    assert len(made) == 1 and path.stat().st_mtime_ns == before and kept(model) == [path]
    assert again.table.tobytes() == first.table.tobytes() and again.error == first.error


def test_what_decides_them_is_in_the_name(model: Any, made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other species, another order of them, other weights, other libraries."""
    opened(model).keep()
    opened(model, ("Ni", "Cu")).keep()
    opened(model, ("Cu",)).keep()
    save_model(Network(ARCHITECTURE).initialize(4), model)
    opened(model).keep()
    monkeypatch.setattr(np, "__version__", "0.0")
    opened(model).keep()
    assert len(made) == 5 == len(kept(model))


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[: len(data) // 2],
        lambda data: data[:5000] + bytes([data[5000] ^ 1]) + data[5001:],
        lambda data: b"tables" * 1000,
    ],
)
def test_damaged_tables_are_made_anew(model: Any, made: Any, damage: Any) -> None:
    first = opened(model)
    first.keep()
    (path,) = kept(model)
    path.write_bytes(damage(path.read_bytes()))
    again = opened(model)
    assert len(made) == 2 and again.table.tobytes() == first.table.tobytes()
    again.keep()
    opened(model)
    assert len(made) == 2


def test_of_another_model_under_this_name(model: Any, made: Any) -> None:
    opened(model, ("Cu",)).keep()
    (other,) = kept(model)
    opened(model).keep()
    (mine,) = set(kept(model)) - {other}
    mine.write_bytes(other.read_bytes())
    assert opened(model).table.shape[0] == 4 and len(made) == 3


def test_wrong_numbers_in_a_good_file(model: Any, made: Any) -> None:
    first = opened(model)
    first.keep()
    (path,) = kept(model)
    with np.load(path) as good:
        np.savez(path, table=1.001 * good["table"], error=good["error"], checksum=good["checksum"])
    assert opened(model).table.tobytes() == first.table.tobytes() and len(made) == 2


def test_nowhere_to_write(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that is not writable, or a full disk: no tables, no complaint, nothing left lying about."""

    def full(*arguments: Any, **options: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", full)
        opened(model).keep()
        assert kept(model) == []
    monkeypatch.setattr(tempfile, "NamedTemporaryFile", full)
    opened(model).keep()
    assert kept(model) == []


@pytest.mark.parametrize("mode", [0o770, 0o777])
@pytest.mark.parametrize("what", ["file", "folder"])
def test_what_others_can_write_is_not_read(model: Any, made: Any, what: str, mode: int) -> None:
    opened(model).keep()
    (path,) = kept(model)
    (path if what == "file" else path.parent).chmod(mode)
    opened(model)
    assert len(made) == 2


def test_a_link_is_not_followed(model: Any, made: Any) -> None:
    opened(model).keep()
    folder = model.parent / "cache" / "allegro-md"
    folder.rename(folder.with_name("elsewhere"))
    folder.symlink_to(folder.with_name("elsewhere"))
    opened(model)
    assert len(made) == 2


def test_no_cache(model: Any, made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALLEGRO_MD_NO_CACHE", "1")
    opened(model).keep()
    assert kept(model) == [] and len(made) == 1
