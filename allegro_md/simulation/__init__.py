"""A simulation: built from an input, stepped, reported."""

from allegro_md.simulation.run import Simulation as Simulation
