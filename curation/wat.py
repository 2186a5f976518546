"""Reading Common Crawl's WAT files: the images of each page with their texts, one record in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

from fastwarc.warc import ArchiveIterator, WarcRecordType

from curation.errors import InputError
from curation.gunzip import DamagedError, Gunzip
from curation.lenient import loads
from curation.occurrences import Occurrence
from curation.reading import Reading, name_of, occurrences_of
from curation.storage import first_line
from curation.urls import effective_base

SOURCES = ("alt", "title", "data-image-title")
IMAGE_PATH = "IMG@/src"
RECORD_END = b"\r\n\r\n"
MAX_RECORD = 64 << 20  # bytes; Common Crawl cuts pages off far below


def read_wat(stream: BinaryIO, reading: Reading) -> Iterator[Occurrence]:
    """Yield the usable occurrences of a WAT file, plain or gzip, in the file's order.

    Counts into `reading`. A record that is not JSON or no WAT envelope is noted (`broken_record`) and the next one
    read. Where the file is cut off or corrupt, reading ends with `reading.error` set and everything before the damage
    yielded. Raises InputError when the file cannot be read at all.
    """
    notes = reading.books.notes
    for body in _json_records(stream, reading):
        notes["records"] += 1
        try:
            document = loads(body, notes)
        except ValueError:
            notes["broken_record"] += 1
            continue
        envelope = _dig(document, "Envelope")
        if not envelope:
            notes["broken_record"] += 1
            continue
        yield from _page_occurrences(envelope, reading)


def _json_records(stream: BinaryIO, reading: Reading) -> Iterator[bytes]:
    """Yield the body of every metadata record.

    A body is given once the next record has begun, because only then has the checksum behind it been compared.
    """
    try:
        source = Gunzip(stream)
    except (OSError, InputError) as error:
        raise InputError(f"cannot read {reading.name}: {first_line(error)}") from error
    held: bytes | None = None
    start = end = 0
    try:
        for record in ArchiveIterator(source, record_types=WarcRecordType.metadata, parse_http=False):
            if held is not None:
                yield held
            held, start = None, record.stream_pos
            end = start + record.content_length
            if record.content_length > MAX_RECORD:
                reading.books.notes["oversized_record"] += 1
                continue
            body = record.reader.read()
            if len(body) < record.content_length:
                raise DamagedError("the last record is cut off")
            held = body
        if source.tell() < end or not (source.gzipped or source.tail in (b"", RECORD_END)):
            raise DamagedError("the last record is cut off")  # which only gzip's own checks tell otherwise
    except (OSError, InputError) as error:
        reading.error = first_line(error)
        if source.trusted <= start:
            held = None
    if held is not None:
        yield held


def _page_occurrences(envelope: dict[str, Any], reading: Reading) -> Iterator[Occurrence]:
    """Yield the usable occurrences of one page; a record of another kind has none."""
    html = _dig(envelope, "Payload-Metadata", "HTTP-Response-Metadata", "HTML-Metadata")
    links = html.get("Links")
    if not isinstance(links, list):
        return
    reading.books.notes["pages"] += 1
    images = [link for link in links if isinstance(link, dict) and link.get("path") == IMAGE_PATH]
    if not images:
        return
    page = name_of(_dig(envelope, "WARC-Header-Metadata").get("WARC-Target-URI"))
    base = effective_base(page or "", name_of(_dig(html, "Head").get("Base")))
    for image in images:
        texts = [(source, image[source]) for source in SOURCES if source in image]
        yield from occurrences_of(reading.books, texts, url=image.get("url"), base=base, page_url=page)


def _dig(value: Any, *keys: str) -> dict[str, Any]:
    """Return the object below a path of keys, an empty one where the path does not lead to an object."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}
