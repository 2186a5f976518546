"""Run an iterator in a thread, some items ahead of its consumer."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Any, Final, TypeVar

Item = TypeVar("Item")

_END: Final = object()
_POLL_S: Final = 0.1  # how soon the thread notices that nobody reads any more


def read_ahead(items: Iterator[Item], depth: int) -> Iterator[Item]:
    """Yield the items of an iterator, of which a thread makes up to `depth` ahead. Raises what the iterator raises.

    The thread ends with the items, or when this iterator is closed or no longer used.
    """
    ready: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue(depth)
    stopped = threading.Event()

    def put(item: Any, error: BaseException | None = None) -> None:
        while not stopped.is_set():
            try:
                ready.put((item, error), timeout=_POLL_S)
                break
            except queue.Full:
                continue

    def make() -> None:
        try:
            for item in items:
                put(item)
                if stopped.is_set():
                    return
            put(_END)
        except BaseException as error:
            put(_END, error)

    thread = threading.Thread(target=make, name="read-ahead", daemon=True)
    thread.start()
    try:
        while True:
            item, error = ready.get()
            if error is not None:
                raise error
            if item is _END:
                return
            yield item
    finally:
        stopped.set()
        thread.join()
