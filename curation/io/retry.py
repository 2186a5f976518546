"""Retry transient failures after growing pauses, or after the pause that the server asks for.

Code that talks to a server raises TransientError for failures that another attempt can cure. `retry` repeats the
attempt until it succeeds, the limits of its RetryPolicy are reached or the deadline has passed.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from urllib3.exceptions import InvalidHeader
from urllib3.util import Retry

from curation.errors import InputError
from curation.hashing import u64, uniform

log = logging.getLogger(__name__)

TRANSIENT_STATUSES = frozenset({408, 429, 500, 502, 503, 504})  # of HTTP

Result = TypeVar("Result")


@dataclass(frozen=True)
class RetryPolicy:
    """The number of retries and the pauses between them.

    After a failure, up to `retries` further attempts follow. The pause before the first is `backoff_s` seconds, and
    doubles each time; `jitter` shortens it by up to a half, so that many clients do not return together. If a server
    asks for a longer pause than `max_wait_s`, there is no retry. A connection without data for `timeout_s` counts as
    broken.
    """

    retries: int = 6
    backoff_s: float = 1.0
    timeout_s: float = 60.0
    max_wait_s: float = 300.0
    jitter: bool = True

    def pause_s(self, name: str, failures: int, wait_s: float = 0.0) -> float:
        """Return the seconds to wait after a number of consecutive failures, at least `wait_s` if that is allowed."""
        share = 0.5 + uniform(u64(0, "retry", name, str(failures))) / 2 if self.jitter else 1.0
        return min(max(wait_s, self.backoff_s * 2.0 ** (failures - 1) * share), self.max_wait_s)


class TransientError(Exception):
    """A transient failure; the server asks for a pause of `wait_s` seconds."""

    def __init__(self, reason: str, wait_s: float = 0.0) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


class GaveUpError(InputError):
    """No attempt succeeded: `last` is the last failure, `detail` the message without the name of the file."""

    def __init__(self, name: str, last: TransientError, reason: str) -> None:
        self.last = last
        self.detail = f"{last}{reason}"
        super().__init__(f"cannot read {name}: {self.detail}")


def retry(
    name: str,
    policy: RetryPolicy,
    attempt: Callable[[], Result],
    *,
    progress: Callable[[], int] = lambda: 0,
    deadline: float = math.inf,
    sleep: Callable[[float], None] = time.sleep,
) -> Result:
    """Return the result of `attempt`, calling it again after each TransientError.

    Args:
        name: file or URL that is read, for messages; it also seeds the jitter.
        policy: number of attempts and pauses between them.
        attempt: makes one attempt; other errors than TransientError end the loop.
        progress: a number such as the bytes received; if it grew, the count of failures restarts.
        deadline: moment on the monotonic clock from which no attempt starts.
        sleep: waits a number of seconds.

    Raises GaveUpError.
    """
    failures, reached = 0, progress()
    while True:
        try:
            return attempt()
        except TransientError as error:
            now = progress()
            failures = 1 if now > reached else failures + 1
            reached = now
            if failures > policy.retries:
                raise GaveUpError(name, error, f"; gave up after {failures} tries") from error
            if error.wait_s > policy.max_wait_s:
                wait = f"; the server asks for a pause of {error.wait_s:.0f} s: run again after it"
                raise GaveUpError(name, error, wait) from error
            pause = policy.pause_s(name, failures, error.wait_s)
            if time.monotonic() + pause >= deadline:
                raise GaveUpError(name, error, "; no time left for another try") from error
            log.info("%s: %s, trying again in %.1f s", name, error, pause)
        sleep(pause)


def retry_after(header: str | None) -> float:
    """Return the seconds that a Retry-After header asks for; 0 without one, or if it cannot be read."""
    with suppress(InvalidHeader, OverflowError, ValueError):
        return float(Retry().parse_retry_after(header or "0"))
    return 0.0
