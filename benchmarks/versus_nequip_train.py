"""The same training here and in nequip-train: data, model, first weights, loss, optimizer and epochs, side by side.

    python benchmarks/versus_nequip_train.py --data FOLDER [--sets copper 3bpa] [--epochs 6] [--rounds 1] [--frames N]

Models and data are those of `inputs/train/copper.toml` and `3bpa.toml`, but with Adam, a constant learning rate and
constant weights, which both programs have. nequip-train in eager mode, the same with torch.compile, and this program
train at the same time, but take turns: an epoch of one, then of the next, the others asleep. All start from the same
weights, but draw the order of the frames from generators of their own; each round has its own seed. Seconds are those
of an epoch with its validation, the median without the first of each training; errors are those of the running mean
of the weights on the validation frames after the last epoch.
Writes ``results/versus-nequip-train-MACHINE.json``.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import launch
import turns
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from allegro_md.comm import Comm
from allegro_md.config.load import load_training
from allegro_md.io.labeled import Frame
from allegro_md.models.convert.importer import import_model
from allegro_md.models.modelfile import load_model
from allegro_md.training.session import TrainingRun

HERE = Path(__file__).resolve().parent

COMMON = {
    "loss.energy": 1.0, "loss.stress": 0.0, "training.optimizer": "adam", "training.learning_rate": 4e-3,
    "training.schedule": "constant", "training.ema": 0.99, "training.batch": 5,
}
"""What both programs can do alike."""

MODES = ("eager", "compile")
ERRORS = ("energy_mae", "energy_rmse", "force_mae", "force_rmse")
OURS = "allegro-md train"

INPUT = """
data = {{ train = "train.extxyz", validation = "validation.extxyz" }}
model = {{ start = "initial.allegro" }}
loss = {{ energy = {loss.energy}, force = {loss.force}, stress = {loss.stress} }}
[training]
epochs = {fit.epochs}
batch = {fit.batch}
optimizer = "{fit.optimizer}"
learning_rate = {fit.learning_rate}
schedule = "constant"
ema = {fit.ema}
seeds = {fit.seeds[0]}
threads = {fit.threads}
device = "cpu"
[output]
directory = "run"
"""


def compare(name: str, settings: Sequence[str], rounds: int, modes: Sequence[str], folder: Path) -> dict[str, Any]:
    """One data set.

    Args:
        name: of the input in `inputs/train`.
        settings: assignments that change it.
        rounds: how many times each side trains, with a seed of its own.
        modes: of nequip-train.
        folder: for the files of all this.
    """
    epochs: dict[str, list[list[dict[str, float]]]] = {}
    for seed in range(1, rounds + 1):
        source = launch.ROOT / "inputs" / "train" / f"{name}.toml"
        session = TrainingRun(load_training(source, [*settings, f"training.seeds={seed}"]), Comm())
        place = folder / f"{name}-{seed}"
        place.mkdir()
        for kind, frames in (("train", session.dataset.train), ("validation", session.dataset.validation)):
            write(place / f"{kind}.extxyz", [labeled(frame, session.config.loss.stress != 0.0) for frame in frames])
        for side, rows in trained(session, modes, place).items():
            epochs.setdefault(side, []).append(rows)
    fit = session.config.training
    return {
        "set": name, "frames": [len(session.dataset.train), len(session.dataset.validation)],
        "weights": load_model(place / "initial.allegro").count_weights(), "epochs": fit.epochs, "rounds": rounds,
        "threads": fit.threads, "batch": fit.batch, **summary(epochs),
    }


def trained(session: TrainingRun, modes: Sequence[str], place: Path) -> dict[str, list[dict[str, float]]]:
    """The epochs of all sides, which train at the same time, an epoch each in turn."""
    config = session.config
    pipes = turns.ring(place, len(modes) + 1)
    held = [os.open(before, os.O_RDWR) for before, _ in pipes]  # so that none is closed before the last has begun
    sides = {f"nequip-train, {mode}": foreign(session, mode, place, pipes[k]) for k, mode in enumerate(modes)}
    try:
        first = place / modes[0] / "initial.ckpt"
        while not first.exists():
            watch(sides)
        import_model(first, place / "initial.allegro", trust=True)
        (place / "input.toml").write_text(INPUT.format(loss=config.loss, fit=config.training))
        command = [sys.executable, HERE / "train_side.py", place / "input.toml", *pipes[-1]]
        sides[OURS] = started(command, config.training.threads, place)
        os.write(held[0], b".")
        while any(side.poll() is None for side in sides.values()):
            watch(sides)
    finally:
        for side in sides.values():
            side.kill()
        for pipe in held:
            os.close(pipe)
    return {name: history(place, name) for name in sides}


def watch(sides: dict[str, subprocess.Popen[bytes]]) -> None:
    """Waits a moment; ends everything if a side has failed."""
    time.sleep(0.5)
    for name, side in sides.items():
        if side.poll():
            raise SystemExit(f"{name} failed, its complaint is above; --modes leaves a mode of nequip-train out")


def history(place: Path, side: str) -> list[dict[str, float]]:
    """The epochs of a side that has finished, ``seconds`` and `ERRORS` (meV per atom, meV/Å)."""
    if side != OURS:
        lines = (place / side.split(", ")[1] / "epochs.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]
    with (place / "run" / "history.csv").open() as file:
        keys = {"seconds": "seconds"} | {key: f"val_{key}" for key in ERRORS}
        return [{key: float(row[column]) for key, column in keys.items()} for row in csv.DictReader(file)]


def labeled(frame: Frame, stress: bool) -> Atoms:
    """A frame as ASE holds it."""
    periodic = any(frame.periodic)
    atoms = Atoms(frame.numbers, frame.position, cell=frame.cell if periodic else None, pbc=frame.periodic)
    labels = {"energy": frame.energy, "forces": frame.forces} | ({"stress": frame.stress} if stress else {})
    atoms.calc = SinglePointCalculator(atoms, **labels)
    return atoms


def foreign(session: TrainingRun, mode: str, place: Path, pipes: tuple[Path, Path]) -> subprocess.Popen[bytes]:
    """Starts nequip-train."""
    from nequip_train_side import configuration

    assert session.statistics is not None
    own = place / mode
    own.mkdir()
    for kind in ("train", "validation"):
        (own / f"{kind}.extxyz").symlink_to(place / f"{kind}.extxyz")
    wanted = configuration(session.config, session.symbols, session.statistics, own, mode, pipes)
    (own / "config.yaml").write_text(json.dumps(wanted))
    program = Path(sys.executable).with_name("nequip-train")
    command = [program, "-cp", own, "-cn", "config", f"hydra.run.dir={own / 'hydra'}"]
    return started(command, session.config.training.threads, own)


def started(command: Sequence[str | Path], threads: int, place: Path) -> subprocess.Popen[bytes]:
    """A program with so many threads; what it prints goes to a file, what it complains of to the terminal."""
    path = os.pathsep.join([str(HERE), str(launch.ROOT)])
    environment = os.environ | dict.fromkeys(launch.SINGLE_THREAD, str(threads)) | {"PYTHONPATH": path}
    with (place / "output.txt").open("w") as file:
        return subprocess.Popen([str(word) for word in command], env=environment, stdout=file)


def summary(epochs: dict[str, list[list[dict[str, float]]]]) -> dict[str, Any]:
    """Seconds per epoch and last errors of each side, and how this program compares.

    Args:
        epochs: of each side, of each of its trainings.
    """
    sides: dict[str, Any] = {}
    for side, trainings in epochs.items():
        seconds = [epoch["seconds"] for training in trainings for epoch in training[1:]]
        last = [training[-1] for training in trainings]
        sides[side] = {
            "seconds_per_epoch": round(statistics.median(seconds), 3),
            "range_s": [round(min(seconds), 3), round(max(seconds), 3)],
            **{key: round(statistics.mean(row[key] for row in last), 3) for key in ERRORS},
            "force_rmse_of_each_round": [round(row["force_rmse"], 3) for row in last],
            "seconds_of_each_epoch": [round(x["seconds"], 3) for training in trainings for x in training],
        }
    ours = sides[OURS]
    others = {side: figures for side, figures in sides.items() if side != OURS}
    fastest = min(others, key=lambda side: others[side]["seconds_per_epoch"])
    return {
        "sides": sides, "faster_mode": fastest,
        "seconds_here_over_there": round(ours["seconds_per_epoch"] / others[fastest]["seconds_per_epoch"], 3),
        "errors_here_over_there": {key: round(ours[key] / others[fastest][key], 3) for key in ERRORS},
    }


def main() -> None:
    """Measures, prints and keeps the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=launch.SHARED / "data", help="folder of the data sets")
    parser.add_argument("--sets", nargs="*", choices=("copper", "3bpa"), default=["copper", "3bpa"])
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--frames", type=int, help="training frames; all without it")
    parser.add_argument("--modes", nargs="*", choices=MODES, default=list(MODES), help="of nequip-train")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # and the sides with it
    if importlib.util.find_spec("allegro") is None:
        raise SystemExit('nothing measured: nequip-allegro is not installed (pip install "allegro-md[import]")')
    chosen = COMMON | {"data.folder": options.data.resolve(), "training.epochs": options.epochs,
                       "training.threads": options.threads}
    settings = [f"{key}={value}" for key, value in chosen.items()]
    settings += [f"data.frames={options.frames}"] if options.frames else []
    with tempfile.TemporaryDirectory() as folder:
        runs = []
        for name in options.sets:
            runs.append(compare(name, settings, options.rounds, options.modes, Path(folder)))
            print(json.dumps(runs[-1], indent=1), flush=True)
    versions = launch.versions("allegro-md", "nequip", "nequip-allegro", "torch", "lightning", "numpy", "numba")
    print(launch.save("versus-nequip-train", {"precision": "float32", **COMMON, "runs": runs}, versions))


if __name__ == "__main__":
    main()
