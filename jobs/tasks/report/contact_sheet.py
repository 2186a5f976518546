"""Collects the contact sheet of a batch: thumbnails of some pictures of its shards."""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Iterator
from typing import Any, Final

import pyarrow as pa
from PIL import Image

from curation.images.codec.encode import encoded
from curation.images.decode import ImageLimits, verify
from curation.images.failures import DecodeError
from curation.images.precheck import readable_formats
from curation.lake.files import Snapshot
from curation.lake.lake import Lake
from curation.lake.parquet_read import read_batches
from curation.lake.tombstones import Tombstones
from curation.report.contact_sheet import SheetPicture, spread_by_language

ROWS: Final = 512  # from which the pictures are chosen
PICTURES: Final = 36
QUALITY: Final = 70  # of thumbnails; a photo has about 3 KB, and noise 8 KB
SMALL: Final = ImageLimits(max_side=112, formats=readable_formats())
COLUMNS: Final = ["image_id", "image_url", "image", "width", "height", "text", "lang"]


def collect_sheet(lake: Lake, shards: Snapshot) -> tuple[int, list[SheetPicture]]:
    """Return the number of rows from which pictures were chosen, and the pictures.

    Images with a tombstone are left out, as are pictures that do not decode.
    """
    rows = _first_rows(lake, shards)
    langs = rows["lang"].to_pylist()
    shown = rows.take(pa.array(spread_by_language(langs, PICTURES), pa.int64())).to_pylist()
    return rows.num_rows, [picture for row in shown if (picture := _picture(row))]


def _first_rows(lake: Lake, shards: Snapshot) -> pa.Table:
    """Return the first rows of the shards that may be shown."""
    tombstones, parts, left = Tombstones.read(lake), [], ROWS
    for batch in _batches(lake, shards):
        table = pa.Table.from_batches([batch])
        parts.append(table.filter(tombstones.keep_mask(table)).slice(0, left))
        left -= parts[-1].num_rows
        if not left:
            break
    return pa.concat_tables(parts) if parts else pa.table({name: [] for name in COLUMNS})


def _batches(lake: Lake, shards: Snapshot) -> Iterator[pa.RecordBatch]:
    for file in shards.files:
        yield from read_batches(lake.storage, file.path, COLUMNS, ROWS)


def thumbnail(image: bytes) -> str | None:
    """Return a small JPEG of a stored picture as a `data:` URI; None if it does not decode."""
    try:
        reduced = verify(image, SMALL).image
    except (DecodeError, MemoryError):
        return None
    small = encoded(Image.open(io.BytesIO(reduced)).convert("RGB"), "jpeg", QUALITY)
    return f"data:image/jpeg;base64,{b64encode(small).decode()}"


def _picture(row: dict[str, Any]) -> SheetPicture | None:
    source = thumbnail(row["image"])
    return (
        SheetPicture(row["image_id"], source, row["width"], row["height"], row["text"], row["lang"]) if source else None
    )
