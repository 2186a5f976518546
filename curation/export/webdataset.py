"""Writes WebDataset tars: every sample is an image, its text (`.txt`) and the other columns (`.json`).

The key of a sample is the number of its tar and its number in the tar, so keys are unique in an export. Headers have no
times, owners or other traces of the machine.
"""

from __future__ import annotations

import tarfile
from typing import Any, Final

import orjson
import pyarrow as pa

from curation.export.image_names import image_extension
from curation.export.part import HashingSink

END: Final = bytes(2 * tarfile.BLOCKSIZE)


class TarWriter:
    """Writes the rows of one tar.

    Args:
        sink: where to write.
        index: number of the tar, the first part of its keys.
    """

    def __init__(self, sink: HashingSink, index: int) -> None:
        self._sink, self._index, self._rows = sink, index, 0

    def write(self, rows: pa.Table) -> None:
        """Append one sample per row."""
        for row in rows.to_pylist():
            key = f"{self._index:06d}_{self._rows:06d}"
            image = row.pop("image")
            self._add(f"{key}.{image_extension(image)}", image)
            self._add(f"{key}.txt", row["text"].encode())
            self._add(f"{key}.json", orjson.dumps({"key": key, **row}))
            self._rows += 1

    def close(self) -> None:
        """Write the end marker."""
        self._sink.write(END)

    def _add(self, name: str, data: Any) -> None:
        header = tarfile.TarInfo(name)
        header.size, header.mode = len(data), 0o444
        self._sink.write(header.tobuf(tarfile.USTAR_FORMAT))
        self._sink.write(data)
        self._sink.write(bytes(-len(data) % tarfile.BLOCKSIZE))
