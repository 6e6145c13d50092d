"""A whole training: from a validated input to model files, errors and a report."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from allegro_md.comm import Comm
from allegro_md.config.training import DenseModel, StartModel, TrainingInput
from allegro_md.errors import InputError, InterruptedRun, PhysicsError
from allegro_md.io.run_directory import TRAINING, RunDirectory
from allegro_md.models.allegro.network import Network
from allegro_md.models.modelfile import load_model, read_document, save_model
from allegro_md.stopping import StopRequest
from allegro_md.training.batches import Samples
from allegro_md.training.checks import check_pairs
from allegro_md.training.dataset import Dataset, load_dataset, write_split
from allegro_md.training.evaluation import evaluate
from allegro_md.training.graph import Graph
from allegro_md.training.metrics import Error, Metrics
from allegro_md.training.network import build_network, cutoffs
from allegro_md.training.report import write_report
from allegro_md.training.statistics import Statistics, statistics_of
from allegro_md.training.train import Trainer, TrainingState, device_of
from allegro_md.versions import installed

CHANGEABLE = ("epochs", "walltime", "stop_after", "smallest_rate", "save_every", "threads", "seeds", "device")
"""Keys of [training] that a continuation may change; "epochs" not where the schedule depends on it."""


class TrainingRun:
    """One input: its data, ready for the networks to train.

    Attributes:
        config: the input.
        dataset: the frames.
        symbols: elements, in the order of the species.
        statistics: of the training frames; None where a trained model is gone on from.
        shortest: Å per pair of elements, seen in training.
    """

    def __init__(self, config: TrainingInput, comm: Comm) -> None:
        """Reads and checks everything; writes nothing (collective).

        Raises:
            InputError: input or data are wrong.
        """
        torch.set_num_threads(config.training.threads)
        self.config, self._comm, self._stop = config, comm, StopRequest(None, 0.0)
        self.statistics: Statistics | None = None
        model = config.model
        with comm.collective_errors():
            device_of(config)
            self.dataset: Dataset = load_dataset(config)
            self.symbols = self.dataset.symbols
            if isinstance(model, StartModel):
                table = load_model(model.start).prepare().cutoffs
            else:
                table = cutoffs(model, self.symbols)
            self._training = Samples(self.dataset.train, self.symbols, table)
            self._validation = Samples(self.dataset.validation, self.symbols, table)
            check_pairs(self.dataset.train, self._graphs(), float(table.max()))
            graphs = self._graphs()
            if isinstance(model, StartModel):
                known = read_document(model.start)["shortest_distance"]
                seen = statistics_of(self.dataset.train, self.symbols, graphs, _PLAIN).shortest
                self.shortest = {pair: min(seen.get(pair, d), d) for pair, d in (seen | known).items()}
            else:
                self.statistics = statistics_of(
                    self.dataset.train, self.symbols, graphs, model, self.dataset.isolated
                )
                self.shortest = self.statistics.shortest

    def _graphs(self) -> Iterator[Graph]:
        """Those of the training frames."""
        return (self._training.graph(k) for k in range(len(self._training)))

    def run(self, *, resume: bool = False, overwrite: bool = False) -> list[Path]:
        """Trains a network per seed.

        Args:
            resume: continue from the checkpoints in the directory, if there are any.
            overwrite: replace what an earlier training left in the directory.

        Returns:
            The model files.

        Raises:
            AllegroError: training ended early.
        """
        output, seeds = self.config.output, self.config.training.seeds
        with self._comm.collective_errors():
            for path in self._model_paths():
                if self._comm.rank == 0 and path.exists() and not (resume or overwrite):
                    raise InputError("the model exists already", str(path),
                                     "--overwrite replaces it, or choose another output.model")
        with RunDirectory(
            output.directory, self._comm, resume=resume, overwrite=overwrite, contents=TRAINING
        ) as directory:
            with self._comm.collective_errors():
                if self._comm.rank == 0:
                    write_split(self.dataset, directory.path / "split.json")
            directory.write_record(self._record("running"))
            for remark in self.dataset.remarks:
                self._say(f"note: {remark}")
            try:
                with self._stop.on_signals():
                    trained = [
                        self._train(seed, directory.path if len(seeds) == 1 else directory.path / f"seed-{seed}")
                        for seed in seeds
                    ]
            except (InterruptedRun, PhysicsError) as error:  # on all ranks alike; else nothing collective is safe
                directory.write_record(self._record(f"{type(error).__name__}: {error}"))
                raise
            return self._finish(directory, trained)

    def _train(self, seed: int, place: Path) -> Trainer:
        """Trains the network of a seed."""
        with self._comm.collective_errors():
            if self._comm.rank == 0:
                place.mkdir(exist_ok=True)
        trainer = Trainer(
            self._network(seed), (self._training, self._validation), self.config, seed, self._digest(seed),
            self._stop, self._comm,
        )
        self._say(f"seed {seed}: {trainer.network.count_weights()} weights")
        trainer.run(place)
        course = trainer.course
        self._say(f"seed {seed}: {trainer.reason} after {course.epoch} epochs; the best was epoch {course.best_epoch}")
        return trainer

    def _finish(self, directory: RunDirectory, trained: list[Trainer]) -> list[Path]:
        """Errors of the best networks on every set, model files, record and report."""
        networks = [trainer.network.cpu() for trainer in trained]
        sets = {"train": self.dataset.train, "validation": self.dataset.validation, **self.dataset.test}
        evaluations = {name: evaluate(networks, frames, comm=self._comm) for name, frames in sets.items()}
        seeds = self.config.training.seeds
        paths = self._model_paths()
        record: dict[str, Any] = {}
        with self._comm.collective_errors():
            if self._comm.rank == 0:
                for member, (trainer, seed, path) in enumerate(zip(trained, seeds, paths, strict=True)):
                    errors = {
                        name: summary(evaluation.member_metrics[member]) for name, evaluation in evaluations.items()
                    }
                    save_model(trainer.network, path, self._provenance(trainer.course, seed, errors), self.shortest)
                record = self._record("done") | {
                    "models": [str(path) for path in paths],
                    "weights": networks[0].count_weights(),
                    "ended": [trainer.reason for trainer in trained],
                }
                write_report(directory.path, record, evaluations)
                record["errors"] = {name: evaluation.metrics.as_dict() for name, evaluation in evaluations.items()}
        directory.write_record(record)
        for name, evaluation in evaluations.items():
            self._say(f"{name:>20}: {text(evaluation.metrics)}")
        self._say(f"models: {', '.join(map(str, paths))}; report: {directory.path / 'report.html'}")
        return paths

    def _network(self, seed: int) -> Network:
        dtype = torch.float64 if self.config.training.precision == "float64" else torch.float32
        if isinstance(self.config.model, StartModel):
            start = load_model(self.config.model.start)
            network = Network(start.architecture, dtype)
            network.load_state_dict(start.state_dict())
            return network
        assert self.statistics is not None
        return build_network(self.config.model, self.symbols, self.statistics, dtype, seed)

    def _model_paths(self) -> list[Path]:
        """Of each seed."""
        output, seeds = self.config.output, self.config.training.seeds
        path = output.model or output.directory / "model.allegro"
        return [path] if len(seeds) == 1 else [path.with_name(f"{path.stem}-{seed}{path.suffix}") for seed in seeds]

    def _provenance(self, course: TrainingState, seed: int, errors: dict[str, Any]) -> dict[str, Any]:
        """Returns the record of the training that is stored in a model file."""
        frames = f"{len(self.dataset.train)} trained on, {len(self.dataset.validation)} for validation"
        return {
            "program": f"allegro-md train {installed()['allegro-md']}",
            "data": ", ".join(path.name for path in self.config.data.train),
            "frames": frames,
            "seed": seed,
            "epochs": f"{course.epoch}, the best was {course.best_epoch}",
            "hours": round(course.seconds / 3600.0, 3),
            "errors": errors,
        }

    def _record(self, status: str) -> dict[str, Any]:
        """The content of ``train.json``."""
        return {
            "status": status,
            "written": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "symbols": list(self.symbols),
            "frames": {"train": len(self.dataset.train), "validation": len(self.dataset.validation)},
            "statistics": asdict(self.statistics) if self.statistics else None,
            "remarks": list(self.dataset.remarks),
            "processes": self._comm.size,
            "input": self.config.model_dump(mode="json"),
            "versions": installed(),
        }

    def _digest(self, seed: int) -> str:
        """Of all that a continuation must find unchanged."""
        total = self._frames_digest.copy()
        fit = self.config.training.model_dump(mode="json")
        kept = {key: value for key, value in fit.items() if key not in CHANGEABLE}
        if fit["schedule"]["kind"] == "cosine":
            kept["epochs"] = fit["epochs"]
        model = self.config.model.model_dump(mode="json")
        if isinstance(self.config.model, StartModel):
            model["start"] = read_document(self.config.model.start)["digest"]
        total.update(repr((seed, kept, model, self.config.loss.model_dump(mode="json"))).encode())
        return total.hexdigest()

    @cached_property
    def _frames_digest(self) -> hashlib._Hash:
        """Of the frames alone: the same for all seeds."""
        total = hashlib.sha256()
        for frames in (self.dataset.train, self.dataset.validation):
            for frame in frames:
                for array in (frame.numbers, frame.position, frame.cell, frame.forces, frame.stress):
                    total.update(b"-" if array is None else array.tobytes())
                total.update(repr((frame.periodic, frame.energy)).encode())
        return total

    def _say(self, line: str) -> None:
        if self._comm.rank == 0:
            print(line, flush=True)


_PLAIN = DenseModel(cutoff=1.0, scales=1.0, shifts=0.0)
"""Asks the statistics for no scales and shifts."""


def summary(metrics: Metrics) -> dict[str, float]:
    """The errors a model file tells of: RMSE and MAE, four digits."""
    parts = (
        ("energy_meV_atom", metrics.energy_per_atom), ("force_meV_A", metrics.forces), ("stress_MPa", metrics.stress),
    )
    return {
        f"{name}_{kind.upper()}": float(f"{getattr(error, kind):.4g}")
        for name, error in parts
        if error is not None
        for kind in ("mae", "rmse")
    }


def text(metrics: Metrics) -> str:
    """The errors on one line."""

    def pair(error: Error | None, unit: str) -> str:
        return "" if error is None else f"{error.mae:8.4g} / {error.rmse:8.4g} {unit}  "

    energy, each = pair(metrics.energy, "meV"), pair(metrics.energy_per_atom, "meV/atom")
    return f"MAE / RMSE {energy}{each}{pair(metrics.forces, 'meV/Å')}{pair(metrics.stress, 'MPa')}".rstrip()
