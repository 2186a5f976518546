"""Asks the robots.txt of an image's host whether it may be fetched (RFC 9309)."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from protego import Protego

from curation.images.failures import FetchError
from curation.io.retry import TransientError

MAX_BYTES = 500 << 10  # of a file that is parsed (RFC 9309, section 2.5)
VALID_S = 24 * 3600.0  # RFC 9309, section 2.4
FAILURES_VALID_S = 300.0
REMEMBERED_SITES = 10_000


class RobotsFiles:
    """Caches the rules of the last sites; `read` returns the body at a URL or raises FetchError or TransientError."""

    def __init__(self, robot: str, read: Callable[[str], Awaitable[bytes]]) -> None:
        self._robot, self._read = robot, read
        self._sites: OrderedDict[str, tuple[float, asyncio.Task[Protego]]] = OrderedDict()

    async def check(self, url: str) -> None:
        """Raise FetchError unless a URL may be fetched: `robots_txt`, or `robots_txt_unreachable` if none can be read.

        A status from 400 to 499 means that there are no rules; if the file cannot be read, nothing may be fetched
        (RFC 9309, section 2.3.1).
        """
        parts = urlsplit(url)
        site = f"{parts.scheme}://{parts.netloc}"
        valid_until, rules = self._sites.get(site, (0.0, None))
        if rules is None or time.monotonic() > valid_until:
            rules = asyncio.create_task(self._rules(site))
            self._sites[site] = (time.monotonic() + VALID_S, rules)
            if len(self._sites) > REMEMBERED_SITES:
                self._sites.popitem(last=False)
        self._sites.move_to_end(site)
        if not (await asyncio.shield(rules)).can_fetch(url, self._robot):
            raise FetchError("robots_txt")

    async def _rules(self, site: str) -> Protego:
        try:
            body = await self._read(f"{site}/robots.txt")
        except (FetchError, TransientError) as error:
            if not str(error).startswith("http_4") or str(error) == "http_429":
                task = asyncio.current_task()
                if site in self._sites and task:
                    self._sites[site] = (time.monotonic() + FAILURES_VALID_S, task)
                raise FetchError("robots_txt_unreachable") from error
            body = b""
        return Protego.parse(body[:MAX_BYTES].decode("utf-8", "replace"))
