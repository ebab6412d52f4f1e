"""`nas watch`: serves the report of a run on the loopback, made anew when the journal has grown."""

import sys
import threading
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from nas.report.page.write import page
from nas.run.folder import open_run
from search_spaces.errors import InputError, os_reason

_LOOPBACK = "127.0.0.1"


def serve(path: Path, port: int, started: Callable[[str], None]) -> None:
    """Serve the report of a run, finished or not, until KeyboardInterrupt; `started` gets its address. 0 is any free port.

    Raises InputError if there is no such run, or the port is taken.
    """
    report = _Report(path)
    try:
        server = _Server((_LOOPBACK, port), partial(_Handler, report))
    except OSError as error:
        raise InputError(f"cannot listen on port {port}: {os_reason(error)}; choose another --port") from None
    with server:
        started(f"http://{_LOOPBACK}:{server.server_port}/")
        server.serve_forever()


class _Report:
    """The page about a run; kept until the journal grows."""

    def __init__(self, path: Path) -> None:
        self._run = open_run(path)
        self._lock = threading.Lock()
        self._made, self._page = "", b""

    @property
    def version(self) -> str:
        """Changes when the journal does."""
        return str(self._run.journal.stat().st_size)

    def page(self) -> bytes:
        with self._lock:
            version = self.version
            if version != self._made:
                self._made, self._page = version, page(self._run, version=version).encode()
            return self._page


class _Handler(BaseHTTPRequestHandler):
    """Answers / with the page and /version with its version."""

    def __init__(self, report: _Report, *rest: Any) -> None:
        self._report = report
        super().__init__(*rest)

    def do_GET(self) -> None:
        name = self.headers.get("Host", "").partition(":")[0]
        if name not in (_LOOPBACK, "localhost"):  # a page of another site, whose name leads here
            self.send_error(HTTPStatus.FORBIDDEN)
            return
        try:
            if self.path == "/":
                self._answer(self._report.page(), "text/html; charset=utf-8")
            elif self.path == "/version":
                self._answer(self._report.version.encode(), "text/plain")
            else:
                self.send_error(HTTPStatus.NOT_FOUND)
        except (InputError, FileNotFoundError) as error:
            self.send_error(HTTPStatus.INTERNAL_SERVER_ERROR, explain=str(error))

    def _answer(self, body: bytes, kind: str) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """No-op: requests are not logged."""


class _Server(ThreadingHTTPServer):
    """Says nothing about browsers that go away in the middle of an answer."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)
