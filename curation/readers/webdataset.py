"""Reading WebDataset tars: samples of a picture with its text, side by side under one key.

`000/cat.jpg`, `000/cat.txt` and `000/cat.json` are one sample, whose key is the name up to its first dot. The text of
`.txt` has the source `txt`; `.json` is a row as of a table, with the columns that the config names. The picture is not
read: its `image_ref`, `<archive>#<member>`, leads to it when it is wanted.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, BinaryIO

from curation.errors import InputError
from curation.io.storage import first_line
from curation.occurrence import Occurrence
from curation.readers.extract import FileReport
from curation.readers.lenient_json import decode, loads
from curation.readers.tabular import Columns, row_occurrences

PICTURES = frozenset({"jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "avif"})
TEXT = "txt"
REF = "image_ref"
MAX_MEMBER = 16 << 20  # bytes of a .txt or .json


def read_webdataset(stream: BinaryIO, reading: FileReport, columns: Columns) -> Iterator[Occurrence]:
    """Yield the usable occurrences of a tar, plain, not compressed; count into `reading`.

    A `.json` that is no JSON object is noted (`broken_record`) and the rest of its sample read. Where the file is cut
    off or corrupt, reading ends with `reading.error` set and the samples before the damage yielded. Raises InputError
    when the file is no tar.
    """
    try:
        archive = tarfile.open(fileobj=stream, mode="r:")  # noqa: SIM115 - lives as long as the stream
    except (tarfile.TarError, OSError, InputError) as error:
        raise InputError(f"cannot read {reading.name}: {first_line(error)}") from error
    columns = replace(columns, texts=[TEXT, *(name for name in columns.texts if name != TEXT)], ref=REF)
    sample: dict[str, Any] = {}
    before: str | None = None
    try:
        for member in archive:
            key, _, extension = _split(member.name)
            if not member.isreg() or not extension:
                continue
            if key != before and sample:
                yield from row_occurrences(sample, columns, reading)
                sample = {}
            before = key
            sample = {**sample, **_part(archive, member, extension.lower(), reading)}
        if sample:
            yield from row_occurrences(sample, columns, reading)
    except (tarfile.TarError, OSError, InputError) as error:
        reading.error = first_line(error)


def _part(archive: tarfile.TarFile, member: tarfile.TarInfo, extension: str, reading: FileReport) -> dict[str, Any]:
    """Return what a member says of its sample."""
    if extension in PICTURES:
        return {REF: f"{reading.name}#{member.name}"}
    if extension not in (TEXT, "json"):
        return {}
    if member.size > MAX_MEMBER:
        reading.counters.notes["oversized_record"] += 1
        return {}
    file = archive.extractfile(member)
    data = file.read() if file else b""
    if len(data) < member.size:
        raise tarfile.ReadError("unexpected end of data")
    if extension == TEXT:
        return {TEXT: decode(data, reading.counters.notes)}
    try:
        row = loads(data, reading.counters.notes)
    except ValueError:
        row = None
    if not isinstance(row, dict):
        reading.counters.notes["broken_record"] += 1
        return {}
    return {name: value for name, value in row.items() if name not in (REF, TEXT)}


def _split(name: str) -> tuple[str, str, str]:
    """Split a member's name into key and extension at the first dot of its last part."""
    folder, slash, base = name.rpartition("/")
    key, dot, extension = base.partition(".")
    return f"{folder}{slash}{key}", dot, extension
