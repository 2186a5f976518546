"""The hashes of pictures, as deduplication compares them: SHA-256 of the received bytes and perceptual hash."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curation.dedup.across_batches import fixed_width
from curation.dedup.hash_search import Hashes

Embed: TypeAlias = Callable[[Sequence[bytes]], Sequence[int | None]]  # None for images that cannot be decoded
SHA256_BYTES = 32
HASHES = pa.schema(
    [
        ("name", pa.string()),  # the image_id, or the name in a list
        ("pixels", pa.int64()),
        ("sha256", pa.binary(SHA256_BYTES)),
        ("phash", pa.uint64()),
        ("embedding", pa.uint64()),  # hash of an embedding; null without one
        ("bucket", pa.int32()),  # as in `images`; 0 in a list
    ]
)
IMAGES_COLUMNS = ["bucket", "image_id", "status", "width", "height", "image_sha256", "phash", "original_sha256"]


def hashes_of_images(images: pa.RecordBatch, embed: Embed | None = None) -> pa.Table:
    """Return the hashes (schema `HASHES`) of the fetched pictures among rows of the table `images`.

    Rows that an earlier release wrote without `original_sha256` have the SHA-256 of the stored bytes. `embed` adds the
    hashes of the embeddings of the stored images.
    """
    fetched = images.filter(pc.equal(images["status"], "ok"))
    sha256 = fetched["image_sha256"]
    if "original_sha256" in fetched.schema.names:
        sha256 = pc.coalesce(fetched["original_sha256"], sha256)
    pixels = pc.multiply(fetched["width"].cast(pa.int64()), fetched["height"].cast(pa.int64()))
    embeddings = embed(fetched["image"].to_pylist()) if embed else [None] * len(fetched)
    return _table(
        fetched["image_id"], pixels, sha256, fetched["phash"], pa.array(embeddings, pa.uint64()), fetched["bucket"]
    )


def hashes_of_list(listed: pa.Table) -> pa.Table:
    """Return the hashes (schema `HASHES`) of the pictures of a hash list. Raises ValueError for a bad digest."""
    for column, digits in (("sha256", 2 * SHA256_BYTES), ("phash", 16), ("embedding", 16)):
        is_hex = pc.match_substring_regex(listed[column], f"^[0-9a-f]{{{digits}}}$")
        if not pc.all(is_hex.fill_null(column == "embedding"), min_count=0).as_py():
            raise ValueError(f"column {column} must consist of {digits} hexadecimal digits")
    words = _words(listed["embedding"].fill_null("0" * 16))
    embeddings = pa.array(words, mask=listed["embedding"].is_null().to_numpy().astype(bool))
    zeros = np.zeros(len(listed), np.int64)
    pixels, buckets = pa.array(zeros), pa.array(zeros, pa.int32())
    return _table(listed["name"], pixels, listed["sha256"], listed["phash"], embeddings, buckets)


def perceptual_hashes(pictures: pa.Table) -> Hashes:
    """Return the perceptual hashes of pictures."""
    return np.asarray(pictures["phash"].to_numpy(), np.uint64)


def embedding_hashes(pictures: pa.Table) -> tuple[npt.NDArray[np.int64], Hashes]:
    """Return the rows of the pictures that have hashes of embeddings, and the hashes."""
    column = pictures["embedding"]
    rows = np.flatnonzero(column.is_valid().to_numpy().astype(bool))
    return rows, np.asarray(column.drop_null().to_numpy(), np.uint64)


def sha256_words(pictures: pa.Table) -> npt.NDArray[np.uint64]:
    """Return the SHA-256 of pictures as four words each."""
    column = pictures["sha256"].combine_chunks()
    if not len(column):
        return np.empty((0, 4), np.uint64)
    return np.frombuffer(column.buffers()[1], np.uint64, 4 * len(column), SHA256_BYTES * column.offset).reshape(-1, 4)


def parse_hex(digits: npt.NDArray[np.bytes_]) -> npt.NDArray[np.uint8]:
    """Return the bytes that texts of lower-case hexadecimal digits represent, one row per text."""
    raw = np.ascontiguousarray(digits).view(np.uint8).reshape(len(digits), digits.dtype.itemsize)
    values = np.where(raw >= ord("a"), raw - (ord("a") - 10), raw - ord("0")).astype(np.uint8)
    return np.asarray(values[:, ::2] << 4 | values[:, 1::2], np.uint8)


def _table(
    names: pa.ChunkedArray | pa.Array,
    pixels: pa.Array,
    sha256: pa.ChunkedArray | pa.Array,
    phash: pa.ChunkedArray | pa.Array,
    embeddings: pa.Array,
    buckets: pa.Array,
) -> pa.Table:
    digests = parse_hex(fixed_width(sha256, 2 * SHA256_BYTES)).tobytes()
    binary = pa.FixedSizeBinaryArray.from_buffers(pa.binary(SHA256_BYTES), len(names), [None, pa.py_buffer(digests)])
    return pa.Table.from_arrays([names, pixels, binary, pa.array(_words(phash)), embeddings, buckets], schema=HASHES)


def _words(digits: pa.ChunkedArray | pa.Array) -> Hashes:
    """Return the 64-bit hashes that texts of 16 hexadecimal digits represent."""
    return np.ascontiguousarray(parse_hex(fixed_width(digits, 16))).view(">u8").ravel().astype(np.uint64)
