"""Download images within limits of time and size; every failure has one of a closed set of reasons.

| reason | meaning |
|---|---|
| bad_url | not an http(s) URL that can be requested, or a redirect to one |
| dns | the host has no address |
| private_address | the host's addresses are not public and the host is not listed |
| connection | refused, reset, or not HTTP |
| tls | the certificate is not trusted, or the handshake failed |
| timeout | not finished in time, including redirects and retries |
| redirects | more than five in a row |
| http_404 … | the last status, if it is neither 200 nor a redirect |
| too_large | more bytes than allowed |
| incomplete | the connection ended before the body did |
| content_encoding | the body is not in the encoding that the header names |
| bad_response | the body breaks HTTP, such as a chunk of negative size |
| image_noai … | an `X-Robots-Tag` header of the response, for every robot or for ours, says so |
| ref_refused | the image reference names a file that is not allowed (`curation.images.ref_roots`) |
| ref_missing, ref_unreadable | the image reference is missing or cannot be read (`curation.images.refs`) |
| out_of_memory, unexpected_error | any other failure: an image never costs more than itself |
"""

from __future__ import annotations

import logging
import ssl
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPException
from typing import BinaryIO, Literal, Self
from urllib.parse import urljoin

from urllib3 import exceptions
from urllib3.response import HTTPResponse
from urllib3.util import Url, parse_url

from curation import robots
from curation.images.failures import unexpected_reason
from curation.images.refs import ImageRefs, open_local, usual_column
from curation.images.safe_http import Dialer, FetchError
from curation.io.retry import GaveUpError, RetryPolicy, TransientError, retry, retry_after

# Malformed headers are common; urllib3 would log a traceback for each.
logging.getLogger("urllib3.connection").setLevel(logging.ERROR)

REASONS = frozenset(
    {
        "bad_url", "dns", "private_address", "connection", "tls", "timeout", "redirects", "too_large",
        "incomplete", "content_encoding", "bad_response", "ref_refused", "ref_missing",
        "ref_unreadable", "out_of_memory", "unexpected_error", "not_fetched",
        *(f"image_{directive}" for directive in robots.DIRECTIVES),
    }
)  # fmt: skip

MAX_REDIRECTS = 5
CHUNK_BYTES = 64 << 10
FRAMING_FACTOR = 2  # bytes received per byte of a body, at most: the sizes of chunks come on top
MAX_HEADERS = 1 << 20
BUFFERED_BYTES = 64 << 20  # of finished downloads that wait for an earlier row
ROWS_AHEAD = 16  # per thread, so that a slow host does not leave the other threads idle

ImageRow = tuple[str, str | None, str | None]


@dataclass(frozen=True)
class Fetched:
    """The result for one image: `ok` with its bytes, or `failed` with a reason (of `REASONS` or `http_…`)."""

    status: Literal["ok", "failed"]
    reason: str | None
    data: bytes | None


class Fetcher:
    """Gets the bytes of images, from their URLs or through image references; a context manager.

    An image has `timeout_s` seconds in total: name look-up, redirects, body and retries. Up to `retries` retries follow
    a broken connection, a temporary failure of the name look-up, the status 429 or any status from 500 on. Each waits
    for a growing pause, or as long as the server asks. `allow_private_hosts` and `tls` are passed to
    `curation.images.safe_http.Dialer`, `open_binary` and `image_column` to `curation.images.refs.ImageRefs`.
    An image whose response gives one of the directives in `honored`, for every robot or for the first product of the
    user agent, is refused.
    """

    def __init__(
        self,
        *,
        timeout_s: float = 10.0,
        max_bytes: int = 20 << 20,
        allow_private_hosts: Sequence[str] = (),
        user_agent: str = "worldcurate",
        honored: Collection[str] = robots.DEFAULT,
        retries: int = 2,
        backoff_s: float = 0.5,
        threads: int = 16,
        open_binary: Callable[[str], BinaryIO] = open_local,
        image_column: Callable[[str], str] = usual_column,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._policy = RetryPolicy(retries, backoff_s, timeout_s, max_wait_s=timeout_s)
        self._max_bytes = max_bytes
        self._threads = threads
        self._honored, self._robot = honored, user_agent.partition("/")[0].strip()
        self._headers = {
            "User-Agent": user_agent,
            "Accept": "image/*,*/*;q=0.5",
            "Accept-Encoding": "identity",
            "Connection": "close",
        }
        self._refs = ImageRefs(open_binary, max_bytes=max_bytes, column=image_column)
        received = FRAMING_FACTOR * max_bytes + MAX_HEADERS
        self._dialer = Dialer(allow_private_hosts=allow_private_hosts, threads=threads, max_bytes=received, tls=tls)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="fetch")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._dialer.close()

    def fetch_many(self, rows: Iterable[ImageRow]) -> Iterator[tuple[str, Fetched]]:
        """Yield (image_id, result) for rows of (image_id, image_url, image_ref), in their order.

        A row is read ahead only if a thread is free and finished downloads occupy less than `BUFFERED_BYTES`. That and
        `max_bytes` per thread bound the memory.
        """
        pending: deque[tuple[str, Future[Fetched]]] = deque()
        try:
            for image_id, image_url, image_ref in rows:
                while not self._can_start([future for _, future in pending]):
                    first_id, first = pending[0]
                    if first.done():
                        pending.popleft()
                        yield first_id, first.result()
                    else:
                        wait([future for _, future in pending if not future.done()], None, FIRST_COMPLETED)
                pending.append((image_id, self._pool.submit(self.load, image_url, image_ref)))
            while pending:
                first_id, first = pending.popleft()
                yield first_id, first.result()
        finally:
            for _, future in pending:
                future.cancel()

    def _can_start(self, pending: Sequence[Future[Fetched]]) -> bool:
        """Return whether another row may be started."""
        done = [future.result().data or b"" for future in pending if future.done()]
        running = len(pending) - len(done)
        return (
            running < self._threads
            and len(pending) < ROWS_AHEAD * self._threads
            and sum(map(len, done)) < BUFFERED_BYTES
        )

    def load(self, image_url: str | None, image_ref: str | None) -> Fetched:
        """Return the bytes that `image_ref` names or, without one, those at `image_url`; never raise an Exception."""
        try:
            if image_ref is None:
                return self.fetch(image_url or "")
            return Fetched("ok", None, self._refs.read(image_ref))
        except FetchError as failure:
            return Fetched("failed", failure.reason, None)
        except Exception as error:  # whatever one image does, it costs that image alone
            return Fetched("failed", unexpected_reason(error), None)

    def fetch(self, url: str) -> Fetched:
        """Download one URL; retry transient failures."""
        deadline = time.monotonic() + self._policy.timeout_s
        try:
            return Fetched("ok", None, retry(url, self._policy, lambda: self._follow(url, deadline), deadline=deadline))
        except FetchError as error:
            return Fetched("failed", error.reason, None)
        except GaveUpError as error:
            return Fetched("failed", str(error.last), None)

    def _follow(self, url: str, deadline: float) -> bytes:
        """Return the body at the end of the redirects. Raises FetchError or TransientError."""
        for _ in range(MAX_REDIRECTS + 1):
            target = _parsed(url)
            with _named_failures(), closing(self._dialer.connection(target, deadline)) as connection:
                connection.request("GET", target.request_uri, headers=self._headers, preload_content=False)
                with closing(connection.getresponse()) as response:
                    location = response.get_redirect_location()
                    if not location:
                        return self._body(response)
            url = _redirected(url, location)
        raise FetchError("redirects")

    def _body(self, response: HTTPResponse) -> bytes:
        """Return the body of a response with status 200. Raises FetchError, TransientError."""
        if response.status != 200:
            reason = f"http_{response.status}"
            if response.status == 429 or response.status >= 500:
                raise TransientError(reason, retry_after(response.headers.get("Retry-After")))
            raise FetchError(reason)
        if refused := self._refused(response):
            raise FetchError(f"image_{refused}")
        if (response.length_remaining or 0) > self._max_bytes:
            raise FetchError("too_large")
        body = bytearray()
        while chunk := response.read(CHUNK_BYTES):
            body += chunk
            if len(body) > self._max_bytes:
                raise FetchError("too_large")
        return bytes(body)

    def _refused(self, response: HTTPResponse) -> str | None:
        """Return the first honored directive that an X-Robots-Tag header gives, or None."""
        values = response.headers.getlist("X-Robots-Tag")
        given = {directive for value in values for directive in robots.directives_in(value, self._robot)}
        return next((name for name in robots.DIRECTIVES if name in given and name in self._honored), None)


@contextmanager
def _named_failures() -> Iterator[None]:
    """Turn failures of sockets, TLS, http.client and urllib3 into a FetchError or a TransientError."""
    try:
        yield
    except (TimeoutError, exceptions.TimeoutError) as error:
        raise FetchError("timeout") from error
    except (ssl.SSLError, exceptions.SSLError) as error:
        raise FetchError("tls") from error
    except exceptions.DecodeError as error:
        raise FetchError("content_encoding") from error
    except exceptions.ProtocolError as error:  # of a body only: other errors of http.client are not wrapped by urllib3
        raise TransientError("incomplete") from error
    except (HTTPException, exceptions.HTTPError, OSError) as error:
        raise TransientError("connection") from error
    except (ValueError, OverflowError) as error:  # http.client trusts the sizes of chunks
        raise FetchError("bad_response") from error


def _parsed(url: str) -> Url:
    """Split and percent-encode an http(s) URL that has no user and password. Raises FetchError."""
    try:
        url.encode("utf-8")  # a lone surrogate has no percent-encoding
        parsed = parse_url(url)
    except (UnicodeError, exceptions.LocationParseError) as error:
        raise FetchError("bad_url") from error
    if parsed.scheme not in {"http", "https"} or not parsed.host or parsed.auth is not None:
        raise FetchError("bad_url")
    return parsed


def _redirected(url: str, location: str) -> str:
    """Return the URL that a Location header points to."""
    try:
        with suppress(UnicodeError):  # http.client reads headers as Latin-1, servers write UTF-8
            location = location.encode("latin-1").decode("utf-8")
        return urljoin(url, location)
    except ValueError as error:
        raise FetchError("bad_url") from error
