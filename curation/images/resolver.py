"""Resolves host names for the fetcher: cached, with a time limit for each look-up, so that slow names delay no others.

A look-up by the system's resolver cannot be interrupted. One that takes long gives up its turn to the next name, and
one that exceeds its time limit is abandoned.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections import OrderedDict

from curation.images.addresses import literal_address
from curation.images.blocking_calls import BlockingCalls
from curation.images.failures import FetchError
from curation.io.retry import TransientError

PARALLEL_LOOKUPS = 64
TURN_S = 0.5  # a look-up that takes longer no longer counts towards PARALLEL_LOOKUPS
LOOKUP_S = 10.0  # time limit of a look-up
MAX_THREADS = 512  # abandoned look-ups included; with so many, further names wait
CACHED_NAMES = 20_000
ADDRESSES_VALID_S = 300.0
FAILURES_VALID_S = 60.0

Entry = tuple[float, list[str] | FetchError]  # valid until, answer


class Resolver:
    """Resolves host names in an event loop; the answers of the last names are cached."""

    def __init__(self) -> None:
        self._cache: OrderedDict[str, Entry] = OrderedDict()
        self._running: dict[str, asyncio.Task[list[str]]] = {}
        self._calls = BlockingCalls(PARALLEL_LOOKUPS, TURN_S, LOOKUP_S, MAX_THREADS)

    async def addresses(self, host: str) -> list[str]:
        """Return the numeric addresses of a host, in the system resolver's order.

        A caller with a deadline may stop waiting; the look-up continues for the others. Raises FetchError (dns,
        bad_url) or TransientError (dns).
        """
        if literal := literal_address(host):
            return [literal]
        valid_until, answer = self._cache.get(host, (0.0, []))
        if time.monotonic() < valid_until:
            self._cache.move_to_end(host)
            if isinstance(answer, FetchError):
                raise FetchError(answer.reason)
            return answer
        if host not in self._running:
            task = self._running[host] = asyncio.create_task(self._look_up(host))
            task.add_done_callback(lambda done: self._record(host, done))
        return await asyncio.shield(self._running[host])

    def _record(self, host: str, task: asyncio.Task[list[str]]) -> None:
        """Store the answer of a finished look-up; temporary failures are not stored."""
        del self._running[host]
        error = None if task.cancelled() else task.exception()
        if isinstance(error, FetchError):
            self._cache[host] = (time.monotonic() + FAILURES_VALID_S, error)
        elif error is None and not task.cancelled():
            self._cache[host] = (time.monotonic() + ADDRESSES_VALID_S, task.result())
        if len(self._cache) > CACHED_NAMES:
            self._cache.popitem(last=False)

    async def _look_up(self, host: str) -> list[str]:
        try:
            return await self._calls.run(_system_addresses, host)
        except TimeoutError as error:
            raise FetchError("dns") from error


def _system_addresses(host: str) -> list[str]:
    """Return the addresses that the system's resolver gives. Raises FetchError or TransientError (dns, bad_url)."""
    try:
        infos = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise (TransientError("dns") if error.errno == socket.EAI_AGAIN else FetchError("dns")) from error
    except UnicodeError as error:  # a label that is empty or too long
        raise FetchError("bad_url") from error
    return list(dict.fromkeys(str(address[0]) for *_, address in infos))
