"""The server of a page that follows its run, on this machine only."""

from __future__ import annotations

import hashlib
import html
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from allegro_md.errors import AllegroError, InputError
from allegro_md.io.disk import UNFINISHED
from allegro_md.io.run_directory import holder
from allegro_md.report.page import NAME, Live, build_page
from allegro_md.reporting import OBSERVE

HOST = "127.0.0.1"

SHORTEST = 2.0
"""Seconds between looks at the files, at least."""

SHARE = 0.1
"""Of a core that making pages may take from the run."""


class LivePage:
    """The page of a run, made anew when it is asked for and the files of the run have changed."""

    def __init__(self, directory: Path) -> None:
        """Makes the first page.

        Raises:
            InputError: it is no run directory, or its record is damaged.
        """
        self._directory = directory
        self._lock = threading.Lock()
        self._version, self._page, self._pause, self._made = "", "", SHORTEST, 0.0
        self._make(_version(directory))

    def page(self) -> str:
        """The page of the present files, or of those of a moment ago."""
        with self._lock:
            self._renew()
            return self._page

    def version(self) -> str:
        """The version of the page that `page` would give."""
        with self._lock:
            if time.monotonic() - self._made < self._pause:
                return self._version
            return _version(self._directory)

    def _renew(self) -> None:
        """Makes the page anew if the files have changed, but not more often than `SHARE` allows."""
        if time.monotonic() - self._made < self._pause:
            return
        found = _version(self._directory)
        if found != self._version:
            began = time.monotonic()
            try:
                self._make(found)
                self._pause = max(SHORTEST, (self._made - began) / SHARE)
            except AllegroError as error:  # files that are being replaced; the next look will tell
                self._page = _fault_page(self._directory, error)
                self._version, self._made = "", time.monotonic()

    def _make(self, version: str) -> None:
        self._page = build_page(self._directory, Live(version, self._pause))
        self._version, self._made = version, time.monotonic()


def watch(directory: Path, port: int, say: Callable[[str], None]) -> None:
    """Serves the page of a run until it is interrupted.

    Args:
        directory: of the run.
        port: on which to listen.
        say: is given the address when the page can be opened.

    Raises:
        InputError: it is no run directory, or the port cannot be used.
        KeyboardInterrupt: a signal has come.
    """
    live = LivePage(directory)

    class Handler(BaseHTTPRequestHandler):
        """Answers with the page or its version."""

        def do_GET(self) -> None:  # noqa: N802  the name that the library calls
            if self.headers.get("Host", "").partition(":")[0] not in ("localhost", HOST):
                self.send_error(HTTPStatus.FORBIDDEN)  # a page of another site, whose name leads here
            elif self.path == "/":
                self._send(live.page(), "text/html")
            elif self.path == "/version":
                self._send(live.version(), "text/plain")
            else:
                self.send_error(HTTPStatus.NOT_FOUND)

        def log_message(self, format: str, *arguments: object) -> None:
            """Nothing: each look of the page would be a line."""

        def _send(self, text: str, kind: str) -> None:
            content = text.encode()
            with suppress(ConnectionError):  # nobody waits for it any more
                self.send_response(HTTPStatus.OK)
                self.send_header("Content-Type", f"{kind}; charset=utf-8")
                self.send_header("Content-Length", str(len(content)))
                self.send_header("Cache-Control", "no-store")
                self.end_headers()
                self.wfile.write(content)

    try:
        server = ThreadingHTTPServer((HOST, port), Handler)
    except OSError as error:
        what = f"port {port} cannot be used: {error.strerror}"
        raise InputError(what, "--port", "choose another one, for example --port 8081") from error
    server.daemon_threads = True
    with server:
        say(f"http://localhost:{port} shows {directory} and follows it; Ctrl-C ends this")
        server.serve_forever()


def _version(directory: Path) -> str:
    """A text that changes with the files of a run, and when the process that writes them ends."""
    folders = (directory, directory / OBSERVE, *(path for path in (directory / OBSERVE).glob("*") if path.is_dir()))
    paths = [path for folder in folders for path in _entries(folder)]
    entries = [str(holder(directory))]
    for path in sorted(paths):
        try:
            found = path.stat()
            entries.append(f"{path} {found.st_mtime_ns} {found.st_size}")
        except OSError:  # removed in between
            continue
    return hashlib.sha256("\n".join(entries).encode()).hexdigest()[:16]


def _entries(folder: Path) -> list[Path]:
    """The files of a folder that a page depends on."""
    if not folder.is_dir():
        return []
    return [path for path in folder.iterdir() if path.name != NAME and path.suffix != UNFINISHED and path.is_file()]


def _fault_page(directory: Path, error: AllegroError) -> str:
    """A page that says why there is none, and tries again."""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="5">'
        f"<title>{html.escape(directory.name)}</title></head><body><main><p>{html.escape(str(error))}</p></main>"
        "</body></html>"
    )
