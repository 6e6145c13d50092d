"""Plans of an input: measured times are positive, memory is that of `check`, and words say where scaling ends."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from allegro_md.cli import main
from allegro_md.comm import Comm
from allegro_md.config import load_input
from allegro_md.errors import InputError
from allegro_md.exact import ExactSum
from allegro_md.scaling import calibration
from allegro_md.scaling.calibration import Sample
from allegro_md.scaling.devices import DEVICES, LINKS, find_device, find_link, least_bytes, seconds_on
from allegro_md.scaling.forecast import Overlap
from allegro_md.scaling.machine import this_machine
from allegro_md.scaling.plan import CAUSES, Plan, document, make_plan
from allegro_md.scaling.plan_plot import ATOMS, RANKS, crossing, draw
from allegro_md.scaling.published import ROWS, forecast, one_gpu_costs
from allegro_md.scaling.rebuild_interval import largest_speed, rebuild_interval
from allegro_md.scaling.reductions import CountingComm
from allegro_md.scaling.wording import lines
from allegro_md.simulation.resource_estimate import MPI_BYTES, ResourceEstimate
from allegro_md.units import AMU_A2_PER_FS2, BOLTZMANN

INPUT = """
[system]
crystal = { symbol = "Ar", lattice = "fcc", a = 5.4, repeat = [20, 20, 40] }
[system.velocities]
temperature = 60.0
[potential]
kind = "lj"
epsilon = 0.0103
sigma = 3.4
cutoff = 6.0
[dynamics]
ensemble = "nve"
timestep = 4.0
steps = 100
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plan") / "argon.toml"
    path.write_text(INPUT)
    return path


@pytest.fixture(scope="module", autouse=True)
def _small_samples() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibration, "SIZES", (500, 2_000))
        yield


def sample(own: int, ghosts: int) -> Sample:
    """Times that obey a law: 1e-4 s per step, 2e-7 s per atom, 3e-8 s per ghost, 5e-7 s per atom of a rebuild."""
    seconds = {"potential": 1e-4 + 2e-7 * own, "integrate": 5e-5 + 3e-8 * own, "halo": 1e-5 + 3e-8 * ghosts}
    seconds |= {"rebuild": 1e-3 + 5e-7 * own + 1e-7 * ghosts, "row": 4e-8 * own}
    return Sample(own, ghosts, seconds, 9.0, 2.0)


SAMPLES = (sample(500, 1_500), sample(4_000, 5_000), sample(32_000, 18_000))
CALIBRATION = calibration.Calibration(calibration.fitted(SAMPLES), SAMPLES, 1e11, 60.0, False, Overlap())


@pytest.fixture(scope="module")
def measured(source: Path) -> Plan:
    return make_plan(load_input(source), None, None, None)


@pytest.fixture(scope="module")
def plan(measured: Plan) -> Plan:
    """Of known times, so that what the machine does else is without effect."""
    return Plan(measured.config, measured.estimate, CALIBRATION, this_machine(CALIBRATION, None, None))


def test_measured_times_are_positive(measured: Plan) -> None:
    plan = measured
    small, large = plan.calibration.samples
    assert (small.own, large.own) == (500, 2_048)
    for sample in (small, large):
        assert min(sample.seconds[name] for name in ("potential", "integrate", "rebuild")) > 0.0
        assert sample.ghosts > 0 and sample.reductions >= 0.0
    costs = plan.calibration.costs
    assert costs.per_atom > 0.0 and costs.rebuild.seconds(1000, 1000) > 0.0
    assert all(value >= 0.0 for line in vars(costs).values() for value in vars(line).values())
    assert 1e9 < plan.calibration.rate < 1e12


def test_lines_of_the_picture_are_whole() -> None:
    """An efficiency of g / (g + 1000) with g atoms per rank is 0.8 at 4,000 of them, on any number of ranks."""
    grain = np.array(ATOMS)[:, None] / np.array(RANKS)
    efficiency = np.where(grain >= 30.0, grain / (grain + 1000.0), np.nan)
    found = crossing(efficiency, 0.8)
    assert found == pytest.approx(4000.0 * np.array(RANKS), rel=0.12)  # between half decades
    assert np.isnan(crossing(np.ones((len(ATOMS), len(RANKS))), 0.8)).all()


def test_the_fit_finds_the_law() -> None:
    costs = CALIBRATION.costs
    assert vars(costs.potential) == pytest.approx({"fixed": 1e-4, "atom": 2e-7, "ghost": 0.0}, rel=1e-6)
    assert vars(costs.halo) == pytest.approx({"fixed": 1e-5, "atom": 0.0, "ghost": 3e-8}, rel=1e-6)
    assert vars(costs.rebuild) == pytest.approx({"fixed": 1e-3, "atom": 5e-7, "ghost": 1e-7}, rel=1e-6)


def test_one_sample_alone() -> None:
    costs = calibration.fitted(SAMPLES[:1])
    assert costs.potential.seconds(500, 1_500) == pytest.approx(SAMPLES[0].seconds["potential"])
    assert costs.rebuild.seconds(500, 1_500) == pytest.approx(SAMPLES[0].seconds["rebuild"])


@pytest.mark.parametrize("n_ranks", [1, 2, 64, 1000])
def test_memory_is_that_of_check(plan: Plan, n_ranks: int) -> None:
    estimate: ResourceEstimate = plan.estimate
    assert plan.memory(n_ranks) == estimate.memory(n_ranks) + (MPI_BYTES if n_ranks > 1 else 0.0)
    assert plan.bricks(n_ranks).own == estimate.load(n_ranks).own
    assert plan.bricks(n_ranks).ghosts == estimate.load(n_ranks).held - estimate.load(n_ranks).own


def test_one_rank_is_its_own_measure(plan: Plan) -> None:
    assert plan.efficiency(1) == plan.weak_efficiency(64_000, 1) == 1.0
    step = plan.step(1)
    assert step.latency == step.bandwidth == step.reductions == 0.0
    assert sum(step.parts.values()) == pytest.approx(step.total)


def test_more_ranks_are_less_efficient(plan: Plan) -> None:
    found = [plan.efficiency(n) for n in (1, 2, 8, 64, 512, 4096)]
    assert found == sorted(found, reverse=True) and found[-1] < 0.5


def test_words(plan: Plan) -> None:
    limit = plan.scaling_limit()
    assert limit.ranks is not None and limit.cause in CAUSES
    assert plan.efficiency(limit.ranks) < 0.5 <= plan.efficiency(limit.ranks // 2)
    text = "\n".join(lines(plan, 64))
    assert CAUSES[limit.cause] in text and f"beyond {limit.ranks // 2} ranks" in text
    assert "simulation of all its messages" in text and "estimate" in text and "staged" not in text


def test_simulation_beside_the_closed_form(plan: Plan) -> None:
    found = json.loads(json.dumps(document(plan, 64), allow_nan=False))
    assert found["simulated_seconds_per_step"] == pytest.approx(found["seconds_per_step"], rel=0.15)
    assert found["ranks"] == 64


def test_picture(plan: Plan) -> None:
    left, right, _ = draw(plan).axes
    assert right.get_xlim()[1] > 1e5 and right.get_ylim()[1] >= 1e12
    assert {"step", "ideal", "potential"} <= {text.get_text() for text in left.get_legend().get_texts()}


@pytest.mark.parametrize("name", list(DEVICES))
def test_devices_of_the_table(plan: Plan, name: str) -> None:
    there = plan.on(name, "infiniband-ndr")
    assert 0.0 < there.step(8).total < math.inf and there.machine.memory > 1e9
    assert any("forecast" in remark for remark in there.machine.remarks)
    assert any("data sheet" in remark or "product page" in remark for remark in there.machine.remarks)
    if DEVICES[name].kind == "gpu":
        assert there.step(1).total < plan.step(1).total


def test_a_device_is_never_faster_than_its_memory() -> None:
    h200 = DEVICES["h200"]
    assert seconds_on(h200, 1e-12, 1e11, 20.0) == least_bytes(20.0) / h200.bandwidth
    assert seconds_on(h200, 3e-6, 1e11, 20.0) == pytest.approx(3e-6 * 1e11 / (0.25 * 67e12))


def test_every_figure_has_a_source() -> None:
    assert all(device.source and device.inside in LINKS for device in DEVICES.values())
    assert all(entry.source for entry in LINKS.values())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--device", "h10"], ["--device", "h100"]),
        (["--device", "epyc"], ["epyc-7763-core"]),
        (["--network", "infiniband-hrd"], ["--network", "infiniband-hdr"]),
        (["--launcher", "no-such-launcher -n 2"], ["--launcher", "there is no program"]),
        (["--json", "no/such/folder/f.json"], ["no such folder"]),
        (["--plot", "no/such/folder/f.png"], ["no such folder"]),
        (["--plot", "plan.xyz"], ["--plot plan.xyz", "let it end with .png"]),
        (["--launcher", "mpirun '"], ["--launcher", "No closing quotation"]),
    ],
)
def test_bad_names_are_refused(
    source: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: list[str]
) -> None:
    assert main(["plan", str(source), "--ranks", "4", *arguments]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and all(word in err for word in words)


def test_unknown_names_in_python() -> None:
    with pytest.raises(InputError, match="did you mean 'b200'"):
        find_device("b20")
    with pytest.raises(InputError, match="known: shared-memory"):
        find_link("carrier pigeon")


STAGES = """
[[stage]]
name = "min"
dynamics = { ensemble = "minimize", steps = 20 }
[[stage]]
name = "heat"
velocities = { temperature = 90.0, seed = 1 }
dynamics = { timestep = 3.0, steps = 20 }
[[stage]]
name = "cool"
dynamics = { timestep = 1.0, steps = 20 }
"""


def test_the_first_stage_with_a_timestep_is_planned(source: Path, tmp_path: Path) -> None:
    path = tmp_path / "stages.toml"
    path.write_text(source.read_text() + STAGES)
    made = make_plan(load_input(path), None, None, None)
    assert made.config.dynamics.length_of_step == 3.0 and made.calibration.temperature == 90.0
    assert sum("the stage 'heat' is measured" in line for line in lines(made, 2)) == 1
    found = document(made, 2)
    assert found["ns_per_day"] == pytest.approx(86_400.0 / found["seconds_per_step"] * 3e-6)
    assert "[system], without the stages before it" in found["remarks"][0]


@pytest.mark.parametrize("command", [("plan", "--ranks", "2"), ("tune",), ("scale", "--out", "study")])
def test_nothing_but_minimizers_cannot_be_measured(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...],
) -> None:
    """One message, before anything else is printed or made."""
    monkeypatch.chdir(tmp_path)
    path, one = tmp_path / "stages.toml", 'dynamics = { ensemble = "minimize", steps = 20 }'
    path.write_text(source.read_text() + f'[[stage]]\nname = "a"\n{one}\n[[stage]]\nname = "b"\n{one}\n')
    name, *more = command
    words = [name, *(["strong"] if name == "scale" else []), "stages.toml", *more]
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out in ("", "reading stages.toml\n") and err.count("\n") == 1
    assert "stages.toml, stage: " in err and "'a' (minimize), 'b' (minimize)" in err
    path.write_text(source.read_text().replace('ensemble = "nve"\ntimestep = 4.0', 'ensemble = "minimize"'))
    assert main(words) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and 'stages.toml, dynamics.ensemble: "minimize" makes no steps of a timestep' in err
    assert not (tmp_path / "study").exists()


def test_a_grid_for_other_ranks_is_refused(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By plan as by check, before anything is measured."""
    said = []
    for command in ("plan", "check"):
        assert main([command, str(source), "--ranks", "8", "--set", "parallel.grid=[3, 1, 1]"]) == 2
        said.append(capsys.readouterr())
    assert said[0] == said[1] and not said[0].out
    assert "parallel.grid: the grid [3, 1, 1] is for 3 ranks, but there are 8" in said[0].err


def test_command(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "plan.json"
    assert main(["plan", str(source), "--ranks", "16", "--json", str(place)]) == 0
    out = capsys.readouterr().out
    found = json.loads(place.read_text())
    assert found["ranks"] == 16 and found["grid"] == [2, 2, 4]
    assert re.search(r"64000 atoms on 16 ranks of this machine, grid 2 x 2 x 4", out)


def test_largest_speed() -> None:
    """Against the largest of many samples of many Maxwell–Boltzmann speeds."""
    speeds = np.linalg.norm(np.random.default_rng(1).standard_normal((3000, 1000, 3)), axis=2).max(axis=1)
    assert largest_speed(1000) == pytest.approx(float(np.median(speeds)), rel=0.01)


def test_rebuild_interval() -> None:
    """Free flight of the fastest atom through half the skin."""
    speed = math.sqrt(BOLTZMANN * 300.0 / (107.87 * AMU_A2_PER_FS2)) * largest_speed(1e6)
    assert rebuild_interval(0.6, 5.0, 300.0, 107.87, 1e6) == pytest.approx(0.3 / (5.0 * speed) + 0.5)
    assert rebuild_interval(0.6, 5.0, 0.0, 107.87, 1e6) == math.inf
    assert rebuild_interval(0.0, 5.0, 300.0, 107.87, 1e6) == 1.0


def test_counted_reductions() -> None:
    comm = CountingComm()
    comm.max(1.0)
    comm.sum(np.zeros(2, np.int64))
    comm.any(True)  # a maximum
    comm.reduce(ExactSum.of(np.zeros((3, 1)), "energy"))
    assert comm.count == 4 and comm.size == Comm.serial().size


def test_published_rows() -> None:
    """The rows on one GPU are met; the 13 strong-scaling rows on several are forecast within 20 %."""
    several = [row for row in ROWS if row.gpus > 1 and row.atoms < 10_000_000]
    assert len(several) == 13
    for row in ROWS:
        error = forecast(row).total / row.seconds - 1.0
        assert abs(error) < (1e-9 if row.gpus == 1 else 0.20 if row in several else 0.55)
    assert one_gpu_costs("Ag").potential.fixed == pytest.approx(4.77e-3, rel=0.01)


def test_printed_inconsistency() -> None:
    """The µs column of the 421,824-atom rows is 0.70 of what ns/day gives; all other rows agree."""
    for row in ROWS:
        wanted = 0.6975 if row.atoms == 421_824 else 1.0
        digits = 0.5e-3 / row.printed_us
        assert row.printed_us / row.us_per_atom == pytest.approx(wanted, rel=0.005 + digits)
