"""Finished rows that wait for those before them; images beyond a limit wait in a temporary file."""

from __future__ import annotations

import tempfile
from typing import Any, Self

MEMORY_BYTES = 64 << 20  # of images that wait in memory

Row = dict[str, Any]


class WaitingRows:
    """Rows by position, with the bytes of their `image`; a context manager.

    Images beyond `memory` bytes are written to a file without a name, which is emptied whenever none waits in it.
    Raises OSError if that cannot be written or read.
    """

    def __init__(self, memory: int = MEMORY_BYTES) -> None:
        self._free = memory
        self._rows: dict[int, Row] = {}
        self._places: dict[int, tuple[int, int]] = {}  # offset and length of the images in the file
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed at the end

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __contains__(self, position: int) -> bool:
        return position in self._rows

    def put(self, position: int, row: Row) -> None:
        """Keep a row until it is taken."""
        length = len(row["image"] or b"")
        if length > self._free:
            self._places[position] = self._file.seek(0, 2), length
            self._file.write(row["image"])
            row = {**row, "image": None}
        else:
            self._free -= length
        self._rows[position] = row

    def take(self, position: int) -> Row:
        """Return the row of a position as it was put, and keep it no longer."""
        row = self._rows.pop(position)
        place = self._places.pop(position, None)
        if place is None:
            self._free += len(row["image"] or b"")
            return row
        self._file.seek(place[0])
        row["image"] = self._file.read(place[1])
        if not self._places:
            self._file.truncate(0)
        return row
