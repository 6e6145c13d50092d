"""Runs an input with the integrator of `barostat.py`: mpirun -n 2 python run_barostat.py INPUT [--resume]."""

import sys

from allegro_md import Simulation
from allegro_md.config.dynamics import INTEGRATORS
from allegro_md.config.registry import Entry

INTEGRATORS.register("berendsen", Entry("barostat:BerendsenConfig", "barostat:build"))  # before the input is read
Simulation.from_toml(sys.argv[1], resume="--resume" in sys.argv).run()
