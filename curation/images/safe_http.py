"""HTTP connections for untrusted URLs: only public addresses, and one deadline for the whole exchange.

A URL from a web page may name, or redirect to, a machine inside our own network. The host is therefore resolved once,
addresses that are not public are removed, and the connection is made to one of the remaining addresses itself. A name
that resolves differently the next time (DNS rebinding) has no effect. A server may also send one byte at a time without
end, so the socket of a connection has a deadline for the whole exchange, however many bytes still arrive.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException, HTTPResponse
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util import Url

from curation.io.retry import TransientError

_Address = tuple[socket.AddressFamily, tuple[Any, ...]]

GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")  # the whole range assigned to the public internet
CLOUD_SERVICES = frozenset({ipaddress.IPv4Address("168.63.129.16")})  # public range, but inside every Azure network
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # an IPv4 address in the last 32 bits (RFC 6052, section 2.1)
MAX_INFORMATIONAL = 32  # 1xx responses before the final one


class FetchError(Exception):
    """A failure that another attempt would not cure.

    `reason` is one of `curation.images.fetch.REASONS` or `http_` and a status. A transient failure is a
    TransientError with such a reason as its text.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def is_public(address: str) -> bool:
    """Return whether a numeric IPv4 or IPv6 address belongs to the public internet.

    Private, loopback, link-local, shared, reserved, documentation and multicast addresses are not public, nor are IPv6
    addresses that contain such an IPv4 address (mapped, 6to4, NAT64).
    """
    ip = ipaddress.ip_address(address.partition("%")[0])  # without the zone of a link-local address
    if isinstance(ip, ipaddress.IPv6Address):
        translated = ipaddress.IPv4Address(ip.packed[-4:]) if ip in NAT64 else None
        inner = ip.ipv4_mapped or ip.sixtofour or translated
        if inner is not None:
            return is_public(str(inner))
        return ip in GLOBAL_UNICAST and ip.is_global
    return ip.is_global and not ip.is_multicast and ip not in CLOUD_SERVICES


def remaining(deadline: float) -> float:
    """Return the seconds until `deadline` on the monotonic clock. Raises TimeoutError when it has passed."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


class DeadlineSocket(socket.socket):
    """A socket with one deadline and one limit of bytes for all its reads together."""

    deadline: float
    bytes_left: int

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        """Read as `socket.recv_into` does. Raises TimeoutError after the deadline, FetchError beyond the limit."""
        self.settimeout(remaining(self.deadline))
        received = super().recv_into(*args, **kwargs)
        self.bytes_left -= received
        if self.bytes_left < 0:
            raise FetchError("too_large")
        return received


class DeadlineTLSSocket(DeadlineSocket, ssl.SSLSocket):
    """A DeadlineSocket over TLS."""


class FinalResponse(HTTPResponse):
    """A response after all informational ones (RFC 9110, section 15.2): 100 Continue, 103 Early Hints and others.

    101 is final: it ends HTTP on this connection.
    """

    def begin(self) -> None:
        """Read status and headers of the final response. Raises HTTPException after too many informational ones."""
        for _ in range(MAX_INFORMATIONAL):
            super().begin()
            if not 100 <= self.status < 200 or self.status == 101:
                return
            self.headers = self.msg = None  # type: ignore[assignment]  # its state before the first response
        raise HTTPException("too many informational responses")


class Dialer:
    """Opens HTTP connections to checked addresses with a deadline; several threads may use it at once.

    `allow_private_hosts` lists hosts (`localhost`, `127.0.0.1:8080`, `[::1]:8080`; with a port, only that port) whose
    addresses need not be public. Name look-ups cannot be interrupted, so they run in `threads` threads of their own,
    and no caller waits beyond its deadline. A connection receives at most `max_bytes`, headers and framing included,
    however the response is framed. `tls` replaces the system's trusted certificates.
    """

    def __init__(
        self, *, allow_private_hosts: Sequence[str], threads: int, max_bytes: int, tls: ssl.SSLContext | None = None
    ) -> None:
        self._max_bytes = max_bytes
        self._allowed = frozenset(host.lower() for host in allow_private_hosts)
        self._lookups = ThreadPoolExecutor(threads, thread_name_prefix="lookup")
        self._tls = tls or ssl.create_default_context()
        self._tls.sslsocket_class = DeadlineTLSSocket

    def close(self) -> None:
        """Cancel look-ups that have not started; the results of running ones are ignored."""
        self._lookups.shutdown(wait=False, cancel_futures=True)

    def connection(self, url: Url, deadline: float) -> HTTPConnection:
        """Return an open connection to the host of an http or https URL, for one request.

        Raises FetchError (dns, private_address, bad_url), TransientError (dns), TimeoutError, ssl.SSLError or OSError.
        """
        kind = HTTPSConnection if url.scheme == "https" else HTTPConnection
        host, port = (url.host or "").strip("[]"), url.port or kind.default_port
        sock = _connected(self._addresses(host, port, deadline), deadline)
        try:
            if kind is HTTPSConnection:
                sock = self._secured(sock, host, deadline)
            sock.deadline, sock.bytes_left = deadline, self._max_bytes
            connection = kind(host, port, timeout=remaining(deadline))
        except BaseException:
            sock.close()
            raise
        connection.response_class = FinalResponse
        connection.sock = sock
        connection.auto_open = 0  # never reconnect: the address would not be checked
        return connection

    def _secured(self, sock: DeadlineSocket, host: str, deadline: float) -> DeadlineTLSSocket:
        """Return the connection over TLS; the certificate is verified against the host name."""
        sock.settimeout(remaining(deadline))  # for the whole handshake
        secured = self._tls.wrap_socket(sock, server_hostname=host.rstrip("."))
        assert isinstance(secured, DeadlineTLSSocket)
        return secured

    def _addresses(self, host: str, port: int, deadline: float) -> list[_Address]:
        """Resolve a host; return the addresses that may be connected to, in the resolver's order."""
        lookup = self._lookups.submit(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        try:
            infos = lookup.result(remaining(deadline))
        except TimeoutError:
            lookup.cancel()
            raise
        except socket.gaierror as error:
            if error.errno == socket.EAI_AGAIN:
                raise TransientError("dns") from error
            raise FetchError("dns") from error
        except UnicodeError as error:  # a label that is empty or too long
            raise FetchError("bad_url") from error
        name = f"[{host}]" if ":" in host else host.lower().rstrip(".")
        listed = not self._allowed.isdisjoint({host, name, f"{name}:{port}"})
        allowed: list[_Address] = [
            (family, address) for family, _, _, _, address in infos if listed or is_public(str(address[0]))
        ]
        if not allowed:
            raise FetchError("private_address")
        return allowed


def _connected(addresses: Sequence[_Address], deadline: float) -> DeadlineSocket:
    """Connect to the first address that answers; each gets an equal share of the remaining time."""
    failure: OSError = TimeoutError()
    for index, (family, address) in enumerate(addresses):
        sock = DeadlineSocket(family, socket.SOCK_STREAM)
        try:
            sock.settimeout(remaining(deadline) / (len(addresses) - index))
            sock.connect(address)
        except OSError as error:
            sock.close()
            failure = error
        else:
            return sock
    raise failure
