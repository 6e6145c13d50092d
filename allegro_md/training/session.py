"""A whole training: from a validated input to model files, errors and a report."""

from __future__ import annotations

import hashlib
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from allegro_md.comm import Comm
from allegro_md.config.training import DenseModel, StartModel, Training
from allegro_md.errors import InputError
from allegro_md.io.run_directory import TRAINING, RunDirectory
from allegro_md.models.modelfile import load_model, read_document, save_model
from allegro_md.models.network import Network
from allegro_md.training.batches import Samples
from allegro_md.training.dataset import Dataset, load_dataset, write_split
from allegro_md.training.network import build_network, cutoffs
from allegro_md.training.statistics import Statistics, statistics_of
from allegro_md.training.train import Trainer, device_of
from allegro_md.versions import installed

CHANGEABLE = ("epochs", "walltime", "stop_after", "smallest_rate", "save_every", "threads", "seeds", "device")
"""Keys of [training] that a continuation may change; "epochs" not where the schedule depends on it."""


class Session:
    """One input: its data, ready for the networks to train.

    Attributes:
        config: the input.
        dataset: the frames.
        symbols: elements, in the order of the species.
        statistics: of the training frames; None where a trained model is gone on from.
        shortest: Å per pair of elements, seen in training.
    """

    def __init__(self, config: Training, comm: Comm) -> None:
        """Reads and checks everything; writes nothing (collective).

        Raises:
            InputError: input or data are wrong.
        """
        torch.set_num_threads(config.training.threads)
        self.config, self._comm = config, comm
        self.statistics: Statistics | None = None
        model = config.model
        with comm.together():
            device_of(config)
            self.dataset: Dataset = load_dataset(config)
            if isinstance(model, StartModel):
                start = load_model(model.start)
                self.symbols, table = start.architecture.symbols, start.prepare().cutoffs
                strange = [symbol for symbol in self.dataset.symbols if symbol not in self.symbols]
                if strange:
                    raise InputError(f"does not know {strange[0]}, which is in the data", str(model.start),
                                     "start from another model, or train a new one")  # fmt: skip
            else:
                self.symbols, table = self.dataset.symbols, cutoffs(model, self.dataset.symbols)
            self._train = Samples(self.dataset.train, self.symbols, table)
            self._validation = Samples(self.dataset.validation, self.symbols, table)
            graphs = (self._train.graph(k) for k in range(len(self._train)))
            if isinstance(model, StartModel):
                known = read_document(model.start)["shortest_distance"]
                seen = statistics_of(self.dataset.train, self.symbols, graphs, _PLAIN).shortest
                self.shortest = {pair: min(seen.get(pair, d), d) for pair, d in (seen | known).items()}
            else:
                self.statistics = statistics_of(
                    self.dataset.train, self.symbols, graphs, model, self.dataset.isolated
                )
                self.shortest = self.statistics.shortest

    def run(self, *, resume: bool = False, overwrite: bool = False) -> list[Path]:
        """Trains a network per seed.

        Args:
            resume: go on from the checkpoints in the directory, if there are any.
            overwrite: replace what an earlier training left in the directory.

        Returns:
            The model files.

        Raises:
            AllegroError: training ended early.
        """
        seeds, output = self.config.training.seeds, self.config.output
        models = []
        with RunDirectory(
            output.directory, self._comm, resume=resume, overwrite=overwrite, contents=TRAINING
        ) as directory:
            with self._comm.together():
                if self._comm.rank == 0:
                    write_split(self.dataset, directory.path / "split.json")
            directory.write_record(self._record([]))
            for seed in seeds:
                place = directory.path if len(seeds) == 1 else directory.path / f"seed-{seed}"
                models.append(self._train_one(seed, place))
            self._finish(directory, models)
        return models

    def _train_one(self, seed: int, place: Path) -> Path:
        """Trains the network of a seed and saves the best it has been."""
        if self._comm.rank == 0:
            place.mkdir(exist_ok=True)
        trainer = Trainer(self._network(seed), (self._train, self._validation), self.config, seed,
                          self._digest(seed), self._comm)  # fmt: skip
        self._say(f"seed {seed}: {trainer.network.count_weights()} weights")
        trainer.run(place)
        path = self._model_path(seed)
        self._say(f"seed {seed}: {trainer.reason} after {trainer.course.epoch} epochs; the best was epoch "
                  f"{trainer.course.best_epoch}: {path}")  # fmt: skip
        with self._comm.together():
            if self._comm.rank == 0:
                save_model(trainer.network.cpu(), path, self._provenance(trainer, seed), self.shortest)
        return path

    def _network(self, seed: int) -> Network:
        dtype = torch.float64 if self.config.training.precision == "float64" else torch.float32
        if isinstance(self.config.model, StartModel):
            start = load_model(self.config.model.start)
            network = Network(start.architecture, dtype)
            network.load_state_dict(start.state_dict())
            return network
        assert self.statistics is not None
        return build_network(self.config.model, self.symbols, self.statistics, dtype, seed)

    def _model_path(self, seed: int) -> Path:
        output = self.config.output
        path = output.model or output.directory / "model.allegro"
        return path if len(self.config.training.seeds) == 1 else path.with_name(f"{path.stem}-{seed}{path.suffix}")

    def _finish(self, directory: RunDirectory, models: list[Path]) -> None:
        """Errors of the best networks, on every set, into model files, record and report."""
        directory.write_record(self._record([str(path) for path in models]))

    def _provenance(self, trainer: Trainer, seed: int) -> dict[str, Any]:
        course, data = trainer.course, self.config.data
        return {
            "program": f"allegro-md train {installed()['allegro-md']}",
            "data": ", ".join(path.name for path in data.train),
            "frames": f"{len(self.dataset.train)} trained on, {len(self.dataset.validation)} for validation",
            "seed": seed,
            "epochs": f"{course.epoch}, the best was {course.best_epoch}",
            "hours": round(course.seconds / 3600.0, 3),
            "validation": {key.removeprefix("val_"): float(f"{x:.4g}") for key, x in course.errors.items()},
        }

    def _record(self, models: list[str]) -> dict[str, Any]:
        """The content of ``train.json``."""
        return {
            "status": "done" if models else "running",
            "models": models,
            "input": self.config.model_dump(mode="json"),
            "symbols": list(self.symbols),
            "statistics": self.statistics and asdict(self.statistics),
            "frames": {"train": len(self.dataset.train), "validation": len(self.dataset.validation)},
            "remarks": list(self.dataset.remarks),
            "processes": self._comm.size,
            "versions": installed(),
            "written": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        }

    def _digest(self, seed: int) -> str:
        """Of all that a continuation must find unchanged."""
        total = hashlib.sha256()
        for frames in (self.dataset.train, self.dataset.validation):
            for frame in frames:
                for array in (frame.numbers, frame.position, frame.cell, frame.forces, frame.stress):
                    total.update(b"-" if array is None else array.tobytes())
                total.update(repr((frame.periodic, frame.energy)).encode())
        fit = self.config.training.model_dump(mode="json")
        kept = {key: value for key, value in fit.items() if key not in CHANGEABLE}
        if fit["schedule"]["kind"] == "cosine":
            kept["epochs"] = fit["epochs"]
        model = self.config.model.model_dump(mode="json")
        if isinstance(self.config.model, StartModel):
            model["start"] = read_document(self.config.model.start)["digest"]
        total.update(repr((seed, kept, model, self.config.loss.model_dump(mode="json"))).encode())
        return total.hexdigest()

    def _say(self, line: str) -> None:
        if self._comm.rank == 0:
            print(line, flush=True)


_PLAIN = DenseModel(cutoff=1.0, scales=1.0, shifts=0.0)
"""Asks the statistics for no scales and shifts."""
