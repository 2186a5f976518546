"""Opens Parquet files of any writer: whole files only, with columns of plain types."""

from __future__ import annotations

import io
from typing import BinaryIO, Final

import pyarrow as pa
import pyarrow.parquet as pq

from curation.errors import InputError
from curation.io.failures import first_line

MAGIC: Final = b"PAR1"
FOOTER_END: Final = 8  # bytes of the footer's length and of the magic number
PIECE: Final = 1 << 20
# The Arrow types that the writer had. Without them, texts are strings or lists of strings, whose bytes pyarrow does not
# check. With them it checks those of some dictionaries, and one invalid byte fails the row group.
ARROW_SCHEMA: Final = b"ARROW:schema"
IGNORED: Final = b"-----:schema"


def open_parquet(stream: BinaryIO, name: str) -> pq.ParquetFile:
    """Open a Parquet file. Raises InputError unless it starts and ends as one."""
    try:
        stream.seek(0)
        if stream.read(len(MAGIC)) != MAGIC:
            raise InputError("it does not start as a Parquet file does")
        metadata = pq.read_metadata(stream)
        metadata = _without_arrow_types(stream, metadata)
        file = pq.ParquetFile(stream, metadata=metadata, page_checksum_verification=True)
        file.schema_arrow.names  # noqa: B018 - decodes them
    except (OSError, pa.ArrowException, UnicodeDecodeError, InputError) as error:
        raise InputError(f"cannot read {name}: {first_line(error)}") from error
    return file


def check_single(stream: BinaryIO, metadata: pq.FileMetaData, name: str) -> None:
    """Raise InputError if another Parquet file comes before the one that the footer describes.

    The offsets in the footer then lead into that file. Between the data and the footer are only indexes and filters. A
    damaged footer may crash the process here, as it may when pages are read: only tasks call this.
    """
    chunks = (
        metadata.row_group(group).column(column)
        for group in range(metadata.num_row_groups)
        for column in range(metadata.num_columns)
    )
    data_end = max((_start(chunk) + chunk.total_compressed_size for chunk in chunks), default=len(MAGIC))
    gap = stream.seek(-FOOTER_END - metadata.serialized_size, io.SEEK_END) - data_end
    if gap <= 0:
        return
    stream.seek(data_end)
    tail = b""
    while gap > 0 and (piece := stream.read(min(PIECE, gap))):
        gap -= len(piece)
        if MAGIC + MAGIC in tail + piece:
            raise InputError(f"cannot read {name}: it is several Parquet files in one: split it")
        tail = piece[-len(MAGIC) * 2 :]


def _start(chunk: pq.ColumnChunkMetaData) -> int:
    return int(chunk.dictionary_page_offset or chunk.data_page_offset)


def _without_arrow_types(stream: BinaryIO, metadata: pq.FileMetaData) -> pq.FileMetaData:
    """Return the metadata as of a writer that knows only Parquet's own types."""
    if ARROW_SCHEMA not in (metadata.metadata or {}):
        return metadata
    stream.seek(-FOOTER_END - metadata.serialized_size, io.SEEK_END)
    return pq.read_metadata(io.BytesIO(MAGIC + stream.read().replace(ARROW_SCHEMA, IGNORED)))
