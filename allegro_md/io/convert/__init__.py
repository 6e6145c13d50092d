"""Conversion between formats of trajectories and structures."""

from allegro_md.io.convert.conversion import convert

__all__ = ["convert"]
