"""Read files on http(s) servers: their size and version, and their bytes from any position."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import cast

import urllib3
from urllib3 import exceptions
from urllib3.response import HTTPResponse

from curation.errors import InputError
from curation.io.remote_file import Body, changed
from curation.io.retry import TRANSIENT_STATUSES, TransientError, retry_after

USER_AGENT = "worldcurate (https data reader)"
REDIRECTS = urllib3.Retry(total=None, connect=0, read=0, other=0, redirect=5)
THROTTLED = 403  # Common Crawl's answer to clients that ask too often
MISSING = frozenset({404, 410})


class MissingError(InputError):
    """The server has no such file."""


class HttpSource:
    """Reads files on http(s) servers, with one attempt per call.

    `transient` lists the HTTP statuses that are worth another attempt.
    """

    def __init__(
        self,
        timeout_s: float,
        *,
        user_agent: str = USER_AGENT,
        connections: int = 4,
        transient: frozenset[int] = TRANSIENT_STATUSES | {THROTTLED},
    ) -> None:
        self._headers = {"User-Agent": user_agent, "Accept-Encoding": "identity"}
        self._pool = urllib3.PoolManager(
            maxsize=connections, headers=self._headers, timeout=timeout_s, retries=REDIRECTS
        )
        self._transient = transient

    def stat(self, url: str) -> tuple[int, str]:
        """Return size in bytes and tag (ETag, else Last-Modified). Raises TransientError or InputError."""
        # a range, not HEAD: signed URLs and some servers allow GET alone
        with closing(self.get(url, {"Range": "bytes=0-0"})) as response:
            if response.status == 206:
                total = response.headers.get("Content-Range", "").rpartition("/")[2]
            elif response.status == 416:  # an empty file
                total = "0"
            else:
                total = response.headers.get("Content-Length", "")
            if not total.isdecimal():
                raise InputError(f"cannot read {url}: the server does not report its length")
            return int(total), _tag(response)

    def open_at(self, url: str, position: int, size: int, tag: str) -> Body:
        """Start reading a file of that size and tag at a position. Raises TransientError or InputError."""
        response = self.get(url, {"Range": f"bytes={position}-"} if position else {})
        try:
            if tag and _tag(response) not in ("", tag):
                raise changed(url)
            if response.status == 200:  # a server without ranges sends everything again
                return HttpBody(response, skip=position)
            given, _, total = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
            if response.status != 206 or given.partition("-")[0] != str(position) or total not in (str(size), "*"):
                raise TransientError(f"the server answers {response.status} {given}/{total} to {position}-")
            return HttpBody(response)
        except BaseException:
            response.close()
            raise

    def get(self, url: str, headers: dict[str, str]) -> HTTPResponse:
        """Request a URL and return the response, its body unread; the status is 2xx, 3xx or 416.

        Raises TransientError, MissingError for 404 and 410, InputError for other statuses.
        """
        with transient_failures():
            # the body as stored: with decoding, positions would not be those of the file
            answer = self._pool.request(
                "GET", url, headers=self._headers | headers, preload_content=False, decode_content=False
            )
        response = cast("HTTPResponse", answer)  # the subclass that a pool's `request` returns
        if response.status < 400 or response.status == 416:
            return response
        response.close()
        if response.status in self._transient:
            wait_s = retry_after(response.headers.get("Retry-After"))
            raise TransientError(f"the server answers {response.status}", wait_s)
        answer_line = f"{response.status} {response.reason}"
        if response.status in MISSING:
            raise MissingError(f"cannot read {url}: there is no such file on the server ({answer_line})")
        raise InputError(f"cannot read {url}: the server answers {answer_line}")


class HttpBody:
    """The body of a response, without its first `skip` bytes."""

    def __init__(self, response: HTTPResponse, skip: int = 0) -> None:
        self._response, self._skip = response, skip

    def read(self, size: int) -> bytes:
        """Return some of the next bytes, at most `size`, none at the end. Raises TransientError."""
        with transient_failures():
            while self._skip:
                skipped = self._response.read1(min(self._skip, 1 << 20))
                if not skipped:
                    return b""
                self._skip -= len(skipped)
            # read1 returns what has arrived; `read` would lose the part of a chunk before a broken connection
            return self._response.read1(size)

    def close(self) -> None:
        """Close the connection."""
        self._response.close()


@contextmanager
def transient_failures() -> Iterator[None]:
    """Turn failures of the network into a TransientError."""
    try:
        yield
    except (exceptions.HTTPError, OSError) as error:
        raise TransientError(str(error) or type(error).__name__) from error


def _tag(response: HTTPResponse) -> str:
    return (response.headers.get("ETag") or response.headers.get("Last-Modified") or "").strip('"')
