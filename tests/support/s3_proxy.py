"""A proxy on the loopback interface, between a client and an S3 server, that injects the faults a test asks for."""

from __future__ import annotations

import contextlib
import http.client
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
# `slow_down` answers 503; `reset` ends the connection before the server sees the request; `lost_answer` after it;
# `short_body` ends it in the middle of the answer's body; `slow_body` pauses there
FAULTS = ("slow_down", "reset", "lost_answer", "short_body", "slow_body")
PAUSE_S = 0.3


@dataclass(frozen=True)
class Seen:
    """A request that reached the proxy, and the fault that it met."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    fault: str | None

    @property
    def is_conditional_write(self) -> bool:
        return self.method == "PUT" and "if-none-match" in self.headers


class S3Proxy(ThreadingHTTPServer):
    """Passes requests on; `choose` names the fault of each, or none. `requests` are those seen so far."""

    daemon_threads = True

    def __init__(self, endpoint: str) -> None:
        self.choose: Callable[[Seen], str | None] = lambda _: None
        self.requests: list[Seen] = []
        self.upstream = urlsplit(endpoint).netloc
        super().__init__(("127.0.0.1", 0), _Handler)
        self.endpoint = f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, *_: object) -> None:
        """Ignore errors: connections end on purpose."""


class _Handler(BaseHTTPRequestHandler):
    server: S3Proxy
    protocol_version = "HTTP/1.1"

    def pass_on(self) -> None:
        body = self.read_body()
        split = urlsplit(self.path)
        lower = {name.lower(): value for name, value in self.headers.items()}
        seen = Seen(self.command, split.path, split.query, lower, None)
        fault = self.server.choose(seen)
        self.server.requests.append(Seen(self.command, split.path, split.query, lower, fault))
        if fault == "reset":
            self.hang_up()
        elif fault == "slow_down":
            self.answer(503, {"Content-Type": "application/xml"}, SLOW_DOWN, None)
        else:
            self.ask_server(body, fault)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = pass_on  # noqa: N815 - names of the base class

    def read_body(self) -> bytes:
        """Return the body as it is sent; that of parts of large uploads is chunked."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = line = self.rfile.readline()
        while size := int(line.partition(b";")[0], 16):
            line = self.rfile.read(size + 2) + (head := self.rfile.readline())
            body, line = body + line, head
        while line.strip():  # trailers, up to an empty line
            line = self.rfile.readline()
            body += line
        return body

    def ask_server(self, body: bytes, fault: str | None) -> None:
        connection = http.client.HTTPConnection(self.server.upstream, timeout=60)
        try:
            # the signature covers the name of the host, which is that of the proxy
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in ("connection", "expect"):
                    connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            content = answer.read()
            if fault == "lost_answer":
                self.hang_up()
            else:
                self.answer(answer.status, dict(answer.getheaders()), content, fault)
        finally:
            connection.close()

    def answer(self, status: int, headers: dict[str, str], content: bytes, fault: str | None) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                self.send_header(name, value)
        length = next((v for k, v in headers.items() if k.lower() == "content-length"), None)
        if self.command == "HEAD" and length is not None:
            self.send_header("Content-Length", length)
        elif status not in (204, 304):
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(content[: len(content) // 2])
        if fault == "short_body" and content:
            self.hang_up()
            return
        if fault == "slow_body":
            threading.Event().wait(PAUSE_S)
        self.wfile.write(content[len(content) // 2 :])

    def hang_up(self) -> None:
        """Reset the connection, after what was written has arrived."""
        self.wfile.flush()
        threading.Event().wait(0.02)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def faulty(endpoint: str) -> Iterator[S3Proxy]:
    """Run a proxy for the duration of a `with` block."""
    with S3Proxy(endpoint) as proxy:
        threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield proxy
        proxy.shutdown()
