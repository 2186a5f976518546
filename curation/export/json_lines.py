"""Writes gzip-compressed JSON Lines: one pair per line, with the URL of its image but without its bytes."""

from __future__ import annotations

from typing import Any, Final

import orjson
import pyarrow as pa
from isal.igzip import IGzipFile

from curation.export.part import HashingSink

LEVEL: Final = 2


class JsonLinesWriter:
    """Writes the rows of one file; `sink` is where to write."""

    def __init__(self, sink: HashingSink, _: int) -> None:
        open_gzip: Any = IGzipFile  # not annotated there
        self._gzip = open_gzip(filename="", mode="wb", compresslevel=LEVEL, fileobj=sink, mtime=0)

    def write(self, rows: pa.Table) -> None:
        """Append one line per row."""
        self._gzip.write(b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows.to_pylist()))

    def close(self) -> None:
        """Write what is compressed so far, and the checksum."""
        self._gzip.close()
