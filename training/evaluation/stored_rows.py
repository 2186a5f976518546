"""Read rows of images with labels or texts from Parquet files and WebDataset tars."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from glob import glob
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from curation.errors import InputError, UsageError
from curation.io.failures import named_failure
from curation.io.tar_members import read_member, tar_members
from training.evaluation.embed import StoredImage

PARQUET, TAR = ".parquet", ".tar"
ROWS_AT_ONCE = 256
IMAGES = frozenset({"jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "avif"})


class Columns(NamedTuple):
    """Names of columns, of Parquet files or of the JSON of a WebDataset sample."""

    image: str = "image"
    label: str = "label"
    text: str = "text"
    language: str = "lang"


class StoredRow(NamedTuple):
    """An image and the values of the columns that its row has."""

    image: StoredImage
    values: Mapping[str, Any]


def data_files(path: str) -> list[Path]:
    """Return the Parquet files or tars that a path, a folder or a glob names, sorted; none if it names other files.

    Raises InputError if it names both.
    """
    folder = Path(path)
    files = sorted(folder.iterdir()) if folder.is_dir() else sorted(map(Path, glob(path, recursive=True)))  # noqa: PTH207
    files = [file for file in files if file.suffix in (PARQUET, TAR) and file.is_file()]
    if len({file.suffix for file in files}) > 1:
        raise InputError(f"{path} has Parquet files and tars: name those of one kind by a glob")
    return files


def stored_rows(files: Sequence[Path], columns: Columns, needed: str) -> Iterator[StoredRow]:
    """Yield the rows of Parquet files or tars.

    Raises InputError if a file cannot be read, UsageError if Parquet files lack the column of images or the one that is
    needed: an attribute of `columns`.
    """
    for file in files:
        with named_failure("read", str(file)):
            yield from _parquet_rows(file, columns, needed) if file.suffix == PARQUET else _tar_rows(file, columns)


def _parquet_rows(path: Path, columns: Columns, needed: str) -> Iterator[StoredRow]:
    with pq.ParquetFile(path) as file:
        names = file.schema_arrow.names
        for role in ("image", needed):
            if (name := getattr(columns, role)) not in names:
                raise UsageError(f"{role}_column: {path} has no column {name!r}: choose one of {', '.join(names)}")
        number = 0
        for batch in file.iter_batches(ROWS_AT_ONCE, columns=[name for name in columns if name in names]):
            for row in batch.to_pylist():
                image = row.pop(columns.image)
                data = image.get("bytes") if isinstance(image, dict) else image  # `datasets` has both bytes and path
                if not isinstance(data, bytes):
                    raise InputError(f"{path} row {number}: no image bytes in the column {columns.image!r}")
                yield StoredRow(StoredImage(f"{path} row {number}", data), row)
                number += 1


def _tar_rows(path: Path, columns: Columns) -> Iterator[StoredRow]:
    """Yield samples: adjacent members with the same name up to its first dot.

    `.cls` holds the label, `.txt` the texts, one a line, and `.json` the columns. A sample without an image is skipped.
    """
    key, image, values = "", None, dict[str, Any]()
    with path.open("rb") as stream:
        for member in tar_members(stream):
            if not member.is_file:
                continue
            folder, slash, name = member.name.rpartition("/")
            stem, _, extension = name.partition(".")
            if key != (key := f"{folder}{slash}{stem}"):
                if image:
                    yield StoredRow(image, values)
                image, values = None, {}
            extension = extension.lower()
            if extension in IMAGES:
                image = StoredImage(f"{path}#{member.name}", read_member(stream, member))
            elif extension == "cls":
                values[columns.label] = _text(read_member(stream, member), path, member.name).strip()
            elif extension == "txt":
                values[columns.text] = _text(read_member(stream, member), path, member.name).splitlines()
            elif extension == "json":
                values = _json_object(read_member(stream, member), path, member.name) | values
    if image:
        yield StoredRow(image, values)


def _text(data: bytes, path: Path, member: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}#{member} is not UTF-8") from error


def _json_object(data: bytes, path: Path, member: str) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except ValueError as error:
        raise InputError(f"{path}#{member} is not JSON") from error
    return value if isinstance(value, dict) else {}
