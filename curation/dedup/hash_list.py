"""Hash lists: Parquet files with the hashes of pictures that must not be in the shards, such as those of benchmarks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class HashSettings:
    """Everything except the picture that its perceptual hash and that of its embedding depend on.

    The first is that of the resized picture, so a border or a crop changes it. The metadata of a list has these values.

    Attributes:
        resize: the resize mode of `images`.
        max_side: its side, in pixels.
        model_sha256: the SHA-256 of the model of the embeddings; empty without one.
    """

    resize: str
    max_side: int
    model_sha256: str = ""

    def metadata(self) -> dict[bytes, bytes]:
        """Return the metadata of a list with these settings."""
        return {key.encode(): str(value).encode() for key, value in vars(self).items() if value != ""}


def write_hash_list(
    storage: Storage, path: str, rows: Sequence[Mapping[str, str | None]], settings: HashSettings
) -> None:
    """Write a list, sorted by name, with the settings of its hashes; equal rows and settings give equal bytes."""
    table = pa.Table.from_pylist(
        sorted(rows, key=lambda row: row["name"] or ""), schema=HASH_LIST.with_metadata(settings.metadata())
    )
    with storage.open_whole(path) as sink:
        pq.write_table(table, sink, compression="zstd", write_page_checksum=True)


def read_hash_list(storage: Storage, path: str) -> pa.Table:
    """Return the hashes of a list (schema `HASHES`). Raises InputError if the file is not a list or is damaged."""
    try:
        return hashes_of_list(_open(storage, path).read(HASH_LIST.names))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _refused(path, first_line(error)) from error


def check_hash_list(storage: Storage, path: str, settings: HashSettings | None = None) -> None:
    """Check the footer of a list. Raises InputError if a file is not a list, or has hashes of other settings.

    Without settings, only the SHA-256 of pictures is compared, which depends on none. A model of the list does not
    matter if the settings have none.
    """
    try:
        schema = _open(storage, path).schema_arrow
    except (pa.ArrowException, OSError) as error:
        raise _refused(path, first_line(error)) from error
    if lacking := [field.name for field in HASH_LIST if field not in list(schema)]:
        raise _refused(path, f"it has no text column {', '.join(lacking)}")
    recorded = schema.metadata or {}
    for key, value in settings.metadata().items() if settings else ():
        if recorded.get(key) != value:
            raise InputError(f"dedup.hash_lists: {path} {_difference(key, value, recorded.get(key))}")


def _difference(key: bytes, value: bytes, recorded: bytes | None) -> str:
    """Return how the hashes of a list were made, and what to do."""
    again = "make it again with this config (jobs.make_hash_list)"
    if key == b"model_sha256":
        return f"was not made with the model of dedup.model: {again}"
    made = recorded.decode() if recorded else "an unknown value"
    return f"was made with images.{key.decode()} {made}, not {value.decode()}, so its hashes differ: {again}"


def _open(storage: Storage, path: str) -> Any:
    return pq.ParquetFile(storage.open_input(path), page_checksum_verification=True)


def _refused(path: str, what: str) -> InputError:
    return InputError(f"dedup.hash_lists: {path} is not a hash list ({what}): make it with jobs.make_hash_list")
