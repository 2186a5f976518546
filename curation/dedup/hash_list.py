"""Hash lists: Parquet files with the hashes of pictures that must not be in the shards, such as those of benchmarks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from curation.dedup.picture_hashes import hashes_of_list
from curation.errors import InputError
from curation.io.failures import first_line
from curation.io.storage import Storage

HASH_LIST: Final = pa.schema(
    [
        ("name", pa.string()),  # of the picture, for explanations
        ("sha256", pa.string()),  # of the file's bytes
        ("phash", pa.string()),
        ("embedding", pa.string()),  # hash of the embedding; null without a model
    ]
)
MODEL: Final = b"model_sha256"  # key of the file's metadata


def write_hash_list(
    storage: Storage, path: str, rows: Sequence[Mapping[str, str | None]], model_sha256: str = ""
) -> None:
    """Write a list, sorted by name, and the SHA-256 of the model of its embeddings; equal rows give equal bytes."""
    schema = HASH_LIST.with_metadata({MODEL: model_sha256}) if model_sha256 else HASH_LIST
    table = pa.Table.from_pylist(sorted(rows, key=lambda row: row["name"] or ""), schema=schema)
    with storage.open_whole(path) as sink:
        pq.write_table(table, sink, compression="zstd", write_page_checksum=True)


def read_hash_list(storage: Storage, path: str) -> pa.Table:
    """Return the hashes of a list (schema `HASHES`). Raises InputError if the file is not a list or is damaged."""
    try:
        return hashes_of_list(_open(storage, path).read(HASH_LIST.names))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _refused(path, first_line(error)) from error


def check_hash_list(storage: Storage, path: str, model_sha256: str = "") -> None:
    """Raise InputError if a file is not a list, or not one of a model, if one is given; reads the footer alone."""
    try:
        schema = _open(storage, path).schema_arrow
    except (pa.ArrowException, OSError) as error:
        raise _refused(path, first_line(error)) from error
    if lacking := [field.name for field in HASH_LIST if field not in list(schema)]:
        raise _refused(path, f"it has no text column {', '.join(lacking)}")
    if model_sha256 and (schema.metadata or {}).get(MODEL, b"").decode() != model_sha256:
        raise InputError(
            f"dedup.hash_lists: {path} was not made with the model of dedup.model: make it again with this model "
            f"(jobs.make_hash_list)"
        )


def _open(storage: Storage, path: str) -> Any:
    return pq.ParquetFile(storage.open_input(path), page_checksum_verification=True)


def _refused(path: str, what: str) -> InputError:
    return InputError(f"dedup.hash_lists: {path} is not a hash list ({what}): make it with jobs.make_hash_list")
