"""Notice that another rank is lost, where its connections do not tell: a host without power, or a wait inside NCCL.

Every rank counts its own beats in the store of the launcher and watches the next rank. A rank that is slow but alive
keeps beating, so this says nothing about how long a step or a wait may take.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

INTERVAL_S = 5.0  # between beats
PATIENCE_S = 40.0  # without a beat until a rank is lost; all ranks then end within a minute
DONE = 1 << 40  # more than the beats of any run

Clock = Callable[[], float]


class Store(Protocol):
    """The part of torch's stores that a heartbeat uses."""

    def add(self, key: str, amount: int, /) -> int:
        """Add to a counter that starts with 0 and return it."""

    def compare_set(self, key: str, expected: str, value: str, /) -> bytes:
        """Set a value if the present one is as expected; that of a missing key is empty."""

    def check(self, keys: list[str], /) -> bool:
        """Return whether all keys exist."""

    def get(self, key: str, /) -> bytes:
        """Return a value, once it exists."""


class Heartbeat:
    """The beats of one rank, and its view of the next one.

    Args:
        store: a store that all ranks share.
        rank: this rank among `size`.
        size: number of ranks.
        clock: seconds that never go back.
    """

    def __init__(self, store: Store, rank: int, size: int, clock: Clock = time.monotonic) -> None:
        self._store, self._rank, self._next, self._clock = store, rank, (rank + 1) % size, clock
        self._last_count, self._last_change = 0, clock()

    def beat(self) -> int | None:
        """Count one beat and return the rank that is lost, as this or another rank found; None if all are alive."""
        self._store.add(f"beats-{self._rank}", 1)
        count, now = self._store.add(f"beats-{self._next}", 0), self._clock()
        if count != self._last_count or count >= DONE:
            self._last_count, self._last_change = count, now
        elif now - self._last_change > PATIENCE_S:
            self._store.compare_set("lost", "", str(self._next))  # the first report counts
        return int(self._store.get("lost")) if self._store.check(["lost"]) else None

    def finish(self) -> None:
        """Tell the other ranks that this one is done, so that it may end."""
        self._store.add(f"beats-{self._rank}", DONE)


@contextmanager
def watch(
    heartbeat: Heartbeat, end: Callable[[str], None], stopped: threading.Event, interval: float = INTERVAL_S
) -> Iterator[None]:
    """Beat in a thread until the block ends or `stopped` is set; call `end` with the reason if a rank is lost.

    A block that ends with an error does not tell the other ranks that it is done, so they end too.
    """

    def run() -> None:
        while not stopped.wait(interval):
            try:
                lost = heartbeat.beat()
            except RuntimeError as error:  # the store ended with its host
                reason: str | None = f"the launcher's store does not answer: {error}"
            else:
                reason = None if lost is None else f"rank {lost} has not answered for {PATIENCE_S:.0f} s"
            if reason and not stopped.is_set():
                end(reason.splitlines()[0])
                return

    thread = threading.Thread(target=run, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
        heartbeat.finish()
    finally:
        stopped.set()
