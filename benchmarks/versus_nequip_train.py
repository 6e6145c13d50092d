"""The same training here and in nequip-train: data, model, first weights, loss, optimizer and epochs, side by side.

    python benchmarks/versus_nequip_train.py --data FOLDER [--sets copper 3bpa] [--epochs 8] [--rounds 2] [--frames N]

Models and data are those of `inputs/train/copper.toml` and `3bpa.toml`, but with Adam, a constant learning rate and
constant weights, which both programs have. Each round has a seed of its own and trains with nequip-train in eager mode,
with torch.compile, and here, one after the other; all start from the same weights, but draw the order of the frames
from generators of their own. Seconds are those of an epoch with its validation, the median without the first epoch of
each training; errors are those of the running mean of the weights on the validation frames after the last epoch.
Writes ``results/versus-nequip-train-MACHINE.json``.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import launch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from allegro_md.comm import Comm
from allegro_md.config.load import load_training
from allegro_md.config.training import Training
from allegro_md.io.labeled import Frame
from allegro_md.models.importer import import_model
from allegro_md.training.session import Session

HERE = Path(__file__).resolve().parent

COMMON = {
    "loss.energy": 1.0, "training.optimizer": "adam", "training.learning_rate": 4e-3,
    "training.schedule": "constant", "training.ema": 0.99, "training.batch": 5,
}  # fmt: skip
"""What both programs can do alike."""

MODES = ("eager", "compile")
HERE_NAME = "allegro-md train"

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
        config = load_training(source, [*settings, f"training.seeds={seed}"])
        session = Session(config, Comm())
        place = folder / f"{name}-{seed}"
        place.mkdir()
        for kind, frames in (("train", session.dataset.train), ("validation", session.dataset.validation)):
            write(place / f"{kind}.extxyz", [labeled(frame, config.loss.stress != 0.0) for frame in frames])
        for mode in modes:
            epochs.setdefault(f"nequip-train, {mode}", []).append(there(session, place, mode))
        epochs.setdefault(HERE_NAME, []).append(here(config, place))
    return {
        "set": name, "frames": [len(session.dataset.train), len(session.dataset.validation)],
        "weights": weights(place), "epochs": config.training.epochs, "rounds": rounds,
        "threads": config.training.threads, "batch": config.training.batch, **summary(epochs),
    }  # fmt: skip


def labeled(frame: Frame, stress: bool) -> Atoms:
    """A frame as ASE holds it."""
    periodic = any(frame.periodic)
    atoms = Atoms(frame.numbers, frame.position, cell=frame.cell if periodic else None, pbc=frame.periodic)
    labels = {"energy": frame.energy, "forces": frame.forces} | ({"stress": frame.stress} if stress else {})
    atoms.calc = SinglePointCalculator(atoms, **labels)
    return atoms


def there(session: Session, place: Path, mode: str) -> list[dict[str, float]]:
    """Trains with nequip-train; the epochs. Leaves the first weights as initial.allegro."""
    from nequip_train_side import configuration

    assert session.statistics is not None
    own = place / mode
    own.mkdir()
    for kind in ("train", "validation"):
        (own / f"{kind}.extxyz").symlink_to(place / f"{kind}.extxyz")
    (own / "config.yaml").write_text(
        json.dumps(configuration(session.config, session.symbols, session.statistics, own, mode))
    )
    command = [str(Path(sys.executable).with_name("nequip-train")), "-cp", str(own), "-cn", "config",
               f"hydra.run.dir={own / 'hydra'}"]  # fmt: skip
    run(command, session.config.training.threads, own)
    if not (place / "initial.allegro").exists():
        import_model(own / "initial.ckpt", place / "initial.allegro")
    return [json.loads(line) for line in (own / "epochs.jsonl").read_text().splitlines()]


def here(config: Training, place: Path) -> list[dict[str, float]]:
    """Trains with this program from the same first weights; the epochs."""
    (place / "input.toml").write_text(INPUT.format(loss=config.loss, fit=config.training))
    run([sys.executable, "-m", "allegro_md", "train", str(place / "input.toml")], config.training.threads, place)
    with (place / "run" / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    keys = {"seconds": "seconds"} | {
        f"{what}_{kind}": f"val_{what}_{kind}" for what in ("energy", "force") for kind in ("mae", "rmse")
    }
    return [{key: float(row[column]) for key, column in keys.items()} for row in rows]


def run(command: Sequence[str], threads: int, place: Path) -> None:
    """A program with so many threads; what it prints goes to a file, and to the terminal where it fails."""
    path = os.pathsep.join([str(HERE), str(launch.ROOT)])
    environment = os.environ | dict.fromkeys(launch.SINGLE_THREAD, str(threads)) | {"PYTHONPATH": path}
    with (place / "output.txt").open("w") as file:
        status = subprocess.run(command, env=environment, stdout=file, stderr=subprocess.STDOUT).returncode
    if status:
        raise SystemExit(f"{' '.join(command)}\n{(place / 'output.txt').read_text()[-3000:]}")


def weights(place: Path) -> int:
    """How many the model has."""
    from allegro_md.models.modelfile import load_model

    return int(load_model(place / "initial.allegro").count_weights())


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
            **{key: round(statistics.mean(row[key] for row in last), 3) for key in last[0] if key != "seconds"},
            "force_rmse_of_each_round": [round(row["force_rmse"], 3) for row in last],
        }
    ours = sides[HERE_NAME]
    foreign = {side: figures for side, figures in sides.items() if side != HERE_NAME}
    fastest = min(foreign, key=lambda side: foreign[side]["seconds_per_epoch"])
    errors = [key for key in ours if key.endswith(("_mae", "_rmse"))]
    return {
        "sides": sides, "faster_mode": fastest,
        "seconds_here_over_there": round(ours["seconds_per_epoch"] / foreign[fastest]["seconds_per_epoch"], 3),
        "errors_here_over_there": {key: round(ours[key] / foreign[fastest][key], 3) for key in errors},
    }  # fmt: skip


def main() -> None:
    """Measures, prints and keeps the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=launch.SHARED / "data", help="folder of the data sets")
    parser.add_argument("--sets", nargs="*", choices=("copper", "3bpa"), default=["copper", "3bpa"])
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--frames", type=int, help="training frames; all without it")
    parser.add_argument("--modes", nargs="*", choices=MODES, default=list(MODES), help="of nequip-train")
    options = parser.parse_args()
    if importlib.util.find_spec("allegro") is None:
        raise SystemExit('nothing measured: nequip-allegro is not installed (pip install "allegro-md[import]")')
    chosen = COMMON | {"data.folder": options.data.resolve(), "training.epochs": options.epochs,
                       "training.threads": options.threads}  # fmt: skip
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
