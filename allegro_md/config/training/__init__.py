"""The input of ``allegro-md train``: one class per table; importing them loads neither torch nor any file they name."""

from allegro_md.config.training.data import DataConfig, LabelsConfig
from allegro_md.config.training.fit import Cosine, LossConfig, Plateau, Ramp, TrainingConfig
from allegro_md.config.training.network import DenseModel, ResidualModel, StartModel
from allegro_md.config.training.schema import TrainingInput

Labels = LabelsConfig
"""The former name, which scripts that read labeled frames import."""

__all__ = [
    "Cosine", "DataConfig", "DenseModel", "Labels", "LabelsConfig", "LossConfig", "Plateau", "Ramp", "ResidualModel",
    "StartModel", "TrainingConfig", "TrainingInput",
]
