"""An input of the least that a run needs: argon at constant energy."""

from __future__ import annotations

ARGON = """
[system]
crystal = { symbol = "Ar", lattice = "fcc", a = 5.26, repeat = [4, 4, 4] }
[potential]
kind = "lj"
epsilon = 0.0103
sigma = 3.405
cutoff = 8.5
[dynamics]
ensemble = "nve"
timestep = 2.0
steps = 10
"""
