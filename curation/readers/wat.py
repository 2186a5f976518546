"""Reads Common Crawl WAT files: the images of each page with their texts, one record in memory at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import chain
from typing import Any, BinaryIO

from fastwarc.warc import ArchiveIterator, WarcRecordType

from curation.errors import InputError
from curation.io.failures import first_line
from curation.io.gzip_stream import DamagedError, GzipStream
from curation.occurrence import Counters, Occurrence
from curation.readers import robots
from curation.readers.extract import ImageUrls, RawValue, clean_reference, note_images, occurrences_of
from curation.readers.file_report import FileReport
from curation.readers.html_attributes import unescape
from curation.readers.wat_record import Link, Response, decode_envelope, images_of
from curation.urls import effective_base

RECORD_END = b"\r\n\r\n"
KNOWN_TYPES = WarcRecordType.any_type ^ WarcRecordType.unknown
MAX_RECORD = 64 << 20  # bytes; Common Crawl truncates pages far below this


def read_wat(stream: BinaryIO, report: FileReport, honored: Collection[str] = robots.DEFAULT) -> Iterator[Occurrence]:
    """Yield the usable occurrences of a WAT file, plain or gzip, in the file's order.

    Counts into `report`. If a page gives one of the directives in `honored` (of `robots.DIRECTIVES`), its texts are
    dropped under the name of that directive; pages with a directive are noted in any case (`page_noindex` …). A record
    that is not JSON or not a WAT envelope is noted (`broken_record`) and skipped. If the file is truncated or corrupt,
    everything before the damage is yielded and `report.error` is set. Raises InputError if the file cannot be read at
    all.
    """
    return chain.from_iterable(_pages(stream, report, honored))  # faster than `yield from`


def read_records(stream: BinaryIO, report: FileReport) -> Iterator[bytes]:
    """Yield the body of every metadata record; note records whose type is missing or unknown as broken.

    A body is yielded when the next record starts, because only then has the checksum after it been verified.
    """
    try:
        source = GzipStream(stream)
    except (OSError, InputError) as error:
        raise InputError(f"cannot read {report.name}: {first_line(error)}") from error
    pending: bytes | None = None
    start = end = 0
    try:
        for record in ArchiveIterator(source, record_types=WarcRecordType.any_type, parse_http=False):
            if pending is not None:
                yield pending
            pending, start = None, record.stream_pos
            end = start + record.content_length
            if record.record_type != WarcRecordType.metadata:
                if not record.record_type & KNOWN_TYPES:
                    report.counters.notes.update({"records": 1, "broken_record": 1})
                continue
            if record.content_length > MAX_RECORD:
                report.counters.notes["oversized_record"] += 1
                continue
            body = record.reader.read()
            if len(body) < record.content_length:
                raise DamagedError("the last record is cut off")
            pending = body
        if source.tell() < end or not (source.gzipped or source.tail in (b"", RECORD_END)):
            raise DamagedError("the last record is cut off")  # for gzip, its own checks detect this
    except (OSError, InputError) as error:
        report.error = first_line(error)
        if source.trusted <= start:
            pending = None
    if pending is not None:
        yield pending


def _pages(stream: BinaryIO, report: FileReport, honored: Collection[str]) -> Iterator[list[Occurrence]]:
    """Yield the usable occurrences of each page."""
    notes = report.counters.notes
    for body in read_records(stream, report):
        notes["records"] += 1
        envelope = decode_envelope(body, notes)
        if envelope is None:
            notes["broken_record"] += 1
            continue
        response = envelope.payload.response if envelope.payload else None
        if response and response.html and response.html.links is not None:
            uri = envelope.header.uri if envelope.header else None
            yield _page_occurrences(clean_reference(uri), response, response.html.links, honored, report)


def _page_occurrences(
    page: str | None, response: Response[Any], links: list[Any], honored: Collection[str], report: FileReport
) -> list[Occurrence]:
    """Return the usable occurrences of one page."""
    counters = report.counters
    counters.notes["pages"] += 1
    head = response.html.head if response.html else None
    given = robots.directives(head.metas if head else None, response.headers)
    refused = _refusal(given, honored, counters) if given else None
    urls = _image_urls(page, clean_reference(head.base) if head else None)
    images = images_of(links, urls)
    if not images:
        return []
    values, without_text = _raw_values(images)
    note_images(counters, len(images), without_text)
    return occurrences_of(counters, values, urls, page_url=page, refused=refused)


def _image_urls(page: str | None, base_href: str | None) -> ImageUrls:
    """Return the resolver of a page's image URLs."""
    own = effective_base(page or "", None)
    return ImageUrls(effective_base(own or "", unescape(base_href)) if base_href else own, own)


def _refusal(given: Collection[str], honored: Collection[str], counters: Counters) -> str | None:
    """Note the directives that a page gives; return the first honored one, under which its texts are dropped."""
    for directive in given:
        counters.notes[f"page_{directive}"] += 1
    return next((directive for directive in robots.DIRECTIVES if directive in given and directive in honored), None)


def _raw_values(images: list[Link]) -> tuple[list[RawValue], int]:
    """Return the values of the text attributes of a page's images, and the number of images that have none."""
    values: list[RawValue] = []
    without_text = 0
    for image in images:
        alt, title, data_title = image.alt, image.title, image.data_image_title
        if alt is not None:
            values.append((image.url, "alt", alt))
        elif title is None and data_title is None:
            without_text += 1
        if title is not None:
            values.append((image.url, "title", title))
        if data_title is not None:
            values.append((image.url, "data-image-title", data_title))
    return values, without_text
