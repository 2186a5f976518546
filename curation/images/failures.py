"""Failures of one image: it is counted under a reason, and the other images continue."""

from __future__ import annotations

import logging
import traceback

log = logging.getLogger(__name__)

NOT_PROCESSED = "not_processed"  # reason of an image that was there, when the time of the task was over


class FetchError(Exception):
    """A failure that another attempt would not cure.

    `reason` is one of `curation.images.fetch.REASONS` or `http_` and a status. A transient failure is a
    TransientError with such a reason as its text.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class DecodeError(Exception):
    """Bytes that cannot become a stored image; `reason` is one of `curation.images.decode.REASONS`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def unexpected_reason(error: Exception) -> str:
    """Return the reason of an image that fails with an exception that no rule foresees, and log where it was raised.

    Interrupts are no `Exception`, so they still end the process.
    """
    if isinstance(error, MemoryError):
        return "out_of_memory"
    frame = traceback.extract_tb(error.__traceback__)[-1]
    log.warning("an image failed unexpectedly: %s at %s:%s", type(error).__name__, frame.filename, frame.lineno)
    return "unexpected_error"
