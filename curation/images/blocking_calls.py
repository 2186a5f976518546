"""Blocking calls that an event loop can stop waiting for: each runs in a daemon thread of its own."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar

Result = TypeVar("Result")


@dataclass
class BlockingCalls:
    """Runs calls that cannot be interrupted, such as the system's name look-ups.

    Attributes:
        parallel: calls at the same time.
        turn_s: seconds after which a call no longer counts towards `parallel`, so that slow ones delay no others.
        limit_s: seconds after which a call is abandoned.
        threads: of calls, abandoned ones included; with so many, further calls wait.
    """

    parallel: int
    turn_s: float
    limit_s: float
    threads: int
    _running: set[threading.Thread] = field(default_factory=set, repr=False)

    def __post_init__(self) -> None:
        self._turns = asyncio.Semaphore(self.parallel)
        self._free_threads = asyncio.Semaphore(self.threads)

    async def run(self, function: Callable[..., Result], *arguments: object) -> Result:
        """Return the result of a call. Raises what it raises, and TimeoutError after `limit_s`."""
        async with self._turns:
            await self._free_threads.acquire()
            answer = self._start(function, *arguments)
            with suppress(TimeoutError):
                return await asyncio.wait_for(asyncio.shield(answer), min(self.turn_s, self.limit_s))
        return await asyncio.wait_for(asyncio.shield(answer), max(0.0, self.limit_s - self.turn_s))

    def join(self, seconds: float) -> None:
        """Wait for the running calls, for some seconds at most."""
        until = time.monotonic() + seconds
        for thread in list(self._running):
            thread.join(max(0.0, until - time.monotonic()))

    def _start(self, function: Callable[..., Result], *arguments: object) -> asyncio.Future[Result]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Result] = loop.create_future()
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody may wait for it any more

        def settle(result: Result | None, error: BaseException | None) -> None:
            self._free_threads.release()
            if error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(result)  # type: ignore[arg-type]  # None only with an error

        def work() -> None:
            result, error = None, None
            try:
                result = function(*arguments)
            except BaseException as raised:  # raised where the answer is awaited
                error = raised
            self._running.discard(threading.current_thread())
            with suppress(RuntimeError):  # the loop has been closed meanwhile
                loop.call_soon_threadsafe(settle, result, error)

        thread = threading.Thread(target=work, name=function.__name__, daemon=True)
        self._running.add(thread)
        thread.start()
        return answer
