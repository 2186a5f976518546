"""Fetch images, many at the same time; every failure has one of a closed set of reasons.

| reason | meaning |
|---|---|
| bad_url | not an http(s) URL that can be requested, or a redirect to one |
| blocked_host | the URL, or that of a redirect, is in a list of hosts that must not be asked |
| robots_txt, robots_txt_unreachable | the robots.txt of the host disallows the URL, or cannot be read |
| dns | the host has no address |
| private_address | the host's addresses are not public and the host is not listed |
| connection | refused, reset, or closed without an answer |
| tls | the certificate is not trusted, or the handshake failed |
| timeout | not finished in time, including robots.txt, redirects and retries |
| host_unresponsive | not asked, because the host let several requests in a row time out, and one more after a pause |
| task_timeout | not finished when the time of the task was over |
| not_processed | finished, but not decoded and filtered when the time of the task was over |
| redirects | more than five in a row |
| http_404 … | the last status, if it is neither 200 nor a redirect |
| too_large | more bytes than allowed |
| incomplete | the connection ended before the body did |
| content_encoding | the body is not in the encoding that the header names, or in one that is not supported |
| encoding_bomb | the body unpacks to far more bytes than were received |
| bad_response | the answer breaks HTTP, such as a chunk of negative size, or its headers exceed the limits |
| image_noai … | an `X-Robots-Tag` header of the response, for every robot or for ours, says so |
| tdm_reserved | a `tdm-reservation` header of the response reserves the rights of text and data mining |
| ref_refused | the image reference names a file that is not allowed (`curation.images.refs.roots`) |
| ref_missing, ref_unreadable | the image reference is missing or cannot be read (`curation.images.refs.read`) |
| out_of_memory, unexpected_error | any other failure: an image never costs more than itself |
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Self, TypeVar

from curation import robots
from curation.images.blocking_calls import BlockingCalls
from curation.images.body_room import BodyRoom, Space, unlimited_space
from curation.images.download import Downloader, FetchSettings
from curation.images.failures import NOT_PROCESSED, FetchError, unexpected_reason
from curation.images.refs.read import ImageRefs, open_local

TIME_OVER = frozenset({"task_timeout", NOT_PROCESSED})
REASONS = frozenset(
    {
        "bad_url", "blocked_host", "robots_txt", "robots_txt_unreachable", "dns", "private_address", "connection",
        "tls", "timeout", "host_unresponsive", *TIME_OVER, "redirects", "too_large", "incomplete", "content_encoding",
        "encoding_bomb", "bad_response", "tdm_reserved", "ref_refused", "ref_missing",
        "ref_unreadable", "out_of_memory", "unexpected_error", "not_fetched",
        *(f"image_{directive}" for directive in robots.DIRECTIVES),
    }
)  # fmt: skip

PASSING = frozenset(
    {
        "dns", "connection", "timeout", "host_unresponsive", "incomplete", "robots_txt_unreachable", "http_429",
        *(f"http_{status}" for status in range(500, 1000)), "out_of_memory", "unexpected_error", "decoder_killed",
        "ref_unreadable", "blocked_host", "private_address", "ref_refused", "robots_txt",
    }
)  # fmt: skip  # reasons that may be gone by the next run, unlike those that tell what is at a URL

BUFFERED_BYTES = 64 << 20  # of downloads that are running, or finished and not taken by the caller
ROWS_AHEAD = 4096  # rows that are waiting, running or finished
REF_THREADS = 4  # that read image references, apart from those of slow reads
REF_TURN_S = 5.0  # a read that takes longer is slow, as that of the index of a large archive
REF_LIMIT_S = 600.0  # a read that takes longer is abandoned
MAX_REF_THREADS = 64  # slow and abandoned reads included
CLOSING_S = 5.0  # seconds for running reads at the end

ImageRow = tuple[str, str | None, str | None]
Read = Callable[[str], bytes]
Result = TypeVar("Result")


@dataclass(frozen=True)
class Fetched:
    """The result for one image: `ok` with its bytes, or `failed` with a reason (of `REASONS` or `http_…`)."""

    status: Literal["ok", "failed"]
    reason: str | None
    data: bytes | None


def failed(reason: str) -> Fetched:
    """Return the result of an image that failed."""
    return Fetched("failed", reason, None)


class Fetcher:
    """Gets the bytes of images, from their URLs or through image references; a context manager.

    An event loop in a thread of its own makes the requests, while the caller works on the results. It remembers hosts
    and addresses, and keeps connections open, until it is closed. URLs for which `blocked` is true are not requested.
    """

    def __init__(self, settings: FetchSettings | None = None, blocked: Callable[[str], bool] = lambda _: False) -> None:
        self._settings = settings or FetchSettings()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fetch", daemon=True)
        self._thread.start()
        self._refs = BlockingCalls(REF_THREADS, REF_TURN_S, REF_LIMIT_S, MAX_REF_THREADS)
        self._downloader = self._run(_opened(self._settings, blocked))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the event loop; what is running is abandoned."""
        self._run(_cancelled_others())
        self._loop.call_soon_threadsafe(self._downloader.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._refs.join(CLOSING_S)

    def fetch(self, url: str) -> Fetched:
        """Download one URL."""
        return self._run(self.load(url, None, local_refs().read, unlimited_space()))

    def deadline(self) -> float:
        """Return the time, by `time.monotonic`, at which a task that starts now is over."""
        return time.monotonic() + self._settings.task_timeout_s

    def fetch_many(
        self, rows: Iterable[ImageRow], read_ref: Read | None = None, deadline: float | None = None
    ) -> Iterator[tuple[int, Fetched]]:
        """Yield (position, result) for rows of (image_id, image_url, image_ref), each as soon as it is there.

        `read_ref` returns the bytes that an image reference names; after `REF_LIMIT_S` it is a `timeout`. Downloads,
        running and finished, occupy at most `BUFFERED_BYTES` and one body of `max_bytes` (`BodyRoom`). After the
        deadline, nothing starts, and all results are failures: `task_timeout` of what is not finished,
        `not_processed` of downloads that were not yielded yet.
        """
        batch = _Batch(self._loop, partial(self.load, read_ref=read_ref or local_refs().read))
        deadline = self.deadline() if deadline is None else deadline
        try:
            for position, (_, image_url, image_ref) in enumerate(rows):
                while batch.pending >= ROWS_AHEAD:
                    yield batch.next(deadline)
                if time.monotonic() < deadline:
                    batch.start(position, image_url, image_ref)
                else:
                    yield position, failed("task_timeout")
            while batch.pending:
                yield batch.next(deadline)
        finally:
            batch.cancel()

    async def load(self, image_url: str | None, image_ref: str | None, read_ref: Read, space: Space) -> Fetched:
        """Return the bytes that `image_ref` names or, without one, those at `image_url`; never raise an Exception."""
        try:
            if image_ref is None:
                return Fetched("ok", None, await self._downloader.get(image_url or "", space))
            await space.enter()
            return Fetched("ok", None, await self._refs.run(read_ref, image_ref))
        except FetchError as failure:
            return failed(failure.reason)
        except TimeoutError:
            return failed("timeout")
        except Exception as error:  # whatever one image does, it costs that image alone
            return failed(unexpected_reason(error))

    def _run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


class _Batch:
    """The running rows of one `fetch_many`, and their results."""

    def __init__(self, loop: asyncio.AbstractEventLoop, load: Callable[..., Coroutine[Any, Any, Fetched]]) -> None:
        self._loop, self._load = loop, load
        self._results: queue.SimpleQueue[tuple[int, Space, Fetched | BaseException]] = queue.SimpleQueue()
        self._tasks: set[asyncio.Task[Fetched | BaseException]] = set()
        self._room = BodyRoom(BUFFERED_BYTES)
        self.pending = 0

    def start(self, position: int, image_url: str | None, image_ref: str | None) -> None:
        """Start a row."""
        self.pending += 1
        self._loop.call_soon_threadsafe(self._start_task, position, image_url, image_ref)

    def next(self, deadline: float) -> tuple[int, Fetched]:
        """Wait for a result; after the deadline, end what is running. Raises what a row raised beside an Exception."""
        try:
            position, space, result = self._results.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            self.cancel()
            position, space, result = self._results.get()
        self.pending -= 1
        if isinstance(result, BaseException):
            raise result
        if result.data:
            self._loop.call_soon_threadsafe(space.leave)
            if time.monotonic() >= deadline:
                result = failed(NOT_PROCESSED)
        return position, result

    def cancel(self) -> None:
        """End all running rows."""
        self._loop.call_soon_threadsafe(lambda: [task.cancel() for task in self._tasks])

    def _start_task(self, position: int, image_url: str | None, image_ref: str | None) -> None:
        space = self._room.space()
        task = self._loop.create_task(self._work(image_url, image_ref, space))
        self._tasks.add(task)
        task.add_done_callback(partial(self._end_task, position, space))

    def _end_task(self, position: int, space: Space, task: asyncio.Task[Fetched | BaseException]) -> None:
        """Hand over the result of a row, also of one that was canceled before its first step."""
        self._tasks.discard(task)
        result = failed("task_timeout") if task.cancelled() else task.result()
        if isinstance(result, Fetched) and result.data:
            space.keep(len(result.data))  # unpacked
        else:
            space.leave()
        self._results.put((position, space, result))

    async def _work(self, image_url: str | None, image_ref: str | None, space: Space) -> Fetched | BaseException:
        try:
            return await self._load(image_url, image_ref, space=space)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # raised in the thread that waits, not in this one
            return error


def local_refs() -> ImageRefs:
    """Return a reader of image references to local files."""
    return ImageRefs(open_local, max_bytes=FetchSettings.max_bytes)


async def _opened(settings: FetchSettings, blocked: Callable[[str], bool]) -> Downloader:
    return Downloader(settings, blocked)


async def _cancelled_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
