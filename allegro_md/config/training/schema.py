"""The whole input of ``allegro-md train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from allegro_md.config.fields import FilePath, Table, problem
from allegro_md.config.training.data import DataConfig
from allegro_md.config.training.fit import LossConfig, TrainingConfig
from allegro_md.config.training.network import DenseModel, Model, ResidualModel


class TrainingOutput(Table):
    """Files that a training writes.

    Attributes:
        directory: log, history, checkpoints, plots and report; never overwritten without ``--overwrite``.
        model: the model file; members of a committee are NAME-1.allegro, NAME-2.allegro, …
    """

    directory: Annotated[Path, FilePath(exists=False)] = Field(examples=['"run-train"'])
    model: Annotated[Path, FilePath(exists=False)] | None = None


class TrainingInput(Table):
    """A validated training input.

    Attributes:
        data: labeled configurations.
        model: the network.
        loss: what is minimized.
        training: how.
        output: where the results go.
    """

    data: DataConfig = Field(examples=['{ train = "train.extxyz" }'])
    model: Model = Field(examples=['{ form = "dense", cutoff = 5.0 }'])
    loss: LossConfig = LossConfig()
    training: TrainingConfig = Field(examples=["{ epochs = 1000 }"])
    output: TrainingOutput = Field(examples=['{ directory = "run-train" }'])

    @model_validator(mode="after")
    def _isolated(self) -> TrainingInput:
        if isinstance(self.model, (DenseModel, ResidualModel)):
            if self.model.shifts == "isolated" and self.data.isolated is None:
                raise problem("no file of isolated atoms", 'name it, or use shifts = "least-squares"', "data.isolated")
        return self
