"""The errors a user can cause, each with the exit code the jobs end with.

Anything else that escapes a job is a bug and exits 1.
"""

from __future__ import annotations


class WorldcurateError(Exception):
    """An expected failure: one clear line for the user and an exit code."""

    exit_code = 1


class UsageError(WorldcurateError):
    """Usage, config or set-up is wrong: a retry cannot help (exit 2)."""

    exit_code = 2


class InputError(WorldcurateError):
    """An input is missing or unreadable, or too many of them are: worth a retry (exit 3)."""

    exit_code = 3


class OutputError(WorldcurateError):
    """An output failed its checks and was not published (exit 4)."""

    exit_code = 4
