"""Files on servers, read as they arrive: resumed where a connection broke, tried again politely, pinned to one version.

A `RemoteFile` asks for the bytes from its position on and hands them out as they come; nothing is staged on disk. What
fails in passing (a dropped connection, a stalled or short body, 403, 408, 429, 5xx) is asked for again from the first
byte still missing, after a pause that doubles, with a jitter that keeps readers apart, or as long as the server asks.
Every answer must be of the version that was listed: bytes of two versions are never mixed.
"""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from curation.errors import InputError
from curation.hashing import u64, uniform

log = logging.getLogger(__name__)

RETRIED = frozenset({403, 408, 429, 500, 502, 503, 504})  # Common Crawl answers 403 to who asks too often
MAX_WAIT_S = 300.0
SHORT_HOP = 256 << 10  # bytes read and dropped in place of asking anew


@dataclass(frozen=True)
class RetryPolicy:
    """How long a server is waited for.

    `retries` further tries in a row without a new byte, after `backoff_s` seconds, doubled each time; a connection
    silent for `timeout_s` seconds counts as broken.
    """

    retries: int = 6
    backoff_s: float = 1.0
    timeout_s: float = 60.0


class TransientError(Exception):
    """A failure that may pass; `wait_s` is how many seconds the server asks to be left alone."""

    def __init__(self, reason: str, wait_s: float = 0.0) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


class Body(Protocol):
    """The bytes of an answer. Both methods raise PassingError for what may pass."""

    def read(self, size: int) -> bytes:
        """Return some of the next bytes, at most `size`, none at the end."""

    def close(self) -> None:
        """Hang up."""


OpenAt = Callable[[int], Body]


def retry(name: str, retry_policy: RetryPolicy, attempt: Callable[[], Any], sleep: Callable[[float], None]) -> Any:
    """Return what `attempt` gives, trying again after a PassingError. Raises InputError when patience ends."""
    for failures in range(1, retry_policy.retries + 2):
        try:
            return attempt()
        except TransientError as problem:
            if failures > retry_policy.retries:
                raise InputError(f"cannot read {name}: {problem}; gave up after {failures} tries") from problem
            if problem.wait_s > MAX_WAIT_S:
                raise InputError(f"cannot read {name}: {problem} and asks to wait {problem.wait_s:.0f} s") from problem
            jitter = 0.5 + uniform(u64(0, "retry", name, str(failures))) / 2
            pause = min(max(problem.wait_s, retry_policy.backoff_s * 2.0 ** (failures - 1) * jitter), MAX_WAIT_S)
            log.info("%s: %s, trying again in %.1f s", name, problem, pause)
            sleep(pause)
    raise AssertionError("unreachable")


class RemoteFile(io.RawIOBase):
    """A file of known size on a server, as a readable and seekable stream.

    `open_at(position)` begins an answer at a byte. Reading raises InputError when patience ends, the file is gone, or
    it has another version than the one that was listed.
    """

    def __init__(
        self,
        name: str,
        size: int,
        open_at: OpenAt,
        retry_policy: RetryPolicy | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._name, self._size, self._open_at = name, size, open_at
        self._retry_policy, self._sleep = retry_policy or RetryPolicy(), sleep
        self._position = self._body_at = 0
        self._body: Body | None = None
        self._failure: InputError | None = None

    def readable(self) -> bool:
        """Return True: this is a stream to read from."""
        return True

    def seekable(self) -> bool:
        """Return True: any position can be asked for."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move the position; nothing is asked for before the next read."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def size(self) -> int:
        """Return the number of bytes."""
        return self._size

    def read(self, size: int = -1, /) -> bytes:
        """Return `size` bytes, fewer only at the end, or before a failure that the next call raises."""
        end = self._size if size < 0 else min(self._size, self._position + size)
        data = bytearray()
        while self._position < end:
            if self._failure:
                raise self._failure
            try:
                data += self._more(end - self._position)
            except InputError as error:
                self._failure = error
                if data:
                    break
        return bytes(data)

    def readinto(self, buffer: Any, /) -> int:
        """Read as `read` does, into a buffer."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Hang up."""
        self._hang_up()
        super().close()

    def _more(self, wanted: int) -> bytes:
        data: bytes = retry(self._name, self._retry_policy, lambda: self._some(wanted), self._sleep)
        self._position += len(data)
        return data

    def _some(self, wanted: int) -> bytes:
        try:
            self._go_to_position()
            assert self._body is not None, "opened above"
            data = self._body.read(wanted)
        except BaseException:
            self._hang_up()
            raise
        if not data:
            self._hang_up()
            raise TransientError(f"the answer ended after {self._position} of {self._size} bytes")
        self._body_at += len(data)
        return data

    def _go_to_position(self) -> None:
        ahead = self._position - self._body_at
        if self._body is not None and 0 <= ahead <= SHORT_HOP:
            while self._body_at < self._position:
                passed = self._body.read(self._position - self._body_at)
                if not passed:
                    raise TransientError("the answer ended early")
                self._body_at += len(passed)
            return
        self._hang_up()
        self._body, self._body_at = self._open_at(self._position), self._position

    def _hang_up(self) -> None:
        body, self._body = self._body, None
        if body is not None:
            with suppress(Exception):  # it is being given up
                body.close()


def changed(name: str) -> InputError:
    """Return the error of a file that is no longer the one that was listed."""
    return InputError(f"cannot read {name}: it has changed since it was listed, run again")
