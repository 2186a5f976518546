"""Plans the files of an export from the files of the table `shards`, without reading them."""

from __future__ import annotations

from collections.abc import Iterable

from curation.export.formats import Format
from curation.lake.files import DataFile
from jobs.tasks.images.splits import Slice, cut_by_bytes, stored_row_bytes


def plan_parts(files: Iterable[DataFile], kind: Format, limit: int) -> list[list[Slice]]:
    """Return the rows of each file of the export, in order: as many as make about `limit` bytes; at least one file.

    The rows of a data file count as equally large. Shards are in random order, so this is close.
    """
    return cut_by_bytes(files, lambda file: kind.row_bytes + (stored_row_bytes(file) if kind.images else 0), limit)
