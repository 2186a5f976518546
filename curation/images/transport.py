"""HTTP requests to checked addresses, by libcurl: HTTP/1.1 with keep-alive, and HTTP/2 where a server offers it.

libcurl does the I/O and parses the protocol; an asyncio event loop tells it when sockets are ready. The caller resolves
the host and gives the addresses that may be used. Every socket is checked against them when it is opened, so that no
disagreement about the host of a URL, no proxy and no second look-up can lead anywhere else.
"""

from __future__ import annotations

import asyncio
import resource
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pycurl

from curation.images.body_room import Space
from curation.images.exchange import CLOSED, Exchange, Response
from curation.images.time_budget import TimeBudget

KEPT_PER_REQUEST = 4  # as libcurl's own limit; pictures of many hosts take turns, so a connection rests for a while


@dataclass(frozen=True)
class Target:
    """One http(s) URL, its host and port, and the numeric addresses of the host that may be connected to."""

    url: str
    host: str
    port: int
    addresses: tuple[str, ...]


class KeptConnectionError(Exception):
    """A kept connection was closed before it answered a further request."""


class Transport:
    """Makes requests in the running event loop; connections are kept for further requests.

    Args:
        headers: request headers as `Name: value`.
        max_bytes: limit of a body, as received.
        connections: requests at the same time; up to `KEPT_PER_REQUEST` times as many connections are kept open.
        ca_file: trusted certificates (PEM) instead of the system's.
    """

    def __init__(self, headers: Sequence[str], max_bytes: int, connections: int, ca_file: str | None = None) -> None:
        self._headers, self._max_bytes = list(headers), max_bytes
        trusted = ssl.get_default_verify_paths()
        self._ca_file = ca_file or trusted.cafile
        self._ca_folder = None if ca_file else trusted.capath
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._running: dict[Any, asyncio.Future[tuple[int, str]]] = {}
        self._idle: list[Any] = []
        self._watched: dict[int, int] = {}  # the events that are waited for, by descriptor
        self._multi = pycurl.CurlMulti()
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        kept = max(connections, min(KEPT_PER_REQUEST * connections, descriptors // 2))
        self._multi.setopt(pycurl.M_MAXCONNECTS, kept)
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._set_timer)

    async def get(
        self, target: Target, wants: Callable[[Response], bool], budget: TimeBudget, space: Space
    ) -> Response:
        """Return the final response to a GET request; its body is empty unless `wants` accepts status and headers.

        A server may close a kept connection at the moment it is used again; such a request is repeated on a new one.
        While there is no `space` for more of the body, the transfer is paused and the `budget`, which the caller
        spends, is stopped. Raises FetchError or TransientError with a reason.
        """
        try:
            return await self._get(target, wants, budget, space, fresh=False)
        except KeptConnectionError:
            return await self._get(target, wants, budget, space, fresh=True)

    async def _get(
        self, target: Target, wants: Callable[[Response], bool], budget: TimeBudget, space: Space, *, fresh: bool
    ) -> Response:
        exchange = Exchange(self._max_bytes, wants, space.grow)
        curl = self._idle.pop() if self._idle else self._new_handle()
        curl.setopt(pycurl.URL, target.url)
        curl.setopt(pycurl.FRESH_CONNECT, fresh)
        curl.setopt(pycurl.FORBID_REUSE, False)
        curl.setopt(pycurl.PIPEWAIT, target.url.startswith("https:"))  # until it is known if requests can share HTTP/2
        curl.setopt(pycurl.RESOLVE, [f"+{target.host}:{target.port}:{_listed(target.addresses)}"])
        curl.setopt(pycurl.HEADERFUNCTION, exchange.read_header)
        curl.setopt(pycurl.WRITEFUNCTION, exchange.read_body)
        curl.setopt(pycurl.OPENSOCKETFUNCTION, partial(open_checked, exchange, target.addresses))
        done = self._running[curl] = self._loop.create_future()

        def resume() -> None:
            if self._running.get(curl) is done:
                budget.start()
                curl.pause(pycurl.PAUSE_CONT)

        space.attach(budget.stop, resume)
        self._multi.add_handle(curl)
        try:
            code, message = await done
            kept = curl.getinfo(pycurl.NUM_CONNECTS) == 0
        except BaseException:  # out of time, or canceled
            exchange.discard()
            curl.setopt(pycurl.FORBID_REUSE, True)  # the connection may be dead; HTTP/2 would use it for later requests
            raise
        finally:
            del self._running[curl]
            self._multi.remove_handle(curl)
            self._idle.append(curl)
        if kept and code in CLOSED and not exchange.has_answer:
            raise KeptConnectionError
        return exchange.result(code, message)

    def close(self) -> None:
        """Close all connections; no request may be running."""
        if self._timer:
            self._timer.cancel()
        for curl in self._idle:
            curl.close()
        self._multi.close()

    def _new_handle(self) -> Any:
        curl = pycurl.Curl()
        for option, value in {
            pycurl.NOSIGNAL: 1,
            pycurl.PROTOCOLS: pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS,
            pycurl.PROXY: "",  # also ignores the proxies of the environment
            pycurl.HTTP_VERSION: pycurl.CURL_HTTP_VERSION_2TLS,
            pycurl.HTTPHEADER: self._headers,
            pycurl.PATH_AS_IS: 1,
            pycurl.CAINFO: self._ca_file,
            pycurl.CAPATH: self._ca_folder,
        }.items():
            if value is not None:
                curl.setopt(option, value)
        return curl

    def _watch(self, events: int, descriptor: int, *_: object) -> None:
        """Watch a socket for the events that libcurl waits for."""
        before = self._watched.pop(descriptor, 0)
        watched = 0 if events == pycurl.POLL_REMOVE else events  # POLL_INOUT is POLL_IN | POLL_OUT
        if watched:
            self._watched[descriptor] = watched
        if watched & ~before & pycurl.POLL_IN:
            self._loop.add_reader(descriptor, self._act, descriptor, pycurl.CSELECT_IN)
        elif before & ~watched & pycurl.POLL_IN:
            self._loop.remove_reader(descriptor)
        if watched & ~before & pycurl.POLL_OUT:
            self._loop.add_writer(descriptor, self._act, descriptor, pycurl.CSELECT_OUT)
        elif before & ~watched & pycurl.POLL_OUT:
            self._loop.remove_writer(descriptor)

    def _set_timer(self, milliseconds: int) -> None:
        """Wake libcurl after some time; never for a negative one."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if milliseconds >= 0:
            self._timer = self._loop.call_later(milliseconds / 1000, self._act, pycurl.SOCKET_TIMEOUT, 0)

    def _act(self, descriptor: int, events: int) -> None:
        """Let libcurl read and write, then finish the requests that ended."""
        self._multi.socket_action(descriptor, events)
        left = 1
        while left:
            left, succeeded, failed = self._multi.info_read()
            for curl in succeeded:
                self._finish(curl, pycurl.E_OK, "")
            for curl, code, message in failed:
                self._finish(curl, code, message)

    def _finish(self, curl: Any, code: int, message: str) -> None:
        done = self._running.get(curl)
        if done and not done.done():
            done.set_result((code, message))


def _listed(addresses: Sequence[str]) -> str:
    return ",".join(f"[{address}]" if ":" in address else address for address in addresses)


def open_checked(exchange: Exchange, addresses: Sequence[str], _: int, peer: tuple[int, int, int, Any]) -> Any:
    """Return a socket for an address if it is one of those allowed."""
    family, kind, protocol, address = peer
    host = address[0].decode() if isinstance(address[0], bytes) else address[0]
    if host not in addresses:
        exchange.refuse("private_address")
        return pycurl.SOCKET_BAD
    try:
        return socket.socket(family, kind, protocol)
    except OSError:  # no more descriptors, or a family that the machine lacks
        return pycurl.SOCKET_BAD
