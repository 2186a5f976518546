"""A server on the loopback interface that answers with given bytes, whatever they mean as HTTP."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from collections.abc import Iterator


class RawServer(socketserver.ThreadingTCPServer):
    """Sends the bytes of the requested path, or those of an iterator until the client has gone."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        self.responses: dict[str, bytes | Iterator[bytes]] = {}
        self.requested: list[str] = []
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, _Handler)

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.server_address[1]}{path}"

    def handle_error(self, request, client_address) -> None:
        """Ignore errors: clients close connections early."""


class _Handler(socketserver.BaseRequestHandler):
    server: RawServer

    def handle(self) -> None:
        path = self.request.recv(65536).split(b" ")[1].decode()
        self.server.requested.append(path)
        response = self.server.responses[path]
        for part in [response] if isinstance(response, bytes) else response:
            self.request.sendall(part)


@contextlib.contextmanager
def raw_server(address: tuple[str, int] = ("127.0.0.1", 0)) -> Iterator[RawServer]:
    """Run a server for the duration of a `with` block."""
    with RawServer(address) as running:
        threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield running
        running.shutdown()
