"""The formats of exports: the names of their files, their columns and their writers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from curation.export.hugging_face import DatasetWriter
from curation.export.json_lines import JsonLinesWriter
from curation.export.part import HashingSink, PartWriter
from curation.export.webdataset import TarWriter
from curation.lake.schemas import SCHEMAS

LOCAL: Final = frozenset({"image_ref"})  # names files of the machines that made the lake


def exported_schema(*, images: bool) -> pa.Schema:
    """Return the columns of `shards` that are exported, with or without the images; not those that files may lack."""
    left_out = {*LOCAL, "scores"} if images else {*LOCAL, "scores", "image"}
    return pa.schema([field for field in SCHEMAS["shards"] if field.name not in left_out])


@dataclass(frozen=True)
class Format:
    """A format.

    Attributes:
        pattern: name of a file, with `index` and `count`.
        glob: the files, as the card names them.
        images: whether files contain the images.
        row_bytes: estimated bytes of a row in addition to its bytes in `shards` (with images) or in all.
        open_writer: returns a writer for a sink and the number of the file.
    """

    pattern: str
    glob: str
    images: bool
    row_bytes: int
    open_writer: Callable[[HashingSink, int], PartWriter]

    def file_name(self, index: int, count: int) -> str:
        """Return the name of file `index` of `count`, below the folder of the export."""
        return self.pattern.format(index=index, count=count)

    @property
    def schema(self) -> pa.Schema:
        """The columns that are read from `shards`."""
        return exported_schema(images=self.images)


def _open_dataset(sink: HashingSink, _: int) -> PartWriter:
    return DatasetWriter(sink, exported_schema(images=True))


FORMATS: Final[Mapping[str, Format]] = {
    # three headers of 512 bytes, as many half blocks of padding, and the columns, which are not compressed
    "webdataset": Format("{index:06d}.tar", "*.tar", images=True, row_bytes=3072, open_writer=TarWriter),
    "hf": Format(
        "data/train-{index:05d}-of-{count:05d}.parquet",
        "data/*.parquet",
        images=True,
        row_bytes=0,
        open_writer=_open_dataset,
    ),
    "jsonl": Format("{index:06d}.jsonl.gz", "*.jsonl.gz", images=False, row_bytes=256, open_writer=JsonLinesWriter),
}
