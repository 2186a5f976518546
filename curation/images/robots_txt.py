"""Asks the robots.txt of an image's host whether it may be fetched (RFC 9309)."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from protego import Protego

from curation.images.failures import FetchError
from curation.images.time_budget import TimeBudget

MAX_BYTES = 500 << 10  # of a file that is parsed (RFC 9309, section 2.5)
VALID_S = 24 * 3600.0  # RFC 9309, section 2.4
FAILURES_VALID_S = 300.0
REMEMBERED_SITES = 10_000


@dataclass
class _Site:
    """The rules of a site, the time that their request has, and until when they hold."""

    rules: asyncio.Task[Protego]
    reading: TimeBudget
    valid_until: float


class RobotsFiles:
    """Caches the rules of the last sites.

    `read` returns the body at a URL, for which it has a budget of `seconds`, or raises FetchError.
    """

    def __init__(self, robot: str, read: Callable[[str, TimeBudget], Awaitable[bytes]], seconds: float) -> None:
        self._robot, self._read, self._seconds = robot, read, seconds
        self._sites: OrderedDict[str, _Site] = OrderedDict()

    async def check(self, url: str, budget: TimeBudget) -> None:
        """Raise FetchError unless a URL may be fetched: `robots_txt`, or `robots_txt_unreachable` if none can be read.

        A status from 400 to 499 means that there are no rules; if the file cannot be read, nothing may be fetched
        (RFC 9309, section 2.3.1). The time of a request for the file counts towards `budget`, as far as the URL waited
        for it; it is `timeout` if none is left.
        """
        parts = urlsplit(url)
        name = f"{parts.scheme}://{parts.netloc}"
        site = self._sites.get(name)
        if site is None or time.monotonic() > site.valid_until:
            reading = TimeBudget(self._seconds)
            rules = asyncio.create_task(self._rules(name, reading))
            site = self._sites[name] = _Site(rules, reading, time.monotonic() + VALID_S)
            if len(self._sites) > REMEMBERED_SITES:
                self._sites.popitem(last=False)
        self._sites.move_to_end(name)
        if not site.rules.done():
            async with budget.follow(site.reading):
                await asyncio.wait([site.rules])
        if not site.rules.result().can_fetch(url, self._robot):
            raise FetchError("robots_txt")

    async def _rules(self, name: str, reading: TimeBudget) -> Protego:
        try:
            body = await self._read(f"{name}/robots.txt", reading)
        except FetchError as error:
            if not str(error).startswith("http_4") or str(error) == "http_429":
                if site := self._sites.get(name):
                    site.valid_until = time.monotonic() + FAILURES_VALID_S
                raise FetchError("robots_txt_unreachable") from error
            body = b""
        return Protego.parse(body[:MAX_BYTES].decode("utf-8", "replace"))
