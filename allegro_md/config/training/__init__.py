"""The input of ``allegro-md train``: one class per table; importing them loads neither torch nor any file they name."""

from allegro_md.config.training.data import Data, Labels
from allegro_md.config.training.fit import Cosine, Fit, Loss, Plateau, Ramp
from allegro_md.config.training.network import DenseModel, ResidualModel, StartModel
from allegro_md.config.training.schema import Training

__all__ = [
    "Cosine", "Data", "DenseModel", "Fit", "Labels", "Loss", "Plateau", "Ramp", "ResidualModel", "StartModel",
    "Training",
]  # fmt: skip
