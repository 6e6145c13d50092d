"""Where a run keeps the tables of a model, and where it does not."""

from __future__ import annotations

from pathlib import Path

import pytest
from ase.build import bulk

from allegro_md.cache_folder import NO_CACHE
from allegro_md.cli import main
from allegro_md.models.allegro.architecture import Mlp, Residual
from allegro_md.models.allegro.network import Network
from allegro_md.models.modelfile import save_model

INPUT = """
[system]
structure = "start.extxyz"
[potential]
model = "shared/cu.allegro"
[dynamics]
ensemble = "nve"
timestep = 1.0
steps = 0
[output]
directory = "run"
"""


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An input whose model lies in a folder of somebody else, which cannot be written."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv(NO_CACHE, "")
    monkeypatch.delenv(NO_CACHE)  # and again at the end, whatever a command sets
    architecture = Residual(
        symbols=("Cu",), cutoff=4.0, channels=4, average_neighbors=14.0, layers=1, l_max=1, latents=16,
        two_body=Mlp(widths=(16,)), latent=Mlp(), readout=Mlp(),
    )  # fmt: skip
    (tmp_path / "shared").mkdir()
    save_model(Network(architecture).initialize(3), tmp_path / "shared" / "cu.allegro")
    (tmp_path / "shared").chmod(0o555)
    (bulk("Cu", cubic=True, a=3.6) * (2, 2, 2)).write(tmp_path / "start.extxyz")
    (tmp_path / "in.toml").write_text(INPUT)
    return tmp_path / "in.toml"


def tables(source: Path) -> list[str]:
    assert [path.name for path in (source.parent / "shared").iterdir()] == ["cu.allegro"]
    return [path.name.split(".tables-")[0] for path in (source.parent / "cache").rglob("*.npz")]


@pytest.mark.parametrize(("words", "expected"), [([], ["cu.allegro"]), (["--no-cache"], [])])
def test_a_model_in_a_folder_that_cannot_be_written(source: Path, words: list[str], expected: list[str]) -> None:
    """Tables go to the user's cache folder, or with --no-cache nowhere; nothing is written beside the model."""
    assert main([str(source), *words]) == 0
    assert tables(source) == expected


def test_a_cache_folder_that_cannot_be_used(source: Path) -> None:
    """A file in its place is as good as no cache: the run goes on."""
    (source.parent / "cache").touch()
    assert main([str(source)]) == 0
    assert (source.parent / "run" / "thermo.csv").exists() and (source.parent / "cache").is_file()
