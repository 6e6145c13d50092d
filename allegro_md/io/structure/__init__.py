"""The structure that an input names: reading a file, and making any part of the system from it on any rank."""

from allegro_md.io.structure.builder import MARGIN, SystemBuilder
from allegro_md.io.structure.contents import ReadOptions
from allegro_md.io.structure.understanding import log_lines, rows

__all__ = ["MARGIN", "ReadOptions", "SystemBuilder", "log_lines", "rows"]
