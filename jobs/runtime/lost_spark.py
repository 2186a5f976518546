"""Recognize failures of Spark itself: a JVM that was killed, a cluster that is gone, processes lost too often."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from py4j.protocol import Py4JError  # type: ignore[import-untyped]  # it has no types
from pyspark.errors import PySparkException

from curation.cli.interruption import interruption_of, quiet_py4j
from curation.errors import LostSparkError, StorageFullError, WorldcurateError
from curation.io.failures import first_line

FULL: Final = "No space left on device"
LOST: Final = (
    "ExecutorLostFailure",
    "removed our application",
    "masters are unresponsive",
    "SparkContext was shut down",
    "SparkContext has been shutdown",
    "stopped SparkContext",
    "Connection refused",
    "Connection reset",
    "Python worker exited unexpectedly",
    "Python worker failed to connect",
    "JAVA_GATEWAY_EXITED",
    "Answer from Java side is empty",
    "Error while sending",
    "Error while receiving",
    "error occurred while trying to connect to the Java",
)


@contextmanager
def named_loss() -> Iterator[None]:
    """Turn a failure of Spark itself into an error of one line, unless an interruption led to it."""
    try:
        yield
    except Exception as error:
        if not interruption_of(error) and (lost := lost_spark(error)):
            quiet_py4j()  # it logs every call that fails from now on
            raise lost from error
        raise


def lost_spark(error: BaseException) -> WorldcurateError | None:
    """Return an error of one line if Spark failed and not the work that it was given; None for other errors."""
    if isinstance(error, ConnectionError):  # the socket of the JVM
        return LostSparkError(f"spark: its JVM has ended: {first_line(error)}: run again")
    if not isinstance(error, Py4JError | PySparkException):
        return None
    lines = [line.strip() for line in _text(error).splitlines()]
    if full := next((line for line in lines if FULL in line), None):
        return StorageFullError(f"spark: a disk of its temporary files is full: {full}: make room, then run again")
    if lost := next((line for line in lines if any(phrase in line for phrase in LOST)), None):
        return LostSparkError(f"spark: it ended or lost its processes too often: {lost}: run again")
    return None


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except (Py4JError, OSError):  # an exception of Java is asked for its text, and the JVM has ended
        return "Answer from Java side is empty"
