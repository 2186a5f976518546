"""What belongs to one piece of a large dump, so that several tasks read one file.

A piece is a range of the file's bytes as they lie on disk; of a bzip2 file it has the blocks that begin in it. Whatever
the pieces, everything is in one of them:

    pages of XML    the piece owns those whose `<page>` tag begins in it; what stands before the first page (the
                    siteinfo) is read from the file's start by all
    lines of JSON   the piece owns those before which a newline lies in it, the first one also the first line

gzip cannot be cut, nor XML that is not UTF-8: the first piece is the whole then, and the others are empty.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import BinaryIO, NamedTuple

from curation.errors import InputError
from metadata.dumps.bzip2_blocks import blocks_from
from metadata.dumps.decompress import BLOCK, BZIP2, GZIP, blocks, lines, lines_of
from metadata.dumps.xml import MAX_TEXT, Page, PageReader, iter_pages

OPEN, CLOSE, LAST = b"<page>", b"</page>", b"</mediawiki>"
TAIL = 64  # bytes that are kept between pages: a tag that a block's end cuts, or the last tag
HEAD = 1 << 20  # bytes in which the first page must begin
ENCODING = re.compile(rb"""<\?xml[^>]*encoding=["']([^"']+)""")


class Piece(NamedTuple):
    """A range of bytes of a file."""

    start: int
    end: int


def pieces_of(path: str, size: int, piece_bytes: int) -> list[Piece]:
    """Return the pieces a file is cut into: equal ones of at most `piece_bytes`; one for what cannot be cut."""
    count = 1 if path.endswith(".gz") else max(1, -(-size // piece_bytes))
    return [Piece(size * place // count, size * (place + 1) // count) for place in range(count)]


def pages_of_piece(stream: BinaryIO, path: str, piece: Piece) -> Iterator[Page]:
    """Yield every page of a piece of an open dump. Raises InputError after the pages before a damage."""
    magic = stream.read(len(BZIP2))
    stream.seek(0)
    head = _head(stream, path)
    if head is None or magic.startswith(GZIP):
        stream.seek(0)
        yield from iter_pages(stream, path) if piece.start == 0 else ()
        return
    reader = PageReader(path)
    yield from reader.feed(head)
    data = blocks_from(stream, piece.start, path) if magic == BZIP2 else _plain(stream, piece)
    for page in _own_pages(data, piece.end, path):
        yield from reader.feed(page)
    yield from reader.feed(LAST, last=True)


def lines_of_piece(stream: BinaryIO, path: str, piece: Piece) -> Iterator[bytes]:
    """Yield every line of a piece of an open file. Raises InputError after the lines before a damage."""
    magic = stream.read(len(BZIP2))
    stream.seek(0)
    if magic.startswith(GZIP):
        return lines(stream, path) if piece.start == 0 else iter(())
    data = blocks_from(stream, piece.start, path) if magic == BZIP2 else _plain(stream, piece)
    return lines_of(_own_lines(data, piece), path)


def _own_lines(data: Iterable[tuple[int, bytes]], piece: Piece) -> Iterator[bytes]:
    """Yield what of blocks are a piece's lines, from the blocks and the places on disk where these begin."""
    inside = piece.start > 0  # a line that an earlier piece owns
    for place, block in data:
        if place >= piece.end:
            if inside:
                return
            last, newline, _ = block.partition(b"\n")
            yield last
            if newline:
                return
        elif inside:
            _, newline, own = block.partition(b"\n")
            if newline:
                inside = False
                yield own
        else:
            yield block


def _head(stream: BinaryIO, path: str) -> bytes | None:
    """Return what stands before the first page; None when there is none near the start, or the text is not UTF-8."""
    head, first = b"", -1
    for block in blocks(stream, path):
        head += block
        if (first := head.find(OPEN)) >= 0 or len(head) > HEAD:
            break
    declared = ENCODING.match(head.removeprefix(b"\xef\xbb\xbf"))
    if first < 0 or (declared and declared[1].lower() not in (b"utf-8", b"utf8", b"us-ascii", b"ascii")):
        return None
    return head[:first]


def _plain(stream: BinaryIO, piece: Piece) -> Iterator[tuple[int, bytes]]:
    """Yield blocks from a piece's start on, none of which lies across its end."""
    at = piece.start
    stream.seek(at)
    while data := stream.read(min(BLOCK, piece.end - at) if at < piece.end else BLOCK):
        yield at, data
        at += len(data)


def _own_pages(data: Iterable[tuple[int, bytes]], end: int, path: str) -> Iterator[bytes]:
    """Yield the pages that begin before `end`, from blocks and the places on disk where these begin."""
    buffer, own = b"", 0  # of the buffer's bytes, so many are the piece's
    for place, block in data:
        buffer += block
        if place < end:
            own = len(buffer)
        at = 0
        while 0 <= (opened := buffer.find(OPEN, at)) < own and (closed := buffer.find(CLOSE, opened)) >= 0:
            at = closed + len(CLOSE)
            yield buffer[opened:at]
        begun = 0 <= opened < own
        if place >= end and not begun:
            return
        keep = opened if begun else max(at, len(buffer) - TAIL)
        buffer, own = buffer[keep:], own - keep
        if len(buffer) > 4 * MAX_TEXT:
            raise InputError(f"{path} holds a page of more than {4 * MAX_TEXT} bytes, or one without an end")
    ends = LAST in buffer or LAST.endswith(buffer.rstrip())  # the piece may begin inside the last tag
    if OPEN in buffer or not ends:
        raise InputError(f"{path} is no whole XML export: it does not end with {LAST.decode()}")
