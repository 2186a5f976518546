"""Limits per host: parallel requests, a pause between them, and a breaker for hosts that do not answer in time."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from curation.images.failures import FetchError

BREAKER_TIMEOUTS = 4  # consecutive time-outs after which a host is not asked
BREAKER_S = 120.0  # seconds until it is asked again
REMEMBERED_HOSTS = 50_000


@dataclass
class _Host:
    """State of one host: its free slots, the requests that use or await them, its next start, its time-outs."""

    slots: asyncio.Semaphore
    users: int = 0
    next_start: float = 0.0
    timeouts: int = 0
    closed_until: float = 0.0


class HostLimits:
    """Gives every request its turn at its host.

    A host answers at most `parallel` requests at the same time, and they start at least `delay_s` apart. After
    `BREAKER_TIMEOUTS` time-outs in a row, its requests fail for `BREAKER_S`; then each further time-out has this effect
    again, until one of them answers.
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
            async with host.slots:
                await self._wait_for_start(host)
                if time.monotonic() < host.closed_until:
                    raise FetchError("host_unresponsive")
                yield
        finally:
            host.users -= 1

    def record(self, name: str, *, timed_out: bool) -> None:
        """Record whether a request of a host timed out."""
        host = self._host(name)
        host.timeouts = host.timeouts + 1 if timed_out else 0
        host.closed_until = time.monotonic() + BREAKER_S if host.timeouts >= BREAKER_TIMEOUTS else 0.0

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
