"""Keys of all quantities: odd values are refused in one sentence that names the observer and its key."""

from __future__ import annotations

from pathlib import Path

import pytest

from allegro_md.comm import Comm
from allegro_md.config import load_input
from allegro_md.config.output import OBSERVERS
from allegro_md.errors import InputError
from allegro_md.simulation.build import build_observers, build_parts

INPUT = """
[system]
crystal = { symbol = "Ar", lattice = "fcc", a = 5.5, repeat = [3, 3, 3] }
[potential]
kind = "lj"
epsilon = 0.0103
sigma = 3.4
cutoff = 6.0
[dynamics]
ensemble = "nve"
timestep = 4.0
steps = 50
"""

NEEDED = {
    "structure-factor": {}, "steinhardt": {"cutoff": "4.0"}, "profile": {"axis": '"c"'}, "van-hove": {"times": "[20]"},
    "conductivity": {"charges": "{ Ar = 1 }", "temperature": "300"},
}  # fmt: skip

ODD = (
    "0", "-1", "inf", "nan", "-inf", '""', "[]", "{}", "true", '"ü-/.."', "1" + "0" * 400, "9223372036854775808",
    "[nan]", '["Ar", 1]', "[[1, 2]]", '"\\u0000"', "{ Ar = {} }", "{ a = { ids = [-1] } }",
    '{ a = { region = { x = [0, nan] } } }', "{ a = { region = { x = [0, 1" + "0" * 400 + "] } } }",
    '{ "ä" = { species = ["Ar"] } }', "{ a-b = { ids = [0] } }",
)  # fmt: skip


@pytest.mark.parametrize("kind", list(OBSERVERS))
def test_odd_values_are_refused_by_the_name_of_their_key(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "input.toml"
    path.write_text(INPUT)
    for key in OBSERVERS.table(kind).model_fields:
        refused = 0
        for value in ODD:
            keys = {"kind": f'"{kind}"', "every": "5", **NEEDED.get(kind, {}), key: value}
            table = ", ".join(f"{name} = {text}" for name, text in keys.items())
            try:
                load_input(path, [f'output.observe=[{{ kind = "msd", every = 1 }}, {{ {table} }}]'])
            except InputError as error:
                refused += 1
                assert f"output.observe.1.{key}" in str(error), (value, str(error))
                assert "\n" not in str(error)
                assert len(str(error)) < 600
        assert refused >= len(ODD) // 2, key


def test_huge_numbers_of_bins_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "input.toml"
    path.write_text(INPUT)
    binned = [kind for kind in OBSERVERS if "bins" in OBSERVERS.table(kind).model_fields]
    assert len(binned) >= 5
    for kind in binned:
        keys = {"kind": f'"{kind}"', "every": "5", "rmax": "1e6", **NEEDED.get(kind, {}), "bins": "1e9"}
        keys = {key: value for key, value in keys.items() if key in OBSERVERS.table(kind).model_fields}
        table = ", ".join(f"{name} = {text}" for name, text in keys.items())
        with pytest.raises(InputError, match=r"observe\.0\.bins: must be at least 1 and at most 100000"):
            load_input(path, [f"output.observe=[{{ {table} }}]"])


@pytest.mark.parametrize("what", ["file", "link to nothing"])
def test_results_whose_place_is_taken_are_refused_before_the_run(what: str, tmp_path: Path) -> None:
    (tmp_path / "input.toml").write_text(INPUT)
    place = tmp_path / "run" / "observe"
    place.parent.mkdir()
    if what == "file":
        place.write_text("")
    else:
        place.symlink_to(tmp_path / "nothing")
    config = load_input(tmp_path / "input.toml", ["output.observe=[{ kind = 'averages', every = 5 }]"])
    with pytest.raises(InputError, match="is no folder, but results are to be written into it"):
        parts = build_parts(config, Comm.serial())
        build_observers(config, parts.system, parts.potential, Comm.serial())


def test_a_resolved_input_is_an_input_again(tmp_path: Path) -> None:
    """As `check` prints it: groups, regions, pairs, triplets and cutoffs as they are written."""
    observers = [
        '{ kind = "rdf", every = 5 }',
        '{ kind = "rdf", name = "part", every = 5, pairs = ["low-Ar", "Ar-Ar"], groups = { Ar = { species = ["Ar"] }, '
        "low = { ids = [0, 3], region = { z = [0.0, 5.5], x = [1.0, 2.0] } } } }",
        '{ kind = "adf", every = 5, cutoffs = { Ar-Ar = 4.5 }, triplets = ["Ar-Ar-Ar"] }',
        '{ kind = "van-hove", every = 5, times = [20, 40] }',
        '{ kind = "conductivity", every = 5, charges = { Ar = 1 }, temperature = 300 }',
        '{ kind = "steinhardt", every = 5, cutoff = 4.0, l = [6] }',
        '{ kind = "msd", every = 5, axes = "xy", species = ["Ar"], after = 10 }',
    ]
    path = tmp_path / "input.toml"
    path.write_text(INPUT + "[output]\nobserve = [" + ", ".join(observers) + "]\n")
    config = load_input(path)
    path.write_text(config.to_toml())
    assert load_input(path) == config and len(config.output.observe) == len(observers)
