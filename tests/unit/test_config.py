"""The input: units, overrides, the way back to TOML, and one helpful sentence for every fault."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from allegro_md.config import EamTerm, Input, LennardJonesTerm, NveConfig, NvtNoseHooverConfig, ZblTerm, load_input
from allegro_md.config.output import BALANCERS, ParallelConfig
from allegro_md.errors import InputError
from allegro_md.integrators.chain import SUZUKI_YOSHIDA
from allegro_md.triggers import Every

ARGON = """
[system]
crystal = { symbol = "Ar", lattice = "fcc", a = "0.526 nm", repeat = [4, 4, 4] }
[system.velocities]
temperature = 90
[potential]
kind = "lj"
epsilon = "0.0103408 eV"
sigma = 3.405
cutoff = 8.5
[dynamics]
ensemble = "nvt-nose-hoover"
timestep = "2 fs"
steps = 1e3
temperature = [90, "100 K"]
[output]
trajectory = { every = 10 }
"""


@pytest.fixture
def argon(tmp_path: Path) -> Path:
    path = tmp_path / "argon.toml"
    path.write_text(ARGON)
    (tmp_path / "start.extxyz").write_text("1\n\nAr 0 0 0\n")
    return path


def test_values_units_and_defaults(argon: Path) -> None:
    config = load_input(argon)
    crystal, term, dynamics = config.system.crystal, config.potential[0], config.dynamics
    assert crystal is not None and crystal.a == pytest.approx(5.26) and crystal.repeat == (4, 4, 4)
    assert isinstance(term, LennardJonesTerm) and (term.epsilon, term.shift) == (0.0103408, True)
    assert isinstance(dynamics, NvtNoseHooverConfig) and dynamics.ramp == (90.0, 100.0)
    assert (dynamics.timestep, dynamics.steps) == (2.0, 1000) and isinstance(dynamics.steps, int)
    assert (dynamics.thermostat_time, dynamics.thermostat_chain, dynamics.suzuki_yoshida) == (100.0, 3, 3)
    assert (config.parallel.grid, config.parallel.skin) == ("auto", 0.5)
    assert config.output.directory == argon.parent / "run"
    assert config.output.trajectory is not None and config.output.trajectory.fields == ("position",)
    assert (config.output.thermo.every, config.output.checkpoint.every, config.output.checkpoint.keep) == (10, 1000, 2)


@pytest.mark.parametrize(
    ("assignment", "value"),
    [
        ("dynamics.timestep=0.001 ps", 1.0),
        ("dynamics.timestep='500 as'", 0.5),
        ("dynamics.timestep=3", 3.0),
        ("dynamics.timestep=1e-15 s", 1.0),
    ],
)
def test_unit_strings(argon: Path, assignment: str, value: float) -> None:
    assert load_input(argon, [assignment]).dynamics.length_of_step == pytest.approx(value, rel=1e-14)


@pytest.mark.parametrize("order", SUZUKI_YOSHIDA)
def test_every_order_the_integrator_has_is_accepted(argon: Path, order: int) -> None:
    dynamics = load_input(argon, [f"dynamics.suzuki_yoshida={order}"]).dynamics
    assert isinstance(dynamics, NvtNoseHooverConfig) and dynamics.suzuki_yoshida == order


def test_every_zero_is_never(argon: Path) -> None:
    output = load_input(argon, [f"output.{what}.every=0" for what in ("trajectory", "thermo", "checkpoint")]).output
    assert output.trajectory is not None
    assert (output.trajectory.every, output.thermo.every, output.checkpoint.every) == (0, 0, 0)
    assert not any(Every(output.thermo.every)(step) for step in (0, 1, 10))


def test_energy_in_kelvin_is_boltzmann(argon: Path) -> None:
    term = load_input(argon, ["potential.epsilon=120 K"]).potential[0]
    assert isinstance(term, LennardJonesTerm) and term.epsilon == pytest.approx(120 * 8.617333262e-5, rel=1e-9)


def test_overrides(argon: Path) -> None:
    config = load_input(
        argon,
        ["dynamics.steps=7", "parallel.grid=[2, 1, 1]", "output.directory=elsewhere", "output.thermo.every=5",
         "system.crystal.repeat.2=9", "system.masses={ Ar = 40.0 }"],
    )  # fmt: skip
    assert config.dynamics.steps == 7
    assert config.parallel.grid == (2, 1, 1)
    assert config.output.directory == argon.parent / "elsewhere"
    assert config.output.thermo.every == 5
    assert config.system.crystal is not None and config.system.crystal.repeat == (4, 4, 9)
    assert config.system.masses == {"Ar": 40.0}


def test_several_terms_and_overrides_into_them(argon: Path) -> None:
    text = ARGON.replace("[potential]", "[[potential]]")
    argon.write_text(text.replace("[dynamics]", '[[potential]]\nkind = "zbl"\ncutoff = 2\n[dynamics]'))
    terms: Any = load_input(argon).potential
    assert [term.kind for term in terms] == ["lj", "zbl"]
    first = load_input(argon, ["potential.0.cutoff=9"]).potential[0]
    assert isinstance(first, LennardJonesTerm) and first.cutoff == 9.0
    with pytest.raises(InputError, match=r"potential\.0 to potential\.1"):
        load_input(argon, ["potential.2.cutoff=9"])


FULL = """
[system]
structure = "start.extxyz"
frame = 0
repeat = [1, 2, 3]
periodic = [true, false, true]
masses = { Ar = 39.9479974285, Kr = "83.798 amu" }
[[potential]]
kind = "lj"
cutoff = 8.5
shift = false
pairs = { "Ar-Kr" = ["120 K", 3.5], "Ar-Ar" = [0.01, 3.4], "Kr-Kr" = [0.014, 3.65] }
[[potential]]
model = "models/m.allegro"
precision = "double"
[[potential]]
kind = "ase"
calculator = "package.module:factory"
options = { "odd key" = "tab\\tquote\\"", list = [1, 2.5, true], nested = { a = 1e-300 } }
range = 6
[dynamics]
ensemble = "nve"
timestep = 0.1
steps = 0
[parallel]
grid = [1, 1, 2]
skin = 0
balance = "auto"
[output]
directory = "/somewhere/else"
trajectory = { every = 1, fields = ["position", "velocity", "force", "image"], dtype = "float64" }
"""


@pytest.mark.parametrize("text", [ARGON, FULL])
def test_resolved_toml_reads_back_equal(argon: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "m.allegro").touch()
    argon.write_text(text)
    config = load_input(argon)
    again = tmp_path / "other" / "resolved.toml"
    again.parent.mkdir()
    again.write_text(config.to_toml())
    assert load_input(again) == config
    assert Input.model_validate(config.as_dict()) == config
    assert isinstance(load_input(argon).dynamics, NveConfig if text is FULL else NvtNoseHooverConfig)


def test_input_is_frozen(argon: Path) -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_input(argon).dynamics.steps = 3  # type: ignore[misc]


# Each: an override of ARGON, and what the message must contain: the key, then what helps.
BAD_VALUES = [
    ("dynamics.timestp=1", "dynamics.timestp", "did you mean 'timestep'?"),
    ("skin=0.2", "skin", "[parallel]"),
    ("dynamics.skin=0.2", "dynamics.skin", "[parallel]"),
    ("outptu.directory=x", "outptu", "did you mean 'output'?"),
    ("system.crystal.latice=fcc", "system.crystal.latice", "did you mean 'lattice'?"),
    ("system.velocities.temprature=3", "system.velocities.temprature", "did you mean 'temperature'?"),
    ("output.trajectory.evry=3", "output.trajectory.evry", "did you mean 'every'?"),
    ("potential.epsilom=3", "potential.epsilom", "did you mean 'epsilon'?"),
    ("dynamics.timestep=-1", "dynamics.timestep", "positive"),
    ("dynamics.timestep=0", "dynamics.timestep", "positive"),
    ("dynamics.timestep=nan", "dynamics.timestep", "finite"),
    ("dynamics.timestep=inf", "dynamics.timestep", "finite"),
    ("dynamics.timestep=1 s", "dynamics.timestep", "between 1e-09 and 1e+09 fs"),
    ("potential.cutoff=1e-8", "potential.cutoff", "too small"),
    ("dynamics.timestep=2 eV", "dynamics.timestep", "fs"),
    ("dynamics.timestep=fast", "dynamics.timestep", "1.0 fs"),
    ("dynamics.timestep=true", "dynamics.timestep", "number in fs"),
    ("dynamics.timestep=1" + "0" * 400, "dynamics.timestep", "too large"),
    ("dynamics.steps=-5", "dynamics.steps", "at least 0"),
    ("dynamics.steps=10.5", "dynamics.steps", "whole number"),
    ("dynamics.steps='100'", "dynamics.steps", "whole number"),
    ("dynamics.steps=true", "dynamics.steps", "whole number"),
    ("dynamics.temperature=-300", "dynamics.temperature", "positive"),
    ("dynamics.temperature=[1, 2, 3]", "dynamics.temperature", "[300, 600]"),
    ("dynamics.temperature=27 C", "dynamics.temperature", "K"),
    ("dynamics.thermostat_time=1", "dynamics.thermostat_time", "longer than the timestep"),
    ("dynamics.thermostat_chain=0", "dynamics.thermostat_chain", "at least 1"),
    ("dynamics.suzuki_yoshida=4", "dynamics.suzuki_yoshida", "1, 3, 5 or 7"),
    ("dynamics.ensemble=nvt", "dynamics.ensemble", "nvt-nose-hoover"),
    ("dynamics.ensemble=npt-mtk", "dynamics.pressure", "for example pressure"),
    ("dynamics.ensemble=minimize", "dynamics.timestep", "does not apply to ensemble"),
    ("dynamics.ensemble=nve", "dynamics.temperature", "[system.velocities]"),
    ("dynamics.ensemble=3", "dynamics.ensemble", "nve"),
    ("system.structure=start.extxyz", "system", "both structure and crystal"),
    ("system.structure=strat.extxyz", "system.structure", "did you mean 'start.extxyz'?"),
    ("system.structure=.", "system.structure", "folder"),
    ("system.frame=0", "system.frame", "remove it"),
    ("system.crystal.symbol=Agg", "system.crystal.symbol", '"Ag"'),
    ("system.crystal.lattice=FCC", "system.crystal.lattice", '"fcc"'),
    ("system.crystal.a=0", "system.crystal.a", "positive"),
    ("system.crystal.c=5", "system.crystal.c", "hcp"),
    ("system.crystal.rattle=6", "system.crystal.rattle", "smaller than the lattice constant"),
    ("system.crystal.repeat=[0, 1, 1]", "system.crystal.repeat", "at least 1"),
    ("system.repeat=3", "system.repeat", "[2, 2, 1]"),
    ("system.periodic=true", "system.periodic", "three booleans"),
    ("system.masses.Xy=3", "system.masses", "'Xy' is not a chemical symbol"),
    ("system.masses.Ar=-3", "system.masses.Ar", "positive"),
    ("system.velocities.temperature=-1", "system.velocities.temperature", "zero or more"),
    ("potential.model=ag.allegro", "potential.kind", "both model and kind"),
    ("potential.kind=lennard-jones", "potential.kind", '"lj"'),
    ("potential.precision=mixed", "potential.precision", "float64"),
    ("potential.cutoff=3 eV", "potential.cutoff", "length"),
    ("potential.shift=1", "potential.shift", "true or false"),
    ("potential.device=gpu", "potential.device", '"cpu"'),
    ("potential.pairs={ Ar-Ar = [1, 2] }", "potential.epsilon", "remove it"),
    ("potential=3", "potential", "[[potential]]"),
    ("potential=[]", "potential", "[[potential]]"),
    ("parallel.grid=[2, 2]", "parallel.grid", "[2, 2, 1]"),
    ("parallel.grid=automatic", "parallel.grid", '"auto"'),
    ("parallel.skin=-0.5", "parallel.skin", "zero or more"),
    ("parallel.balance=fast", "parallel.balance", "use one of \"auto\", \"off\""),
    ("parallel.balance={threshold=0.9}", "parallel.balance", "at least 1"),
    ("parallel=2", "parallel", "grid, skin, balance"),
    ("output.trajectory.every=-1", "output.trajectory.every", "at least 0"),
    ("output.trajectory.fields=[]", "output.trajectory.fields", "position"),
    ("output.trajectory.fields=['velocities']", "output.trajectory.fields", '"velocity"'),
    ("output.trajectory.dtype=float16", "output.trajectory.dtype", '"float64"'),
    ("output.checkpoint.keep=0", "output.checkpoint.keep", "at least 1"),
    ("output.directory=3", "output.directory", "path"),
    ("dynamics.timestep=0x1" + "0" * 5000, "dynamics.timestep", "too large"),
    ("dynamics.temperature=[0x1" + "0" * 5000 + "]", "dynamics.temperature", "[300, 600]"),
    ("dynamics.timestep='" + "long" * 100 + "'", "dynamics.timestep", "1.0 fs"),
    ("output.directory=~nobodyhere/x", "output.directory", "correct the path"),
    ("system.structure=" + "n" * 500, "system.structure", "correct the path"),
    ("dynamics.ensemble=" + "[" * 400 + "]" * 400, "dynamics.ensemble", "nve"),
    ("dynamics", "--set dynamics", "dynamics.steps=100"),
    ("dynamics.steps.more=3", "dynamics.steps", "not a table"),
    ("a b=3", "--set a b", "not a key"),
]  # fmt: skip

PARAMETERS = 'epsilon = "0.0103408 eV"\nsigma = 3.405'
# Each: text to replace in ARGON, its replacement, key, help.
BAD_TEXTS = [
    ('timestep = "2 fs"\n', "", "dynamics.timestep", "timestep = 2.0"),
    ('ensemble = "nvt-nose-hoover"\n', "", "dynamics.ensemble", "ensemble = "),
    ('temperature = [90, "100 K"]\n', "", "dynamics.temperature", "temperature = 300.0"),
    ("cutoff = 8.5\n", "", "potential.cutoff", "cutoff = 8.5"),
    ("sigma = 3.405\n", "", "potential.sigma", "sigma = 3.405"),
    ('kind = "lj"\n', "", "potential", "neither model nor kind"),
    ('kind = "lj"\n', 'knd = "lj"\n', "potential.knd", "did you mean 'kind'?"),
    ('kind = "lj"', 'model = "none.allegro"', "potential.epsilon", "does not apply"),
    ('symbol = "Ar", ', "", "system.crystal.symbol", "symbol = "),
    ("{ every = 10 }", "{}", "output.trajectory.every", "every = 100"),
    ("[dynamics]", "[dynamic]", "dynamic", "did you mean 'dynamics'?"),
    (PARAMETERS, 'pairs = { "Ar-Kr" = [1, 2] }', "potential.pairs", '"Ar-Ar" is missing'),
    (PARAMETERS, "pairs = { Kr-Kr = [1, 2] }", "potential.pairs", '"Ar-Ar"'),
    (PARAMETERS, "pairs = { Ar-Ar = [1] }", "potential.pairs", "[0.0124, 3.5]"),
    (PARAMETERS, "pairs = { Argon = [1, 2] }", "potential.pairs", '"Ar-Kr"'),
    ("sigma = 3.405", "sigma = ", "line 9", "valid TOML"),
    ("sigma = 3.405", "sigma = 3.405\nsigma = 3", "line 10", "valid TOML"),
    ("[output]", "[output", "line 16", "valid TOML"),
    ("[output]", "[system]", "line 16: [system] is there already", "put its keys together"),
]  # fmt: skip


def message(path: Path, overrides: list[str] | None = None) -> str:
    with pytest.raises(InputError) as caught:
        load_input(path, overrides or [])
    assert caught.value.exit_status == 2
    text = str(caught.value)
    assert "\n" not in text and "Traceback" not in text and len(text) < 600 + 2 * len(str(path))
    return text


@pytest.mark.parametrize(("assignment", "key", "remedy"), BAD_VALUES, ids=[b[0][:40] for b in BAD_VALUES])
def test_bad_value(argon: Path, assignment: str, key: str, remedy: str) -> None:
    text = message(argon, [assignment])
    assert key in text and remedy in text
    assert "argon.toml" in text or text.startswith("--set")


@pytest.mark.parametrize(("old", "new", "key", "remedy"), BAD_TEXTS)
def test_bad_text(argon: Path, old: str, new: str, key: str, remedy: str) -> None:
    assert old in ARGON
    argon.write_text(ARGON.replace(old, new))
    text = message(argon)
    assert f"argon.toml, {key}" in text and remedy in text


def test_bad_model_terms(argon: Path, tmp_path: Path) -> None:
    (tmp_path / "ar.allegro").touch()
    head, tail = ARGON.split("[potential]")
    rest = "[dynamics]" + tail.split("[dynamics]")[1]
    for line, key, remedy in [
        ('model = "arr.allegro"', "potential.model", "did you mean 'ar.allegro'?"),
        ('model = "ar.allegro"\nengine = "fussed"', "potential.engine", '"fused"'),
        ('model = "ar.allegro"\nprecision = "single"', "potential.precision", '"mixed"'),
        ('model = "ar.allegro"\ncutoff = 3', "potential.cutoff", "does not apply"),
        ('kind = "eam"', "potential.file", "required"),
        ('kind = "eam"\nfile = "none.eam"', "potential.file", "no such file"),
        ('kind = "ase"\ncalculator = "a b"\nrange = 3', "potential.calculator", "package.module:factory"),
        ('kind = "ase"\ncalculator = "emt"', "potential.range", "required"),
        ('kind = "ase"\ncalculator = "emt"\nrange = 3\noptions = { t = 1979-05-27 }', "potential.options", "JSON"),
    ]:
        argon.write_text(f"{head}[potential]\n{line}\n{rest}")
        text = message(argon)
        assert f"argon.toml, {key}" in text and remedy in text


def test_bad_files(tmp_path: Path) -> None:
    assert "no such input file" in message(tmp_path / "missing.toml")
    assert "folder" in message(tmp_path)
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    assert "UTF-8" in message(binary)
    marked = tmp_path / "marked.toml"
    marked.write_text("[system]\n", encoding="utf-8-sig")
    assert "byte order mark" in message(marked) and "save it as UTF-8 without" in message(marked)
    digits = tmp_path / "digits.toml"
    digits.write_text("a = " + "1" * 10000)
    assert "valid TOML" in message(digits)
    empty = tmp_path / "empty.toml"
    empty.touch()
    assert "empty.toml, system: required key is missing" in message(empty)


@pytest.mark.parametrize("term", ['kind = "lj"\nepsilon = 0.01\nsigma = 3.4\ncutoff = 8', 'kind = "zbl"\ncutoff = 2',
                                  'kind = "eam"\nfile = "t.eam"'])  # fmt: skip
def test_devices(argon: Path, tmp_path: Path, term: str) -> None:
    (tmp_path / "t.eam").touch()
    head, tail = ARGON.split("[potential]")
    argon.write_text(f"{head}[potential]\n{term}\n[dynamics]" + tail.split("[dynamics]")[1])
    for device in ("auto", "cpu", "cuda"):
        (term_read,) = load_input(argon, [f"potential.device={device}"]).potential
        assert isinstance(term_read, (LennardJonesTerm, EamTerm, ZblTerm)) and term_read.device == device
    text = message(argon, ["potential.device=tpu"])
    assert "potential.device" in text and '"auto", "cpu", "cuda"' in text


def test_overridden_keys_are_named_as_such(argon: Path) -> None:
    assert "argon.toml with --set, dynamics.steps" in message(argon, ["dynamics.steps=-1"])
    assert "argon.toml, dynamics.temperature" in message(argon, ["dynamics.ensemble=nve"])


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.lists(st.integers(), max_size=4),
    st.dictionaries(st.sampled_from(["every", "kind", "model", "a", "0"]), st.integers(), max_size=2),
)  # fmt: skip
KEYS = st.sampled_from(["system", "dynamics", "output", *(b[0].split("=")[0] for b in BAD_VALUES if "=" in b[0])])


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=KEYS, value=VALUES)
def test_any_value_is_read_or_refused(argon: Path, key: str, value: object) -> None:
    """No value of any type escapes as anything but an InputError."""
    try:
        config = load_input(argon, [f"{key}={value}".replace("True", "true").replace("False", "false")])
    except InputError:
        return
    assert Input.model_validate(config.as_dict()) == config


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    at=st.integers(0, len(ARGON)),
    drop=st.integers(0, 12),
    insert=st.text(max_size=6) | st.sampled_from(["[", '"', "=3\n", "{", "0x"]),
)
def test_any_mutated_text_is_read_or_refused(argon: Path, at: int, drop: int, insert: str) -> None:
    """Whatever is damaged in a file, the loader answers with an input or one sentence."""
    argon.write_text(ARGON[:at] + insert + ARGON[at + drop :], encoding="utf-8", errors="surrogatepass")
    try:
        load_input(argon)
    except InputError as error:
        assert "argon.toml" in str(error)


def test_loads_without_heavy_libraries(argon: Path) -> None:
    code = (
        "import sys; from allegro_md.config import load_input; load_input(sys.argv[1]);"
        "print([m for m in ('torch', 'h5py', 'ase', 'mpi4py', 'numba') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, argon], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_registered_balancer_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BALANCERS, "mine", "module:Class")
    table = ParallelConfig.model_validate({"balance": "mine"})
    assert table.balance == "mine"
