"""Spark's daemon that forks Python workers, without the tracebacks of workers that lose their connection.

Spark closes the connections of idle workers when it stops, and a worker that was about to write then would print a
traceback at the end of a run that succeeded.
"""

from __future__ import annotations

import sys
import traceback
from types import SimpleNamespace

from pyspark import daemon


def print_exception() -> None:
    """Print the traceback of the current exception, unless it is a lost connection."""
    if not isinstance(sys.exception(), BrokenPipeError | ConnectionResetError):
        traceback.print_exc()


if __name__ == "__main__":
    vars(daemon)["traceback"] = SimpleNamespace(print_exc=print_exception, format_exc=traceback.format_exc)
    daemon.manager()
