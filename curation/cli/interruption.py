"""Interruption of a command: Ctrl-C, and SIGTERM, with which systemd, Docker and Kubernetes stop it."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Terminated(KeyboardInterrupt):
    """SIGTERM; it ends a command as Ctrl-C does, with another exit code."""


@contextmanager
def raise_on_sigterm() -> Iterator[None]:
    """Raise Terminated in the block, once, when the process gets SIGTERM; `timeout`, for one, sends it twice.

    Nothing changes outside the main thread, which alone can handle signals, and in forked processes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    process = os.getpid()

    def handle(number: int, _: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN if os.getpid() == process else signal.SIG_DFL)
        if os.getpid() != process:
            os.kill(os.getpid(), number)
            return
        quiet_py4j()
        raise Terminated

    before = signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is handle:
            signal.signal(signal.SIGTERM, before)


def quiet_py4j() -> None:
    """Let the handlers of logs drop what py4j logs, because it loses its connection when a command is stopped."""
    for handler in logging.getLogger().handlers:
        handler.addFilter(lambda record: not _is_of_py4j(record))


def is_noise(record: logging.LogRecord) -> bool:
    """Return whether a record is py4j's traceback of an interruption, or of an error while it is handled."""
    error = record.exc_info[1] if record.exc_info and _is_of_py4j(record) else None
    return interruption_of(error) is not None


def interruption_of(error: BaseException | None) -> KeyboardInterrupt | None:
    """Return the interruption that led to an error: what runs on the way out, such as py4j's, may fail too."""
    while error:
        if isinstance(error, KeyboardInterrupt):
            return error
        error = error.__context__
    return None


def _is_of_py4j(record: logging.LogRecord) -> bool:
    return f"{os.sep}py4j{os.sep}" in record.pathname
