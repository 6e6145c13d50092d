"""Forces, energies and virials where geometry is awkward, against sums over all pairs and images written in numpy."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import image_sum
import numpy as np
import pytest
import torch
from once import once
from systems import INPUTS
from torture import EPSILON, SIGMA, Place, places

from allegro_md.exact import FORCE_SCALE
from allegro_md.models.allegro.edges import Edges
from allegro_md.models.modelfile import load_model

DRIVER = Path(__file__).resolve().parents[1] / "drivers" / "geometry.py"
PLACES = places()


@cache
def network() -> Any:
    return load_model(INPUTS / "models" / "cu.allegro").prepare(torch.float64, torch.device("cpu"))


def allegro_sum(place: Place) -> tuple[Any, Any, Any]:
    """The network on all edges at once, found by image sum."""
    evaluate = network()
    cutoff = float(np.max(evaluate.cutoffs))
    n = len(place.x)
    i, j, _, d = image_sum.pairs(place.x, place.rows, place.periodic, cutoff)
    order = np.argsort(i, kind="stable")
    i, j, d = i[order], j[order], d[order]
    vector = torch.from_numpy(d).requires_grad_()
    species = torch.zeros(n, dtype=torch.int64)
    energy = evaluate(Edges(vector, torch.from_numpy(i), species, torch.zeros(len(j), dtype=torch.int64)))
    (gradient,) = torch.autograd.grad(energy.sum(), vector)
    return energy.detach().numpy(), *image_sum.total(i, j, d, gradient.numpy(), n)


@cache
def expected(name: str) -> tuple[Any, Any, Any]:
    place = PLACES[name]
    if place.potential == "allegro":
        return allegro_sum(place)
    return image_sum.lennard_jones(place.x, place.rows, place.periodic, EPSILON, SIGMA, place.cutoff)


class Evaluations:
    """One launch per number of ranks; 0 is one rank without mpirun."""

    def __init__(self, mpirun: Any, folder: Path) -> None:
        self._mpirun, self._folder = mpirun, folder
        self.get = once(self._get)

    def _get(self, ranks: int) -> dict[str, Any]:
        done = self._folder / f"{ranks}.npz"
        self._mpirun(ranks, [DRIVER, done], timeout=250)
        return dict(np.load(done))


@pytest.fixture(scope="module")
def evaluations(mpirun: Any, tmp_path_factory: pytest.TempPathFactory) -> Evaluations:
    return Evaluations(mpirun, tmp_path_factory.mktemp("geometry"))


def close(actual: Any, wanted: Any, scale: float) -> None:
    np.testing.assert_allclose(actual, wanted, rtol=0, atol=1e-10 * scale)


@pytest.mark.parametrize("name", PLACES)
def test_image_sum(evaluations: Evaluations, name: str) -> None:
    """One rank; units of the fixed-point forces (6e-14 eV/Å per pair) are allowed for where forces vanish."""
    result, place = evaluations.get(0), PLACES[name]
    energy, force, virial = expected(name)
    assert np.array_equal(result[f"{name}/id"], np.arange(len(place.x)))
    assert np.array_equal(result[f"{name}/position"], place.start)
    close(result[f"{name}/force"] / FORCE_SCALE, force, max(np.abs(force).max(), 1e-3))
    close(result[f"{name}/energy"], energy, max(np.abs(energy).max(), 1e-3))
    close(result[f"{name}/virial"], virial, max(np.abs(virial).max(), 1e-3))


def test_places_are_awkward() -> None:
    """Most configurations have forces to compare; those that cannot have other things."""
    silent = {name for name in PLACES if np.abs(expected(name)[1]).max() < 1e-6}
    assert silent == {"one-atom-primitive", "one-atom-alone", "two-atoms-apart", "allegro-one-atom"}
    for name in ("one-atom-primitive", "allegro-one-atom"):
        assert np.abs(expected(name)[0]).max() > 1e-3 and np.abs(expected(name)[2]).max() > 1e-3


def same_everywhere(evaluations: Evaluations, ranks: int) -> None:
    one, many = evaluations.get(0), evaluations.get(ranks)
    different = [key for key in one if one[key].tobytes() != many[key].tobytes()]
    assert set(one) == set(many) and different == []


@pytest.mark.parallel
@pytest.mark.parametrize("ranks", [2])
def test_any_ranks(evaluations: Evaluations, ranks: int) -> None:
    same_everywhere(evaluations, ranks)


@pytest.mark.long
@pytest.mark.parallel
@pytest.mark.parametrize("ranks", [1, 3, 4, 5, 6, 7, 8])
def test_more_ranks(evaluations: Evaluations, ranks: int) -> None:
    same_everywhere(evaluations, ranks)
