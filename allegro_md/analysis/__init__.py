"""Quantities that are computed from the motion of atoms: one quantity, one file.

Each is fed with samples, by an observer while a simulation runs (``[output] observe``) or from a stored trajectory
(``allegro-md analyze``), and gives the same result: sums are exact, on any number of ranks.
"""
