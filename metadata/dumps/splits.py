"""Splits of a large dump, so that several tasks read one file.

A split is a range of the file's bytes on disk; in a bzip2 file, it contains the blocks that start in the range. Every
page and line belongs to exactly one split:

    pages of XML    a page belongs to the split in which its `<page>` tag starts; all splits read the text before the
                    first page (the siteinfo) from the start of the file
    lines of JSON   a line belongs to the split that contains the newline before it; the first line of the file belongs
                    to the first split

gzip files and XML that is not UTF-8 cannot be split: the first split then yields the whole file, the others nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import BinaryIO, NamedTuple

from curation.errors import InputError
from metadata.dumps.bzip2_blocks import iter_blocks
from metadata.dumps.decompress import BLOCK, BZIP2, GZIP, read_blocks, read_lines, split_lines
from metadata.dumps.xml import MAX_TEXT, Page, PageReader, iter_pages

OPEN, CLOSE, LAST = b"<page>", b"</page>", b"</mediawiki>"
TAIL = 64  # bytes kept between pages: a tag truncated by the end of a block, or the last tag
HEAD = 1 << 20  # bytes in which the first page must start
ENCODING = re.compile(rb"""<\?xml[^>]*encoding=["']([^"']+)""")


class Split(NamedTuple):
    """A range of bytes of a file."""

    start: int
    end: int


def find_splits(path: str, size: int, split_bytes: int) -> list[Split]:
    """Return the splits of a file: equal ones of at most `split_bytes`, or one if the file cannot be split."""
    count = 1 if path.endswith(".gz") else max(1, -(-size // split_bytes))
    return [Split(size * index // count, size * (index + 1) // count) for index in range(count)]


def iter_split_pages(stream: BinaryIO, path: str, split: Split) -> Iterator[Page]:
    """Yield every page of a split of an open dump. Raises InputError at damage, after the pages before it."""
    magic = stream.read(len(BZIP2))
    stream.seek(0)
    head = _head(stream, path)
    if head is None or magic.startswith(GZIP):
        stream.seek(0)
        yield from iter_pages(stream, path) if split.start == 0 else ()
        return
    reader = PageReader(path)
    yield from reader.feed(head)
    data = iter_blocks(stream, split.start, path) if magic == BZIP2 else _plain(stream, split)
    for page in _select_pages(data, split.end, path):
        yield from reader.feed(page)
    yield from reader.feed(LAST, last=True)


def iter_split_lines(stream: BinaryIO, path: str, split: Split) -> Iterator[bytes]:
    """Yield every line of a split of an open file. Raises InputError at damage, after the lines before it."""
    magic = stream.read(len(BZIP2))
    stream.seek(0)
    if magic.startswith(GZIP):
        return read_lines(stream, path) if split.start == 0 else iter(())
    data = iter_blocks(stream, split.start, path) if magic == BZIP2 else _plain(stream, split)
    return split_lines(_select_lines(data, split), path)


def _select_lines(data: Iterable[tuple[int, bytes]], split: Split) -> Iterator[bytes]:
    """Yield the parts of blocks that hold a split's lines; `data` are blocks and their offsets on disk."""
    inside = split.start > 0  # in a line of an earlier split
    for offset, block in data:
        if offset >= split.end:
            if inside:
                return
            last, newline, _ = block.partition(b"\n")
            yield last
            if newline:
                return
        elif inside:
            _, newline, rest = block.partition(b"\n")
            if newline:
                inside = False
                yield rest
        else:
            yield block


def _head(stream: BinaryIO, path: str) -> bytes | None:
    """Return the text before the first page; None if no page starts in the first bytes or the text is not UTF-8."""
    head, first = b"", -1
    for block in read_blocks(stream, path):
        head += block
        if (first := head.find(OPEN)) >= 0 or len(head) > HEAD:
            break
    declared = ENCODING.match(head.removeprefix(b"\xef\xbb\xbf"))
    if first < 0 or (declared and declared[1].lower() not in (b"utf-8", b"utf8", b"us-ascii", b"ascii")):
        return None
    return head[:first]


def _plain(stream: BinaryIO, split: Split) -> Iterator[tuple[int, bytes]]:
    """Yield blocks and their offsets from the start of a split; no block crosses the end of the split."""
    at = split.start
    stream.seek(at)
    while data := stream.read(min(BLOCK, split.end - at) if at < split.end else BLOCK):
        yield at, data
        at += len(data)


def _select_pages(data: Iterable[tuple[int, bytes]], end: int, path: str) -> Iterator[bytes]:
    """Yield the pages that start before `end`; `data` are blocks and their offsets on disk."""
    buffer, limit = b"", 0  # pages that start before `limit` in the buffer belong to the split
    for offset, block in data:
        buffer += block
        if offset < end:
            limit = len(buffer)
        at = 0
        while 0 <= (opened := buffer.find(OPEN, at)) < limit and (closed := buffer.find(CLOSE, opened)) >= 0:
            at = closed + len(CLOSE)
            yield buffer[opened:at]
        is_open = 0 <= opened < limit
        if offset >= end and not is_open:
            return
        keep = opened if is_open else max(at, len(buffer) - TAIL)
        buffer, limit = buffer[keep:], limit - keep
        if len(buffer) > 4 * MAX_TEXT:
            raise InputError(f"{path} has a page of more than {4 * MAX_TEXT} bytes, or one without an end")
    is_complete = LAST in buffer or LAST.endswith(buffer.rstrip())  # the split may start inside the last tag
    if OPEN in buffer or not is_complete:
        raise InputError(f"{path} is not a complete XML export: it does not end with {LAST.decode()}")
