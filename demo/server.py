"""Serve the website of the demo on the loopback interface.

It has the failures of real sites: files can be missing, slow, truncated or not an image. Truncated and mistyped
pictures are stored in the folder; requests below `/slow/` are answered after `delay_s` seconds.
"""

from __future__ import annotations

import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from types import TracebackType
from typing import Any, Self

HOST = "127.0.0.1"


def preferred_port(seed: int) -> int:
    """Return the preferred port of a seed; as long as it is free, the URLs of a seed are always the same."""
    return 18_000 + seed % 1_000


class SiteServer:
    """A running server of one folder; `close` or the end of a `with` block stops it.

    It listens on `port` if that is free, otherwise on any free port; `base_url` has the port in use.
    """

    def __init__(self, folder: Path, port: int = 0, delay_s: float = 5.0) -> None:
        self._stopping = Event()
        handler = partial(_Handler, directory=str(folder), delay_s=delay_s, stopping=self._stopping)
        try:
            self._server = _Server((HOST, port), handler)
        except OSError as error:
            self._server = _Server((HOST, 0), handler)
            print(
                f"port {port} cannot be used ({error.strerror}): the site is on port {self._server.server_address[1]}; "
                f"the URLs, and with them the sampled pairs and the figures, differ from those of a run on port {port}",
                file=sys.stderr,
            )
        self.base_url = f"http://{HOST}:{self._server.server_address[1]}"
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop the server and free the port."""
        self._stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that disconnect, for example after a timeout."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(SimpleHTTPRequestHandler):
    """A file handler without a log that keeps connections alive and delays answers below `/slow/`."""

    protocol_version = "HTTP/1.1"

    def __init__(self, *args: Any, delay_s: float, stopping: Event, **kwargs: Any) -> None:
        self._delay_s = delay_s
        self._stopping = stopping
        super().__init__(*args, **kwargs)

    def do_GET(self) -> None:
        """Answer with the file; below `/slow/`, after a delay."""
        if self.path.startswith("/slow/"):
            self._stopping.wait(self._delay_s)
        super().do_GET()

    def log_message(self, *args: Any) -> None:
        """Log nothing; the jobs report their requests."""
