"""Expected errors, each with the exit code of a job that ends with it.

Any other exception that escapes a job is a bug and exits with 1.
"""

from __future__ import annotations


class WorldcurateError(Exception):
    """An expected failure, reported in one line, with an exit code."""

    exit_code = 1


class UsageError(WorldcurateError):
    """Usage, config or setup is wrong; a retry cannot help (exit 2)."""

    exit_code = 2


class InputError(WorldcurateError):
    """An input is missing or unreadable, or too many inputs are; a retry may help (exit 3)."""

    exit_code = 3


class LostSparkError(WorldcurateError):
    """Spark ended, or lost the processes of a task too often; a retry may help (exit 3)."""

    exit_code = 3


class DamagedLakeError(InputError):
    """A file of the lake is missing or damaged; a retry cannot help (exit 4)."""

    exit_code = 4


class OutputError(WorldcurateError):
    """An output failed its checks, or another run published first; nothing was published (exit 4)."""

    exit_code = 4


class RebuildError(OutputError):
    """A stage of a rebuild without downloads failed; `table` is its table (exit 4)."""

    def __init__(self, table: str, error: WorldcurateError) -> None:
        super().__init__(str(error))
        self.table = table


class StorageFullError(WorldcurateError):
    """An output could not be written: the disk or a quota is full, or files may not be so large (exit 5)."""

    exit_code = 5
