"""The program, with all atoms in tensors of the host and worked on by kernels of GPUs: as on a GPU, but for the GPU.

mpirun -n 2 python gpu_run.py input.toml [options]
"""

from __future__ import annotations

import sys
from unittest import mock

from host_build import DEVICE, on_host

from allegro_md.backends import BACKENDS
from allegro_md.cli import main


def run() -> int:
    BACKENDS[DEVICE] = "allegro_md.backends.cuda"
    with on_host(), mock.patch("allegro_md.simulation.build.device_of_atoms", lambda terms, potential: DEVICE):
        return main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(run())
