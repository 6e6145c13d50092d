"""`engine = "auto"`: which engine a model gets, what is said of it, how large its blocks are, and that it stays."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from allegro_md.cli import main
from allegro_md.comm import Comm
from allegro_md.config import load_input
from allegro_md.errors import InputError, ResourceError
from allegro_md.kernels.cpu_single_layer_arrays import BLOCK_ROWS
from allegro_md.models.allegro.architecture import Mlp, Residual
from allegro_md.models.allegro.network import Network
from allegro_md.models.fused import accuracy, block_size, packing
from allegro_md.models.fused.fold import UnfoldableError
from allegro_md.potentials.allegro import AllegroPotential, choose
from allegro_md.potentials.fused import FusedPotential
from allegro_md.simulation import Simulation

SYMBOLS = ("Cu", "Ni")


def network(l_max: int = 1, latent: Any = (16,)) -> Any:
    architecture = Residual(
        symbols=SYMBOLS, cutoff=4.2, channels=4, average_neighbors=14.0, layers=1, l_max=l_max, latents=16,
        two_body=Mlp(widths=(16,)), latent=Mlp(widths=latent), readout=Mlp(),
    )  # fmt: skip
    return Network(architecture).initialize(7)


@pytest.fixture(scope="module")
def system(lab: Any) -> Any:
    return lab.liquid(SYMBOLS, 2.5, n=4, seed=2)


def same(a: Any, b: Any) -> None:
    assert np.array_equal(a.fixed, b.fixed) and np.array_equal(a.energy, b.energy)


def test_a_model_that_can_be_folded_is(lab: Any, system: Any) -> None:
    for model, kind, why in (
        (network(), "single-layer", "one layer, beyond the sum over neighbors not linear: the latent MLP (silu)"),
        (network(latent=()), "bilinear", "one layer, beyond the sum over neighbors all linear"),
    ):
        potential = choose(model, SYMBOLS, precision="double")
        assert isinstance(potential, FusedPotential) and potential.kind == kind
        said = potential.info.description
        assert f"{kind}: {why};" in said and f"{potential.intervals} intervals" in said
        assert f"within {potential.error:.2g} of max(1e-5 eV/Å, 1e-5 |F|)" in said
        same(lab.run(potential, system), lab.run(FusedPotential(model, SYMBOLS, "double", tiles=3), system))


def test_the_reference_where_it_is_asked_for(lab: Any, system: Any) -> None:
    potential = choose(network(), SYMBOLS, "reference", "double")
    assert isinstance(potential, AllegroPotential) and potential.info.description == "reference engine, asked for"
    same(lab.run(potential, system), lab.run(AllegroPotential(network(), SYMBOLS, "double"), system))


def test_the_reference_where_there_is_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """A degree without kernels; tables that cannot be made fine enough."""
    potential = choose(network(l_max=4), SYMBOLS)
    assert isinstance(potential, AllegroPotential) and "l_max = 4" in potential.info.description
    with pytest.raises(UnfoldableError, match='l_max = 4.*engine = "reference"'):
        choose(network(l_max=4), SYMBOLS, "fused")
    monkeypatch.setattr(accuracy, "FINEST", accuracy.COARSEST)
    monkeypatch.setattr(accuracy, "MARGIN", 0.0)
    potential = choose(network(), SYMBOLS)
    assert isinstance(potential, AllegroPotential) and "tables of 256 intervals" in potential.info.description
    with pytest.raises(UnfoldableError, match='further off than allowed.*engine = "reference"'):
        choose(network(), SYMBOLS, "fused")
    with pytest.raises(InputError, match="does not know Ar"):
        choose(network(), ("Ar",))


def test_blocks_grow_while_that_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    times = {1: 1.0, 2: 0.8, 4: 0.7, 8: 0.69}
    monkeypatch.setattr(block_size, "_seconds", lambda model, sample, tiles: times[tiles])
    potential = FusedPotential(network(), SYMBOLS)
    assert potential._evaluate.tiles == 4 and "blocks of 4 x " in potential.info.description


def test_out_of_memory_halves_the_block(lab: Any, system: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the same step, and without a bit changed."""
    expected = lab.run(FusedPotential(network(), SYMBOLS, tiles=1), system)
    potential, allocate, room = FusedPotential(network(), SYMBOLS, tiles=8), packing.allocate, [2]

    def scarce(model: Any, rows: Any) -> Any:
        if rows > room[0] * BLOCK_ROWS:
            raise MemoryError
        return allocate(model, rows)

    monkeypatch.setattr(packing, "allocate", scarce)
    same(lab.run(potential, system), expected)
    assert potential._evaluate.tiles == 2
    room[0] = 0
    with pytest.raises(ResourceError, match="out of memory for the smallest block"):
        lab.run(FusedPotential(network(), SYMBOLS, tiles=8), system)


def test_info_and_check_say_which(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quickstart = str(root / "inputs" / "quickstart.toml")
    assert main(["info", str(root / "inputs" / "models" / "cu.allegro")]) == 0
    said = capsys.readouterr().out
    assert "fused engine, single-layer: one layer" in said and "1024 intervals" in said and "MB" in said
    assert main(["check", quickstart]) == 0
    assert "# cu.allegro: fused engine, single-layer" in capsys.readouterr().out
    assert main(["check", quickstart, "--set", 'potential.engine="reference"']) == 0
    assert "# cu.allegro: reference engine, asked for" in capsys.readouterr().out


def test_a_run_goes_on_with_the_engine_it_began_with(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the tables, found right at its start, stay in the cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    model = shutil.copy(root / "inputs" / "models" / "cu.allegro", tmp_path)

    def simulation(steps: int, engine: str, resume: bool) -> Simulation:
        settings = [f"dynamics.steps={steps}", f'output.directory="{tmp_path / "run"}"', f'potential.engine="{engine}"']
        settings.append(f'potential.model="{model}"')
        config = load_input(root / "inputs" / "quickstart.toml", settings)
        return Simulation.from_config(config, Comm.serial(), resume=resume)

    simulation(1, "auto", resume=False).run()
    assert len(list((tmp_path / "cache" / "allegro-md").glob("cu.allegro.tables-*.npz"))) == 1
    assert json.loads((tmp_path / "run" / "run.json").read_text())["input"]["potential"][0]["engine"] == "fused"
    assert "cu.allegro: fused engine, single-layer: one layer" in (tmp_path / "run" / "log.txt").read_text()
    with pytest.raises(InputError, match="engine = reference, but the run began with fused"):
        simulation(2, "reference", resume=True)
    simulation(2, "auto", resume=True).run()
    assert simulation(2, "fused", resume=True).loop.step == 2
