"""The task that writes one file of an export."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import pyarrow as pa

from curation.export.folder import ExportFolder
from curation.export.formats import FORMATS
from curation.export.part import HashingSink, Part
from curation.io.paths import join
from curation.io.storage import Storage
from curation.lake.parquet_read import read_row_groups
from curation.lake.tombstones import Tombstones
from jobs.tasks.images.splits import Slice

ROWS_AT_ONCE: Final = 256


@dataclass(frozen=True)
class PartRows:
    """The rows of one file of the export: its number, its name and the slices of `shards`."""

    index: int
    name: str
    slices: Sequence[Slice]


@dataclass(frozen=True)
class WritePart:
    """Writes one file in a format, without rows that a tombstone hides, and then its receipt."""

    storage: Storage
    root: str
    format: str
    tombstones: Tombstones

    def __call__(self, _: int, rows: PartRows) -> Part:
        """Return what was written."""
        kind, languages, read = FORMATS[self.format], Counter[str](), 0
        path = join(self.root, rows.name)
        with self.storage.open_whole(path) as file:
            sink = HashingSink(file)
            writer = kind.open_writer(sink, rows.index)
            for table in self._tables(rows.slices, kind.schema):
                read += table.num_rows
                visible = table.filter(self.tombstones.keep_mask(table))
                if visible.num_rows:
                    writer.write(visible)
                    languages.update(visible["lang"].to_pylist())
            writer.close()
        self.storage.sync(path)
        written = languages.total()
        by_lang = dict(sorted(languages.items()))
        part = Part(rows.name, written, read - written, sink.size, sink.sha256, by_lang)
        receipt = ExportFolder(self.storage, self.root).receipt(rows.name)
        self.storage.write_bytes(receipt, msgspec.json.encode(part))
        return part

    def _tables(self, slices: Sequence[Slice], schema: pa.Schema) -> Iterator[pa.Table]:
        for each in slices:
            for group in read_row_groups(self.storage, each.path, each.start, each.stop, schema.names):
                table = group.cast(schema)
                yield from (table.slice(start, ROWS_AT_ONCE) for start in range(0, table.num_rows, ROWS_AT_ONCE))
