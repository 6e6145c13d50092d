"""The server of a report that follows a run, as a process of its own."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def served(directory: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address of a page that follows a run, and its server, which has said that it listens."""
    port = free_port()
    words = [sys.executable, "-m", "allegro_md", "report", str(directory), "--watch", "--port", str(port)]
    server = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        said: list[str] = []
        reader = threading.Thread(target=lambda: said.append(server.stdout.readline()))  # type: ignore[union-attr]
        reader.start()
        reader.join(60.0)
        assert said and said[0].startswith(f"http://localhost:{port} shows {directory}")
        yield f"http://127.0.0.1:{port}", server
    finally:
        server.kill()
        server.communicate()


def get(address: str) -> str:
    with urllib.request.urlopen(address, timeout=30.0) as answer:
        content: bytes = answer.read()
    return content.decode()
