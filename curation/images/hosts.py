"""Limits per host: parallel requests, a pause between them, and a breaker for hosts that do not answer in time."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from curation.images.failures import FetchError

BREAKER_TIMEOUTS = 4  # consecutive time-outs after which a host is unresponsive
PAUSE_S = 5.0  # seconds until an unresponsive host is asked again, by one request
BREAKER_S = 120.0  # the same, after that request timed out too
REMEMBERED_HOSTS = 50_000


@dataclass
class _Host:
    """State of one host.

    Attributes:
        slots: free turns.
        probe: held by the one request that may ask while the host is unresponsive.
        users: requests that have or await a turn.
        next_start: earliest time of its next request, by `time.monotonic`.
        timeouts: time-outs in a row.
        probes: how often it was asked since it became unresponsive.
        next_probe: when it may be asked while it is unresponsive.
    """

    slots: asyncio.Semaphore
    probe: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0
    next_start: float = 0.0
    timeouts: int = 0
    probes: int = 0
    next_probe: float = 0.0

    @property
    def is_unresponsive(self) -> bool:
        """Whether it is asked by one request at a time, if at all."""
        return self.timeouts >= BREAKER_TIMEOUTS


class HostLimits:
    """Gives every request its turn at its host.

    A host answers at most `parallel` requests at the same time, and they start at least `delay_s` apart. A host that
    lets `BREAKER_TIMEOUTS` requests in a row time out is unresponsive: its requests wait for `PAUSE_S`, then one of
    them is made. If it is answered, the others go on. If it times out, they fail, and so do further ones, except for
    one every `BREAKER_S`.
    """

    def __init__(self, parallel: int, delay_s: float) -> None:
        self._parallel, self._delay_s = parallel, delay_s
        self._hosts: OrderedDict[str, _Host] = OrderedDict()

    @asynccontextmanager
    async def turn(self, name: str) -> AsyncIterator[None]:
        """Wait for a turn at a host and hold it. Raises FetchError (host_unresponsive)."""
        host = self._host(name)
        host.users += 1
        try:
            async with host.slots, AsyncExitStack() as alone:
                if host.is_unresponsive:
                    await alone.enter_async_context(host.probe)
                    await self._wait_for_probe(host)
                    if not host.is_unresponsive:
                        await alone.aclose()
                await self._wait_for_start(host)
                yield
        finally:
            host.users -= 1

    def record(self, name: str, *, timed_out: bool) -> None:
        """Record whether a request of a host timed out."""
        host = self._host(name)
        if not timed_out:
            host.timeouts = host.probes = 0
            return
        host.timeouts += 1
        if host.is_unresponsive:
            host.next_probe = time.monotonic() + (BREAKER_S if host.probes else PAUSE_S)

    async def _wait_for_probe(self, host: _Host) -> None:
        """Wait until a host has answered, or may be asked by one request although it is unresponsive.

        Raises FetchError (host_unresponsive) if it was asked since, and may not be asked again yet.
        """
        while host.is_unresponsive and (pause := host.next_probe - time.monotonic()) > 0:
            if host.probes:
                raise FetchError("host_unresponsive")
            await asyncio.sleep(pause)
        if host.is_unresponsive:
            host.probes += 1
            host.next_probe = time.monotonic() + BREAKER_S  # also if the request ends in another way

    async def _wait_for_start(self, host: _Host) -> None:
        now = time.monotonic()
        start = max(now, host.next_start)
        host.next_start = start + self._delay_s
        if start > now:
            await asyncio.sleep(start - now)

    def _host(self, name: str) -> _Host:
        """Return the state of a host, and forget the hosts that were not used for longest."""
        host = self._hosts.get(name) or _Host(asyncio.Semaphore(self._parallel))
        self._hosts[name] = host
        self._hosts.move_to_end(name)
        for _ in range(min(2, len(self._hosts) - REMEMBERED_HOSTS)):  # two, as a host in use is not forgotten
            oldest, state = self._hosts.popitem(last=False)
            if state.users or state is host:
                self._hosts[oldest] = state
        return host
