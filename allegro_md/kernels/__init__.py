"""Compiled functions of potentials, and what they are made of."""

from allegro_md.kernel_files import one_file_per_kernel

one_file_per_kernel()
