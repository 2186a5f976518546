"""The seconds that a URL may take: a clock that runs only while the URL is being worked on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from curation.images.failures import FetchError


class TimeBudget:
    """Seconds that run only inside `spend` or `follow`, so not in a queue, and not between `stop` and `start`."""

    def __init__(self, seconds: float) -> None:
        self._left = seconds
        self._started: float | None = None
        self._scope: asyncio.Timeout | None = None
        self._followers: set[TimeBudget] = set()

    @property
    def left(self) -> float:
        """The seconds that are left; not positive if there are none."""
        return self._left if self._started is None else self._left - (_now() - self._started)

    @asynccontextmanager
    async def spend(self) -> AsyncIterator[None]:
        """Count the time of a block. Raises FetchError (timeout) when none is left."""
        try:
            async with asyncio.timeout(None) as self._scope:
                try:
                    self.start()
                    yield
                finally:
                    self.stop()
                    self._scope = None
        except TimeoutError as error:
            raise FetchError("timeout") from error

    @asynccontextmanager
    async def follow(self, other: TimeBudget) -> AsyncIterator[None]:
        """Count the time of a block while another budget is spent. Raises FetchError (timeout) when none is left."""
        async with self.spend():
            if other._started is None:
                self.stop()
            other._followers.add(self)
            try:
                yield
            finally:
                other._followers.discard(self)

    def start(self) -> None:
        """Go on counting."""
        if self._started is None and self._scope is not None:
            self._started = _now()
            self._expire_at(self._started + self._left)
            for follower in self._followers:
                follower.start()

    def stop(self) -> None:
        """Count no time until `start`."""
        if self._started is not None:
            self._left, self._started = self.left, None
            self._expire_at(None)
            for follower in self._followers:
                follower.stop()

    def _expire_at(self, when: float | None) -> None:
        if self._scope is not None and not self._scope.expired():
            self._scope.reschedule(when)


def _now() -> float:
    return asyncio.get_running_loop().time()
