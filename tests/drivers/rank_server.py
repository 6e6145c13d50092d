"""Processes that have imported everything: a program starts in hundredths of a second instead of seconds.

    python rank_server.py SOCKET

Imports the package and its libraries once, then forks a process for every rank.py that connects. The fork takes over
the arguments, environment, working directory and open files of rank.py, the connection to the MPI launcher included,
and runs the program: it is a new process in every respect but the imports. MPI is not loaded before the fork. Ends,
and with it all programs, when its standard input is closed.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import importlib
import json
import os
import pkgutil
import runpy
import selectors
import signal
import socket
import sys
from pathlib import Path
from typing import Any

LIBRARIES = ("ase.build", "ase.calculators.emt", "ase.io", "ase.io.extxyz", "e3nn.o3", "h5py", "matplotlib.figure")
"""Imported by drivers or late by the package."""

MANY_FILES = 200
"""Above the numbers of all files that are open before a fork."""


def preload() -> None:
    """Imports all modules of the package but the program itself, and the libraries."""
    import allegro_md

    for module in pkgutil.walk_packages(allegro_md.__path__, "allegro_md."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in LIBRARIES:
        importlib.import_module(name)


def request(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """What rank.py asks for, and its files under new numbers: standard input, output, error, the launcher's."""
    message, files, _, _ = socket.recv_fds(connection, 2**20, 8)
    high = [fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, MANY_FILES) for file in files]
    for file in files:
        os.close(file)
    return json.loads(message), high


def become(job: dict[str, Any], files: list[int]) -> list[str]:
    """Makes of this fork the process that was asked for; its arguments."""
    for file, number in zip(files, (0, 1, 2, *job["launcher"]), strict=True):
        os.dup2(file, number)
    os.environ.update(job["environment"])
    os.chdir(job["folder"])
    return list(job["arguments"])


class Server:
    """Forks for every request and tells how the forks ended."""

    def __init__(self, path: str) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen(64)
        self._watch = selectors.DefaultSelector()
        self._watch.register(self._listener, selectors.EVENT_READ)
        self._watch.register(sys.stdin, selectors.EVENT_READ)
        self._running: dict[int, tuple[int, socket.socket]] = {}  # file that tells the end → pid, connection

    def __call__(self) -> list[str]:
        """Returns in the forks only, with their arguments."""
        while True:
            for key, _ in self._watch.select():
                if key.fileobj is sys.stdin:
                    for pid, _ in self._running.values():
                        os.kill(pid, signal.SIGKILL)
                    os._exit(0)
                elif key.fileobj is self._listener:
                    arguments = self._fork()
                    if arguments is not None:
                        return arguments
                elif key.data in self._running:  # rank.py is gone: its launcher has ended the program
                    os.kill(self._running[key.data][0], signal.SIGKILL)
                    self._reap(key.data)
                elif key.fd in self._running:
                    self._reap(key.fd)

    def _fork(self) -> list[str] | None:
        """In the fork its arguments, in the server None."""
        connection, _ = self._listener.accept()
        job, files = request(connection)
        pid = os.fork()
        if pid == 0:
            self._watch.close()
            for each in (self._listener, connection, *(other for _, other in self._running.values())):
                each.close()
            for file in self._running:
                os.close(file)
            return become(job, files)
        for file in files:
            os.close(file)
        ended = os.pidfd_open(pid)
        self._running[ended] = pid, connection
        self._watch.register(ended, selectors.EVENT_READ)
        self._watch.register(connection, selectors.EVENT_READ, ended)
        _tell(connection, pid)
        return None

    def _reap(self, ended: int) -> None:
        pid, connection = self._running.pop(ended)
        self._watch.unregister(ended)
        self._watch.unregister(connection)
        os.close(ended)
        _, status = os.waitpid(pid, 0)
        _tell(connection, os.waitstatus_to_exitcode(status))
        connection.close()


def _tell(connection: socket.socket, number: int) -> None:
    with contextlib.suppress(OSError):  # rank.py may be gone
        connection.sendall(f"{number}\n".encode())


def run(arguments: list[str]) -> None:
    """Does what ``python ARGUMENTS`` does."""
    what, rest = arguments[0], arguments[1:]
    if what == "-m":
        sys.path[0] = os.getcwd()
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif what == "-c":
        sys.path[0] = ""
        sys.argv = ["-c", *rest[1:]]
        exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.path[0] = str(Path(what).parent)
        sys.argv = arguments
        runpy.run_path(what, run_name="__main__")


if __name__ == "__main__":
    preload()
    gc.freeze()  # pages of what was imported stay shared
    server = Server(sys.argv[1])
    print("ready", flush=True)
    run(server())
