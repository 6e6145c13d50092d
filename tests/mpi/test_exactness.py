"""The same trajectory, bit for bit: on any number of ranks, with any grid, skin, number of blocks, and rebuild.

Every run is compared with the same case on one rank in a plain process. Engines that are wrong on purpose (drivers/
mutants.py) must be told from it by the same comparison.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from once import once
from systems import crossing_start

pytestmark = pytest.mark.parallel

DRIVER = Path(__file__).resolve().parents[1] / "drivers" / "exactness.py"

STEPS = {
    "quickstart": 80, "network": 80, "argon": 100, "triclinic": 150, "slab": 160, "liquid": 160, "langevin": 160,
    "breathing": 150, "sheared": 200, "bilinear": 80, "single-layer": 80, "ideal": 1000, "ideal-tilted": 1000,
    "soft": 1000,
}  # fmt: skip
LONG_STEPS = {**STEPS, "quickstart": 300, "network": 300, "argon": 200, "liquid": 300, "langevin": 300}
LONG_STEPS |= {"bilinear": 160, "single-layer": 160, "multi-layer": 120}  # as many as it takes to have 100 migrations
OWN: dict[str, dict[str, Any]] = {
    "slab": {"grid": "z"},  # leaves ranks empty
    **dict.fromkeys(("ideal", "ideal-tilted", "soft"), {"skin": 1.5, "thermo_every": 50}),
}

VARIATIONS: dict[str, dict[str, Any]] = {
    "base": {},
    "thin": {"skin": 0.2},
    "thick": {"skin": 1.0},
    "forced": {"rebuild_every": 3},
    "x": {"grid": "x", "skin": 1.0},
    "y": {"grid": "y", "skin": 0.2},
    "z": {"grid": "z", "rebuild_every": 7},
    "block": {"tiles": 1, "skin": 0.2},
    "blocks": {"tiles": 32, "skin": 0.2},
    "moved": {"balance": "moving-plane", "rebuild_every": 3},
    "balanced": {"balance": {"threshold": 1.0}, "skin": 0.2},
}
LJ = ("argon", "triclinic", "slab", "liquid", "langevin", "breathing", "sheared")
FUSED = ("bilinear", "single-layer")
CROSSING = ("ideal", "ideal-tilted", "soft")
ONE: dict[str, tuple[str, ...]] = dict.fromkeys(LJ, ("thin", "thick", "forced")) | dict.fromkeys(CROSSING, ("thick",))
ONE |= dict.fromkeys(("quickstart", "network"), ("block",)) | dict.fromkeys(FUSED, ("thin", "blocks", "forced"))
TWO: dict[str, tuple[str, ...]] = dict.fromkeys(LJ, ("thin", "x")) | dict.fromkeys(CROSSING, ("base",))
TWO |= dict.fromkeys(("quickstart", "network"), ("thin",)) | dict.fromkeys(FUSED, ("block", "x"))
TWO["triclinic"] += ("base", "moved", "balanced")
ON_FOUR = ("argon", "triclinic", "slab", "liquid", "langevin", "sheared", "ideal-tilted", "bilinear")
FOUR: dict[str, tuple[str, ...]] = dict.fromkeys(ON_FOUR, ("base",))
FOUR["triclinic"] += ("moved", "balanced")
FOUR |= {case: (*FOUR[case], "moved") for case in ("slab", "sheared", "bilinear")}
OF_LJ = ("base", "thin", "thick", "forced", "x", "y", "z", "moved", "balanced")
ALL: dict[str, tuple[str, ...]] = dict.fromkeys(LJ, OF_LJ)
ALL |= dict.fromkeys(CROSSING, ("base", "x", "z"))
ALL |= dict.fromkeys(("quickstart", "network", *FUSED, "multi-layer"), tuple(VARIATIONS))

MUTANTS = {"float-forces": "triclinic", "float-reduce": "argon", "wrap": "liquid"}

COMPARED = ("id", "thermo", "position", "velocity", "force", "cell")


def job(case: str, variation: str, steps: dict[str, int]) -> dict[str, Any]:
    return {
        "name": f"{case}-{variation}",
        "case": case,
        "steps": steps[case],
        **OWN.get(case, {}),
        **VARIATIONS[variation],
    }


def mutant_jobs() -> list[dict[str, Any]]:
    return [
        {"name": f"{mutant}-{variation}", "case": case, "mutant": mutant, "steps": 30, **VARIATIONS[variation]}
        for mutant, case in MUTANTS.items()
        for variation in ("base", "forced")
    ]


class Launcher:
    """Runs jobs on n ranks, all of one kind in one process launch; keeps the results."""

    def __init__(self, mpirun: Any, folder: Path) -> None:
        self._mpirun, self._folder = mpirun, folder
        self._alone, self._together = once(self._get_alone), once(self._get)

    def get(self, ranks: int, kind: str) -> dict[str, dict[str, Any]]:
        """The results by name; kind and ranks as for `_get`."""
        return dict(self._alone(kind)[ranks] if ranks < 2 else self._together(ranks, kind))

    def _get_alone(self, kind: str) -> list[dict[str, dict[str, Any]]]:
        """One rank without mpirun and one rank with it, side by side, since each needs one core."""
        with ThreadPoolExecutor(2) as pool:
            return list(pool.map(self._get, (0, 1), (kind, kind)))

    def _get(self, ranks: int, kind: str) -> dict[str, dict[str, Any]]:
        """kind: "default" or "long". Rank 0 is one rank without mpirun, with the runs all others are compared to."""
        steps = STEPS if kind == "default" else LONG_STEPS
        chosen: dict[str, tuple[str, ...]]
        if kind == "default":
            every: dict[int, dict[str, tuple[str, ...]]]
            every = {0: dict.fromkeys(STEPS, ("base",)), 1: ONE, 2: TWO, 4: FOUR}
            chosen = every[ranks]
        else:
            chosen = dict.fromkeys(LONG_STEPS, ("base",)) if ranks == 0 else ALL
        jobs = [job(case, variation, steps) for case, names in chosen.items() for variation in names]
        if kind == "default" and ranks in (0, 2):
            jobs += mutant_jobs()
            jobs += [{"name": f"right-{case}", "case": case, "steps": 30} for case in MUTANTS.values()]
        return self._launch(ranks, kind, jobs)

    def _launch(self, ranks: int, kind: str, jobs: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
        todo, done = self._folder / f"{kind}-{ranks}.json", self._folder / f"{kind}-{ranks}.npz"
        todo.write_text(json.dumps(jobs))
        self._mpirun(ranks, [DRIVER, todo, done], timeout=280 if kind == "default" else 3500)
        results: dict[str, dict[str, Any]] = {}
        with np.load(done) as data:
            for key in data:
                name, field = key.split("/")
                results.setdefault(name, {})[field] = data[key]
        return results


@pytest.fixture(scope="module")
def launcher(mpirun: Any, tmp_path_factory: pytest.TempPathFactory) -> Launcher:
    return Launcher(mpirun, tmp_path_factory.mktemp("exactness"))


def differences(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    """The fields in which two runs do not have the same bits."""
    return [field for field in COMPARED if a[field].tobytes() != b[field].tobytes()]


def check(case: str, reference: dict[str, Any], ranks: int, results: dict[str, dict[str, Any]]) -> None:
    mine = {name: run for name, run in results.items() if name.rpartition("-")[0] == case}
    assert mine
    assert np.isfinite(reference["position"]).all() and reference["force"].any() == ("ideal" not in case)
    assert reference["rebuilds"] > 3
    for name, run in mine.items():
        assert np.prod(run["grid"]) == max(1, ranks)
        assert differences(run, reference) == [], f"{name} on {ranks} ranks"
        assert run["rebuilds"] > 3, name  # beyond the first
        if ranks > 1:
            assert run["migrations"] >= 100, name


@pytest.mark.parametrize(("ranks", "case"), [(r, c) for r, cases in ((1, ONE), (2, TWO), (4, FOUR)) for c in cases])
def test_same_bits(launcher: Launcher, case: str, ranks: int) -> None:
    check(case, launcher.get(0, "default")[f"{case}-base"], ranks, launcher.get(ranks, "default"))


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("case", LONG_STEPS)
@pytest.mark.parametrize("ranks", [1, 2, 3, 4, 8])
def test_same_bits_in_all_variations(launcher: Launcher, case: str, ranks: int) -> None:
    check(case, launcher.get(0, "long")[f"{case}-base"], ranks, launcher.get(ranks, "long"))


def test_variations_do_vary(launcher: Launcher) -> None:
    """The skin decides how often lists are made, or the test above would compare a thing with itself."""
    base, one = launcher.get(0, "default"), launcher.get(1, "default")
    for case in LJ:
        thin, thick = one[f"{case}-thin"]["rebuilds"], one[f"{case}-thick"]["rebuilds"]
        assert thin > base[f"{case}-base"]["rebuilds"] > thick, case
        assert one[f"{case}-forced"]["rebuilds"] >= STEPS[case] // 3


def test_sheared_cell_is_replaced(launcher: Launcher) -> None:
    """By others of the same lattice, several times, so that `test_same_bits` has gone through it."""
    assert launcher.get(0, "default")["sheared-base"]["lattices"] >= 3


def test_liquid_leaves_the_box(launcher: Launcher) -> None:
    """All of them, and relative to each other too."""
    run = launcher.get(0, "default")["liquid-base"]
    images = np.floor(run["position"] / 13.0)
    assert images.any(axis=1).all() and np.abs(images).max() >= 2
    assert np.ptp(images, axis=0).max() >= 2


@pytest.mark.parametrize(
    ("ranks", "case"), [(0, "ideal"), (2, "ideal"), (0, "ideal-tilted"), (2, "ideal-tilted"), (4, "ideal-tilted")]
)
def test_straight_lines(launcher: Launcher, case: str, ranks: int) -> None:
    """After 1,000 steps across faces, edges and corners every atom is where arithmetic says, exactly."""
    run = launcher.get(ranks, "default")[f"{case}-base"]
    x, v = crossing_start(0.0)
    assert np.array_equal(run["id"], np.arange(len(x)))
    assert np.array_equal(run["velocity"], v)
    assert np.array_equal(run["position"], x + 1000 * v)


@pytest.mark.parametrize("ranks", [2, 4])
def test_a_balancer_moves_planes(launcher: Launcher, ranks: int) -> None:
    """One is from a file of the tests and a line in the registry; `test_same_bits` compares its run."""
    runs = launcher.get(ranks, "default")
    # Two equal halves of a small crystal are balanced from the start, and their times are too short to be judged by.
    for name in ("triclinic-moved", "triclinic-balanced") if ranks == 4 else ("triclinic-moved",):
        assert not np.array_equal(runs[name]["planes"], runs["triclinic-base"]["planes"])


def test_slab_leaves_ranks_empty(launcher: Launcher) -> None:
    run = launcher.get(4, "default")["slab-base"]
    assert tuple(run["grid"]) == (1, 1, 4) and run["empty"] >= 1


@pytest.mark.parametrize("mutant", MUTANTS)
def test_mutants_are_found(launcher: Launcher, mutant: str) -> None:
    """A wrong engine follows the right trajectory closely for a while, but not to the bit."""
    one, two, case = launcher.get(0, "default"), launcher.get(2, "default"), MUTANTS[mutant]
    assert differences(one[f"right-{case}"], two[f"right-{case}"]) == []
    right = one[f"right-{case}"]
    for run in (one[f"{mutant}-base"], two[f"{mutant}-base"]):
        np.testing.assert_allclose(run["velocity"], right["velocity"], atol=1e-6)
    assert {"velocity", "thermo"} <= set(differences(one[f"{mutant}-base"], two[f"{mutant}-forced"]))
