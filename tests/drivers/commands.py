"""Runs several command lines of the program in one process per rank and writes their exit statuses.

mpirun -n 2 python commands.py jobs.json statuses.json
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
from pathlib import Path

from allegro_md.cli import main


def run() -> None:
    faulthandler.register(signal.SIGTERM, chain=True)
    statuses = [main(arguments) for arguments in json.loads(Path(sys.argv[1]).read_text())]
    if os.environ.get("PMI_RANK", "0") == "0":
        Path(sys.argv[2]).write_text(json.dumps(statuses))


if __name__ == "__main__":
    run()
