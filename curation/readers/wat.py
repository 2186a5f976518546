"""Reading Common Crawl's WAT files: the images of each page with their texts, one record in memory at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import chain
from typing import Any, BinaryIO

from fastwarc.warc import ArchiveIterator, WarcRecordType

from curation.errors import InputError
from curation.io.gzip_stream import DamagedError, Gunzip
from curation.io.storage import first_line
from curation.occurrence import Occurrence
from curation.readers import robots
from curation.readers.extract import Cell, FileReport, name_of, note_images, occurrences_of
from curation.readers.wat_record import Response, decode, images_of
from curation.urls import effective_base

RECORD_END = b"\r\n\r\n"
MAX_RECORD = 64 << 20  # bytes; Common Crawl cuts pages off far below


def read_wat(stream: BinaryIO, reading: FileReport, honour: Collection[str] = robots.DEFAULT) -> Iterator[Occurrence]:
    """Yield the usable occurrences of a WAT file, plain or gzip, in the file's order.

    Counts into `reading`. The texts of a page with one of the directives in `honour` (of `robots.DIRECTIVES`) are
    dropped under its name; pages with a directive are noted either way (`page_noindex` …). A record that is not JSON or
    no WAT envelope is noted (`broken_record`) and the next one read. Where the file is cut off or corrupt, reading ends
    with `reading.error` set and everything before the damage yielded. Raises InputError when the file cannot be read
    at all.
    """
    return chain.from_iterable(_pages(stream, reading, honour))  # faster than `yield from`


def read_records(stream: BinaryIO, reading: FileReport) -> Iterator[bytes]:
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
                reading.counters.notes["oversized_record"] += 1
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


def _pages(stream: BinaryIO, reading: FileReport, honour: Collection[str]) -> Iterator[list[Occurrence]]:
    """Yield the usable occurrences of each page."""
    notes = reading.counters.notes
    for body in read_records(stream, reading):
        notes["records"] += 1
        envelope = decode(body, notes)
        if envelope is None:
            notes["broken_record"] += 1
            continue
        response = envelope.payload.response if envelope.payload else None
        if response and response.html and response.html.links is not None:
            uri = envelope.header.uri if envelope.header else None
            yield _page_occurrences(name_of(uri), response, response.html.links, honour, reading)


def _page_occurrences(
    page: str | None, response: Response[Any], links: list[Any], honour: Collection[str], reading: FileReport
) -> list[Occurrence]:
    """Return the usable occurrences of one page."""
    counters = reading.counters
    counters.notes["pages"] += 1
    head = response.html.head if response.html else None
    refused = None
    if said := robots.directives(head.metas if head else None, response.headers):
        for directive in said:
            counters.notes[f"page_{directive}"] += 1
        refused = next((each for each in robots.DIRECTIVES if each in said and each in honour), None)
    images = images_of(links)
    if not images:
        return []
    base = effective_base(page or "", name_of(head.base) if head else None)
    cells: list[Cell] = []
    without_text = 0
    for link in images:
        alt, title, data_title = link.alt, link.title, link.data_image_title
        if alt is not None:
            cells.append((link.url, "alt", alt))
        elif title is None and data_title is None:
            without_text += 1
        if title is not None:
            cells.append((link.url, "title", title))
        if data_title is not None:
            cells.append((link.url, "data-image-title", data_title))
    note_images(counters, len(images), without_text)
    return occurrences_of(counters, cells, base=base, page_url=page, refused=refused)
