"""A server on the loopback interface whose answers, and failures, a test scripts."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import ssl
import struct
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit


@dataclass
class Answer:
    """A response of the server.

    After `reset_after` bytes of the body it resets the connection; after the body it is silent for `hang_s` seconds.
    """

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    reset_after: int | None = None
    hang_s: float = 0.0


@dataclass
class Request:
    """A request as the server saw it."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]
    method: str = "GET"


class Loopback:
    """Answers with the faults queued for a path, then with `respond`; records the requests in `requests`.

    A fault is an answer, or a function that makes one from the right answer.
    """

    def __init__(self, respond: Callable[[Request], Answer], tls: ssl.SSLContext | None = None) -> None:
        self.faults: dict[str, deque[Answer | Callable[[Answer], Answer]]] = defaultdict(deque)
        self.requests: list[Request] = []
        self.respond = respond
        self.closing = threading.Event()
        loopback = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self.do_GET()

            def do_GET(self) -> None:
                split = urlsplit(self.path)
                request = Request(split.path, dict(parse_qsl(split.query)), dict(self.headers), self.command)
                loopback.requests.append(request)
                faults = loopback.faults[split.path]
                fault = faults.popleft() if faults else None
                self.send(fault if isinstance(fault, Answer) else (fault or (lambda a: a))(loopback.respond(request)))

            def send(self, answer: Answer) -> None:
                self.send_response(answer.status)
                for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command == "HEAD":
                    return
                self.wfile.write(answer.body[: answer.reset_after])
                if answer.hang_s:
                    loopback.closing.wait(answer.hang_s)
                if answer.reset_after is not None:
                    self.wfile.flush()
                    # closing with linger 0 sends a reset; the pause lets the written bytes arrive first
                    threading.Event().wait(0.05)
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.connection.close()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.handle_error = lambda *_: None  # clients close connections on purpose
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        """Stop answering."""
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()


@contextlib.contextmanager
def serving(respond: Callable[[Request], Answer], tls: ssl.SSLContext | None = None) -> Iterator[Loopback]:
    """Run a server for the duration of a `with` block."""
    server = Loopback(respond, tls)
    try:
        yield server
    finally:
        server.close()


def file_server(files: dict[str, bytes], *, ranges: bool = True) -> Callable[[Request], Answer]:
    """Answer with files by path, as a static server does: ETag, Range, If-Range, If-Match, 404, 412, 416."""

    def respond(request: Request) -> Answer:
        body = files.get(request.path)
        if body is None:
            return Answer(404)
        headers = {"ETag": f'"{hashlib.md5(body).hexdigest()}"', "Accept-Ranges": "bytes"}
        if request.headers.get("If-Match") not in (None, headers["ETag"]):
            return Answer(412)
        requested = request.headers.get("Range") if ranges else None
        if requested is None or request.headers.get("If-Range") not in (None, headers["ETag"]):
            return Answer(200, body, headers)
        first, _, last = requested.removeprefix("bytes=").partition("-")
        start, stop = int(first), min(int(last or len(body)) + 1, len(body))
        if start >= len(body):
            return Answer(416, b"", {**headers, "Content-Range": f"bytes */{len(body)}"})
        return Answer(206, body[start:stop], {**headers, "Content-Range": f"bytes {start}-{stop - 1}/{len(body)}"})

    return respond
