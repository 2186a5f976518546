"""What a reader reports about one input file: its counters, and the damage that cut it short.

`jobs.runtime.ledger` decides which statuses count as failed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from curation.occurrence import Counters


@dataclass
class FileReport:
    """The result of reading one input file: its counters, and the error that cut it short, if any.

    Readers update `counters.read`, `drops` and `notes` while they yield; grouping counts the rest. `name` is the file
    name for messages.
    """

    name: str
    counters: Counters = field(default_factory=Counters)
    error: str | None = None

    @property
    def status(self) -> str:
        """`ok`, or `partial` when only the rows before `error` could be read."""
        return "ok" if self.error is None else "partial"
