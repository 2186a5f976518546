"""Downloads one URL politely: turns per host, redirects, retries, a time limit, and the owner's wishes.

Every redirect is a new request: its URL is parsed, its host resolved and its addresses checked like those of the first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from urllib.parse import urljoin

from urllib3.exceptions import LocationParseError
from urllib3.util import Url, parse_url

from curation import robots
from curation.images.addresses import AllowedHosts
from curation.images.body_room import Space, unlimited_space
from curation.images.content_encoding import unpack
from curation.images.exchange import Response
from curation.images.failures import FetchError
from curation.images.hosts import HostLimits
from curation.images.resolver import Resolver
from curation.images.robots_txt import RobotsFiles
from curation.images.time_budget import TimeBudget
from curation.images.transport import Target, Transport
from curation.io.retry import RetryPolicy, TransientError, retry_after
from curation.urls import UrlError, normalize_url

MAX_REDIRECTS = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})
PORTS = {"http": 80, "https": 443}
UNASKED = frozenset({"dns", "private_address"})  # reasons of requests that reach no host


@dataclass(frozen=True)
class FetchSettings:
    """Settings of the fetcher; `curation.cli.config.ImagesSection` describes those that are config keys.

    Attributes:
        honored: directives of X-Robots-Tag headers that are honored, for every robot or for the first product of
            `user_agent`.
        backoff_s: pause before the first retry; it doubles for each further one.
        ca_file: trusted certificates (PEM) instead of the system's.
    """

    timeout_s: float = 10.0
    task_timeout_s: float = 3600.0
    max_bytes: int = 20 << 20
    allow_private_hosts: tuple[str, ...] = ()
    user_agent: str = "worldcurate"
    honored: tuple[str, ...] = robots.DIRECTIVES
    tdm_reservation: bool = True
    robots_txt: bool = False
    retries: int = 2
    backoff_s: float = 0.5
    connections: int = 256
    connections_per_host: int = 4
    host_delay_s: float = 0.0
    ca_file: str | None = None


class Downloader:
    """Downloads URLs in the running event loop, many at the same time.

    A URL has `timeout_s` seconds in total for robots.txt, name look-ups, requests and pauses between retries; waiting
    for its turn, or for room for its body, does not count. Up to `retries` retries follow a broken connection, a
    temporary failure of the name look-up, the status 429 or any status from 500 on. Each waits for a growing pause, or
    as long as the server asks. URLs for which `blocked` is true are not requested.
    """

    def __init__(self, settings: FetchSettings, blocked: Callable[[str], bool]) -> None:
        self._settings, self._blocked = settings, blocked
        self._policy = RetryPolicy(
            settings.retries, settings.backoff_s, settings.timeout_s, max_wait_s=settings.timeout_s
        )
        self._robot = settings.user_agent.partition("/")[0].strip()
        headers = [f"User-Agent: {settings.user_agent}", "Accept: image/*,*/*;q=0.5", "Accept-Encoding: identity"]
        self._transport = Transport(headers, settings.max_bytes, settings.connections, settings.ca_file)
        self._allowed = AllowedHosts(settings.allow_private_hosts)
        self._resolver = Resolver()
        self._hosts = HostLimits(settings.connections_per_host, settings.host_delay_s)
        self._slots = asyncio.Semaphore(settings.connections)
        robots_s = settings.timeout_s / 2  # so that time is left for the image
        self._robots = RobotsFiles(self._robot, self._read_robots_txt, robots_s) if settings.robots_txt else None

    def close(self) -> None:
        """Close all connections; no download may be running."""
        self._transport.close()

    async def get(self, url: str, space: Space) -> bytes:
        """Return the body at a URL, for which there is `space`. Raises FetchError."""
        response = await self._repeat(url, TimeBudget(self._settings.timeout_s), self._accepts, space)
        return self._unpacked(response)

    async def _repeat(
        self, url: str, budget: TimeBudget, accepts: Callable[[Response], bool], space: Space
    ) -> Response:
        """Return the response of `_follow`, which is tried again after failures that may pass. Raises FetchError."""
        failures, failure = 0, "timeout"
        while True:
            try:
                return await self._follow(url, budget, accepts, space)
            except FetchError as error:
                if error.reason == "timeout":  # in a retry: what failed before says more
                    raise FetchError(failure) from error
                raise
            except TransientError as error:
                failures, failure = failures + 1, str(error)
                pause = self._policy.pause_s(url, failures, error.wait_s)
                given_up = failures > self._policy.retries or error.wait_s > self._policy.max_wait_s
                if given_up or pause >= budget.left:
                    raise FetchError(failure) from error
            async with budget.spend():
                await asyncio.sleep(pause)

    async def _follow(
        self, url: str, budget: TimeBudget, accepts: Callable[[Response], bool], space: Space
    ) -> Response:
        """Return the response with status 200 at the end of the redirects. Raises FetchError, TransientError."""
        for _ in range(MAX_REDIRECTS + 1):
            parsed = _parsed(url)
            if self._blocked(_normalized(url)):
                raise FetchError("blocked_host")
            if self._robots and accepts == self._accepts:
                await self._robots.check(parsed.url, budget)
            response = await self._request(parsed, budget, accepts, space)
            location = response.get("location") if response.status in REDIRECTS else None
            if not location:
                _check_status(response)
                return response
            url = _redirected(url, location)
        raise FetchError("redirects")

    async def _request(
        self, url: Url, budget: TimeBudget, accepts: Callable[[Response], bool], space: Space
    ) -> Response:
        """Return the response to one request, when it is the turn of the URL at its host."""
        host, port = (url.host or "").strip("[]"), url.port or PORTS[str(url.scheme)]
        async with AsyncExitStack() as turns:
            await turns.enter_async_context(self._hosts.turn(host))
            had_time = budget.left > self._settings.timeout_s / 2  # otherwise a time-out says little about the host
            try:
                async with budget.spend():
                    addresses = await self._resolver.addresses(host)
                if not (usable := self._allowed.usable(host, port, addresses)):
                    raise FetchError("private_address")
                await turns.enter_async_context(self._slots)
                await space.enter()
                async with budget.spend():
                    target = Target(url.url, host, port, tuple(usable))
                    response = await self._transport.get(target, accepts, budget, space)
            except (FetchError, TransientError) as error:
                space.leave()
                if str(error) not in UNASKED and (had_time or str(error) != "timeout"):
                    self._hosts.record(host, timed_out=str(error) == "timeout")
                raise
            self._hosts.record(host, timed_out=False)
            if not response.body:
                space.leave()
            return response

    def _accepts(self, response: Response) -> bool:
        """Return whether the body of a response is an image that may be used. Raises FetchError."""
        if response.status != 200:
            return False
        values = response.all("x-robots-tag")
        given = {directive for value in values for directive in robots.directives_in(value, self._robot)}
        if refused := next(
            (name for name in robots.DIRECTIVES if name in given and name in self._settings.honored), None
        ):
            raise FetchError(f"image_{refused}")
        if self._settings.tdm_reservation and response.get("tdm-reservation") == "1":
            raise FetchError("tdm_reserved")
        return True

    async def _read_robots_txt(self, url: str, budget: TimeBudget) -> bytes:
        """Return the body of a robots.txt. Raises FetchError."""
        response = await self._repeat(url, budget, lambda found: found.status == 200, unlimited_space())
        return self._unpacked(response)

    def _unpacked(self, response: Response) -> bytes:
        """Return the body of a response without the encodings that its server chose unasked. Raises FetchError."""
        return unpack(response.body, ",".join(response.all("content-encoding")), self._settings.max_bytes)


def _normalized(url: str) -> str:
    """Return a URL, which a redirect may spell in any way, in the form of block lists."""
    try:
        return normalize_url(url, None)
    except UrlError:
        return url


def _check_status(response: Response) -> None:
    """Raise FetchError or TransientError for any status but 200."""
    if response.status == 200:
        return
    reason = f"http_{response.status}"
    if response.status == 429 or response.status >= 500:
        raise TransientError(reason, retry_after(response.get("retry-after")))
    raise FetchError(reason)


def _parsed(url: str) -> Url:
    """Split and percent-encode an http(s) URL that has no user and password. Raises FetchError."""
    try:
        url.encode("utf-8")  # a lone surrogate has no percent-encoding
        parsed = parse_url(url)
        (parsed.host or "").encode("idna")  # a label that is empty or too long
    except (UnicodeError, LocationParseError) as error:
        raise FetchError("bad_url") from error
    if parsed.scheme not in PORTS or not parsed.host or parsed.auth is not None:
        raise FetchError("bad_url")
    return parsed


def _redirected(url: str, location: str) -> str:
    """Return the URL that a Location header points to."""
    try:
        with suppress(UnicodeError):  # headers are read as Latin-1, servers write UTF-8
            location = location.encode("latin-1").decode("utf-8")
        return urljoin(url, location)
    except ValueError as error:
        raise FetchError("bad_url") from error
