"""Statistics of the training frames against numbers worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from allegro_md.config.training import DenseModel
from allegro_md.errors import InputError
from allegro_md.io.labeled import Frame
from allegro_md.training.statistics import Statistics, statistics_of

SYMBOLS = ("H", "C", "O")


@dataclass
class Edges:
    center: NDArray[np.int32]
    neighbor: NDArray[np.int32]
    vector: NDArray[np.float64]


def frame(numbers: Sequence[int], energy: float | None = None, forces: list[list[float]] | None = None) -> Frame:
    return Frame(
        numbers=np.array(numbers), position=np.zeros((len(numbers), 3)), cell=np.zeros((3, 3)),
        periodic=(False, False, False), energy=energy, forces=None if forces is None else np.array(forces),
        stress=None, kind="", source="by hand",
    )  # fmt: skip


def edges(*rows: tuple[int, int, list[float]]) -> Edges:
    center, neighbor = (np.array([row[k] for row in rows], dtype=np.int32) for k in (0, 1))
    return Edges(center, neighbor, np.array([row[2] for row in rows], dtype=float).reshape(-1, 3))


# Water with both directions of O-H, and H-H one way only; methane's C with two H of which one pair is longer.
FRAMES = [
    frame([8, 1, 1], -10.0, [[3.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 2.0]]),
    frame([6, 1], -8.0, [[0.0, 4.0, 0.0], [0.0, 0.0, 0.0]]),
]
GRAPHS = [
    edges((0, 1, [0.0, 0.6, 0.8]), (1, 0, [0.0, -0.6, -0.8]), (0, 2, [0.0, 0.0, 0.9]), (1, 2, [1.5, 0.0, 0.0])),
    edges((1, 0, [0.0, 0.0, 1.1])),
]


def measure(frames: list[Frame] = FRAMES, isolated: dict[str, float] | None = None, **options: Any) -> Statistics:
    model = DenseModel.model_validate({"cutoff": 4.0, **options})
    graphs: Any = GRAPHS[: len(frames)]
    return statistics_of(frames, SYMBOLS, graphs, model, isolated)


def test_counts_and_force_rms() -> None:
    found = measure()
    assert (found.frames, found.atoms) == (2, 5)
    assert found.average_neighbors == 5 / 5
    assert found.force_rms == pytest.approx(np.sqrt((9 + 1 + 4 + 16) / 15))
    assert found.force_rms_per_species == pytest.approx(
        {"H": np.sqrt((1 + 4) / 9), "C": np.sqrt(16 / 3), "O": np.sqrt(9 / 3)}
    )


def test_shortest_distances_are_of_unordered_pairs() -> None:
    assert measure().shortest == pytest.approx({"H-H": 1.5, "H-C": 1.1, "H-O": 0.9})


def test_scales() -> None:
    assert measure().scales == dict.fromkeys(SYMBOLS, pytest.approx(np.sqrt(2.0)))
    assert measure(scales="force-rms-per-species").scales == measure().force_rms_per_species
    assert measure(scales=2.5).scales == {"H": 2.5, "C": 2.5, "O": 2.5}
    assert measure(scales={"O": 3.0, "H": 1.0, "C": 2.0}).scales == {"H": 1.0, "C": 2.0, "O": 3.0}


def test_an_element_without_forces_is_scaled_as_all() -> None:
    water = [frame([8, 1, 1], -10.0, [[3.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])]
    assert measure(water, scales="force-rms-per-species").scales == pytest.approx(
        {"H": 1.0, "C": 1.0, "O": np.sqrt(3.0)}  # sqrt(9/9), and sqrt(9/3)
    )


def test_the_mean_shift_is_that_of_the_energies_per_atom() -> None:
    assert measure().shifts == dict.fromkeys(SYMBOLS, pytest.approx((-10 / 3 - 8 / 2) / 2))


def test_least_squares_finds_the_energies_of_the_elements() -> None:
    frames = [frame([8, 1, 1], -20 - 2), frame([6, 1], -11), frame([1, 1, 1], -3), frame([8, 6], -30)]
    graphs: Any = [edges() for _ in frames]
    model = DenseModel.model_validate({"cutoff": 4.0, "shifts": "least-squares", "scales": 1.0})
    found = statistics_of(frames, SYMBOLS, graphs, model)
    assert found.shifts == pytest.approx({"H": -1.0, "C": -10.0, "O": -20.0})


def test_least_squares_of_one_composition_is_the_smallest_solution() -> None:
    # H2O of −10 eV: shifts proportional to the counts (2, 0, 1), −10 = s·(2·2 + 1·1), s = −2.
    found = measure([FRAMES[0]], shifts="least-squares").shifts
    assert found == pytest.approx({"H": -4.0, "C": 0.0, "O": -2.0}, abs=1e-12)


def test_isolated_atoms_and_numbers() -> None:
    atoms = {"H": -13.6, "C": -1029.0, "O": -2041.0, "N": -1485.0}
    assert measure(isolated=atoms, shifts="isolated").shifts == {"H": -13.6, "C": -1029.0, "O": -2041.0}
    assert measure(shifts=-1.5).shifts == dict.fromkeys(SYMBOLS, -1.5)


def test_neighbors_given() -> None:
    assert measure(average_neighbors=17.5).average_neighbors == 17.5


@pytest.mark.parametrize(
    ("options", "isolated", "words"),
    [
        ({"shifts": "isolated"}, {"H": -13.6, "C": -1029.0}, ("data.isolated", "no number for O", "names H, C")),
        ({"shifts": {"H": -13.6, "O": -2041.0}}, None, ("model.shifts", "no number for C")),
        ({"scales": {"H": 1.0}}, None, ("model.scales", "no number for C")),
    ],
)
def test_an_element_without_a_number(
    options: dict[str, Any], isolated: dict[str, float] | None, words: tuple[str, ...]
) -> None:
    with pytest.raises(InputError) as caught:
        measure(isolated=isolated, **options)
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize("options", [{"shifts": 0.0}, {"scales": 1.0}])
def test_labels_that_are_needed(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="force-rms.*needs forces|mean.*needs energies"):
        measure([frame([8, 1, 1])], **options)


def test_the_summary_says_what_was_measured() -> None:
    text = measure().summary()
    assert "2 training frames, 5 atoms, 1.00 neighbors" in text
    assert "H-C 1.1" in text
    assert "O 1.73205" in text
