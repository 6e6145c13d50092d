"""Stands for one rank under the launcher: a process of rank_server.py does the work.

python -I -S rank.py SOCKET ARGUMENTS   does what ``python ARGUMENTS`` does, and ends as it ends.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from types import FrameType

FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)


def main() -> None:
    server = socket.socket(socket.AF_UNIX)
    server.connect(sys.argv[1])
    launcher = [int(os.environ["PMI_FD"])] if "PMI_FD" in os.environ else []
    job = {
        "arguments": sys.argv[2:], "environment": dict(os.environ), "folder": os.getcwd(), "launcher": launcher,
    }  # fmt: skip
    socket.send_fds(server, [json.dumps(job).encode()], [0, 1, 2, *launcher])
    for file in (1, 2, *launcher):
        os.close(file)  # whoever reads there sees the end when the program ends
    answers = server.makefile()
    pid = int(answers.readline())

    def forward(number: int, frame: FrameType | None) -> None:
        os.kill(pid, number)

    for number in FORWARDED:
        signal.signal(number, forward)
    status = int(answers.readline())
    if status < 0:
        signal.signal(-status, signal.SIG_DFL) if -status != signal.SIGKILL else None
        os.kill(os.getpid(), -status)
    os._exit(status)


if __name__ == "__main__":
    main()
