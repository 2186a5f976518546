"""Opens Parquet files of any writer: whole files only, with columns of plain types."""

from __future__ import annotations

import io
from typing import BinaryIO, Final

import pyarrow as pa
import pyarrow.parquet as pq

from curation.errors import InputError
from curation.io.failures import first_line
from curation.readers.parquet_footer import data_end

MAGIC: Final = b"PAR1"
FOOTER_END: Final = 8  # bytes of the footer's length and of the magic number
PIECE: Final = 1 << 20
# The Arrow types that the writer had. Without them, texts are strings or lists of strings, whose bytes pyarrow does not
# check. With them it checks those of some dictionaries, and one invalid byte fails the row group.
ARROW_SCHEMA: Final = b"ARROW:schema"
IGNORED: Final = b"-----:schema"


def open_parquet(stream: BinaryIO, name: str) -> pq.ParquetFile:
    """Open a Parquet file. Raises InputError unless it is one complete file."""
    try:
        stream.seek(0)
        if stream.read(len(MAGIC)) != MAGIC:
            raise InputError("it does not start as a Parquet file does")
        metadata = pq.read_metadata(stream)
        footer_start = stream.seek(-FOOTER_END - metadata.serialized_size, io.SEEK_END)
        footer = stream.read()
        _check_single(stream, data_end(footer), footer_start)
        # the copy of the footer is read as if the writer knew only Parquet's own types
        metadata = pq.read_metadata(io.BytesIO(MAGIC + footer.replace(ARROW_SCHEMA, IGNORED)))
        file = pq.ParquetFile(stream, metadata=metadata, page_checksum_verification=True)
        file.schema_arrow.names  # noqa: B018 - decodes them
    except (OSError, pa.ArrowException, UnicodeDecodeError, InputError) as error:
        raise InputError(f"cannot read {name}: {first_line(error)}") from error
    return file


def _check_single(stream: BinaryIO, end: int | None, footer_start: int) -> None:
    """Raise InputError if another Parquet file comes before the one that the footer describes.

    The offsets in the footer then lead into that file. Between the end of the data and the footer are only indexes and
    filters.
    """
    if end is None or end >= footer_start:
        return
    stream.seek(end)
    tail, gap = b"", footer_start - end
    while gap > 0 and (piece := stream.read(min(PIECE, gap))):
        gap -= len(piece)
        if MAGIC + MAGIC in tail + piece:
            raise InputError("it is several Parquet files in one: split it")
        tail = piece[-len(MAGIC) * 2 :]
