"""The input file as frozen objects: ``load_input(path)`` reads, checks and completes it, before torch is loaded."""

from allegro_md.config.dynamics import NveConfig, NvtNoseHooverConfig
from allegro_md.config.load import load_input
from allegro_md.config.output import CheckpointConfig, OutputConfig, ParallelConfig, ThermoConfig, TrajectoryConfig
from allegro_md.config.potential import AllegroTerm, AseTerm, EamTerm, LennardJonesTerm, ZblTerm
from allegro_md.config.schema import Input
from allegro_md.config.system import CrystalConfig, SystemConfig, VelocitiesConfig

__all__ = [
    "AllegroTerm", "AseTerm", "CheckpointConfig", "CrystalConfig", "EamTerm", "Input", "LennardJonesTerm", "NveConfig",
    "NvtNoseHooverConfig",
    "OutputConfig", "ParallelConfig", "SystemConfig", "ThermoConfig", "TrajectoryConfig", "VelocitiesConfig",
    "ZblTerm", "load_input",
]
