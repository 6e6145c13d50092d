"""The input file as frozen objects: ``load_input(path)`` reads, checks and completes it, before torch is loaded."""

from allegro_md.config.dynamics import Nve, NvtNoseHoover
from allegro_md.config.load import load_input
from allegro_md.config.output import Checkpoint, Output, Parallel, Thermo, Trajectory
from allegro_md.config.potential import AllegroTerm, AseTerm, EamTerm, LennardJonesTerm, ZblTerm
from allegro_md.config.schema import Input
from allegro_md.config.system import Crystal, System, Velocities

__all__ = [
    "AllegroTerm", "AseTerm", "Checkpoint", "Crystal", "EamTerm", "Input", "LennardJonesTerm", "Nve", "NvtNoseHoover",
    "Output", "Parallel", "System", "Thermo", "Trajectory", "Velocities", "ZblTerm", "load_input",
]
