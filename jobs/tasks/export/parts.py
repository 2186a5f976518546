"""Plans the files of an export from the files of the table `shards`, without reading them."""

from __future__ import annotations

from collections.abc import Iterable

from curation.export.formats import Format
from curation.lake.files import DataFile
from jobs.tasks.images.splits import Slice


def plan_parts(files: Iterable[DataFile], kind: Format, limit: int) -> list[list[Slice]]:
    """Return the rows of each file of the export, in order: as many as make about `limit` bytes; at least one file.

    The rows of a data file count as equally large. Shards are in random order, so this is close.
    """
    parts: list[list[Slice]] = [[]]
    room = limit
    for file in files:
        row_bytes = kind.row_bytes + (-(-file.size // max(1, file.rows)) if kind.images else 0)
        start = 0
        while start < file.rows:
            fitting = max(room // row_bytes, 0 if parts[-1] else 1)
            if not fitting:
                parts.append([])
                room = limit
                continue
            stop = min(file.rows, start + fitting)
            parts[-1].append(Slice(file.path, start, stop))
            room -= (stop - start) * row_bytes
            start = stop
    return parts
