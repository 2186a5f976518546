"""Loader workers outlive the signal that asks the run to stop, because its last step still needs their batches."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


def survive_stop_signals(_: int = 0) -> None:
    """Ignore SIGUSR1 and the first SIGTERM in this process: Slurm sends them to every process of a job.

    A second SIGTERM ends it: the DataLoader sends one to a worker that does not end by itself.
    """
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _ignore_once)


@contextmanager
def ignore_stop_signals() -> Iterator[None]:
    """Ignore SIGTERM and SIGUSR1 in the block and in programs that it starts; does nothing outside the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGTERM, signal.SIGUSR1)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ignore_once(number: int, _: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)
