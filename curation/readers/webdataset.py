"""Reads WebDataset tars: samples of an image with its text, as adjacent members with the same key.

`000/cat.jpg`, `000/cat.txt` and `000/cat.json` are one sample. Its key is the name up to the first dot. The text of
`.txt` has the source `txt`; `.json` is a table row with the columns named in the config. The image is not read; its
`image_ref` is `<archive>#<member>`.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, BinaryIO

from curation.errors import InputError
from curation.io.failures import first_line
from curation.occurrence import Occurrence
from curation.readers.file_report import FileReport
from curation.readers.lenient_json import decode_utf8, parse_json
from curation.readers.tabular import Columns, row_occurrences

IMAGES = frozenset({"jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "avif"})
TEXT = "txt"
REF = "image_ref"
MAX_MEMBER = 16 << 20  # bytes of a .txt or .json


def read_webdataset(stream: BinaryIO, report: FileReport, columns: Columns) -> Iterator[Occurrence]:
    """Yield the usable occurrences of an uncompressed tar; count into `report`.

    A `.json` that is not a JSON object is noted (`broken_record`) and skipped; the rest of its sample is used. If the
    file is truncated or corrupt, the samples before the damage are yielded and `report.error` is set. Raises InputError
    if the file is not a tar.
    """
    try:
        archive = tarfile.open(fileobj=stream, mode="r:")  # noqa: SIM115 - lives as long as the stream
    except (tarfile.TarError, OSError, InputError) as error:
        raise InputError(f"cannot read {report.name}: {first_line(error)}") from error
    columns = replace(columns, texts=[TEXT, *(name for name in columns.texts if name != TEXT)], ref=REF)
    sample: dict[str, Any] = {}
    previous: str | None = None
    try:
        for member in archive:
            key, _, extension = _split(member.name)
            if not member.isreg() or not extension:
                continue
            if key != previous and sample:
                yield from row_occurrences(sample, columns, report)
                sample = {}
            previous = key
            sample = {**sample, **_read_member(archive, member, extension.lower(), report)}
        if sample:
            yield from row_occurrences(sample, columns, report)
    except (tarfile.TarError, OSError, InputError) as error:
        report.error = first_line(error)


def _read_member(
    archive: tarfile.TarFile, member: tarfile.TarInfo, extension: str, report: FileReport
) -> dict[str, Any]:
    """Return the columns that a member adds to its sample's row."""
    if extension in IMAGES:
        return {REF: f"{report.name}#{member.name}"}
    if extension not in (TEXT, "json"):
        return {}
    if member.size > MAX_MEMBER:
        report.counters.notes["oversized_record"] += 1
        return {}
    file = archive.extractfile(member)
    data = file.read() if file else b""
    if len(data) < member.size:
        raise tarfile.ReadError("unexpected end of data")
    if extension == TEXT:
        return {TEXT: decode_utf8(data, report.counters.notes)}
    try:
        row = parse_json(data, report.counters.notes)
    except ValueError:
        row = None
    if not isinstance(row, dict):
        report.counters.notes["broken_record"] += 1
        return {}
    return {name: value for name, value in row.items() if name not in (REF, TEXT)}


def _split(name: str) -> tuple[str, str, str]:
    """Split a member's name into key and extension at the first dot of its last part."""
    folder, slash, base = name.rpartition("/")
    key, dot, extension = base.partition(".")
    return f"{folder}{slash}{key}", dot, extension
