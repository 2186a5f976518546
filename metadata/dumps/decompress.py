"""Reading plain, gzip and bzip2 files, told apart by their first bytes, up to the damage where there is any."""

from __future__ import annotations

import bz2
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from curation.errors import InputError
from curation.io.gzip_stream import Gunzip

BLOCK = 1 << 18
LONGEST_LINE = 1 << 28
BZIP2 = b"BZh"
GZIP = b"\x1f\x8b"


def blocks(stream: BinaryIO, path: str) -> Iterator[bytes]:
    """Yield the decompressed data of an open, seekable file in blocks of up to 256 KiB.

    Everything before a damage is yielded; then InputError is raised, naming the file.
    """
    try:
        magic = stream.read(len(BZIP2))
        stream.seek(0)
        # `read1`, as `read` would lose what it has gathered when it meets the end of a truncated file.
        read = bz2.BZ2File(stream).read1 if magic == BZIP2 else Gunzip(stream).read
        while block := read(BLOCK):
            yield block
    except (OSError, EOFError) as error:
        raise InputError(f"cannot read {path} to its end: {error}") from error


def lines(stream: BinaryIO, path: str) -> Iterator[bytes]:
    """Yield the lines of an open file without their newlines.

    A line that a damage cuts off is left out; then InputError is raised, naming the file.
    """
    return lines_of(blocks(stream, path), path)


def lines_of(data: Iterable[bytes], path: str) -> Iterator[bytes]:
    """Yield the lines of blocks of data without their newlines. Raises InputError at one that does not end."""
    rest = b""
    for block in data:
        *whole, rest = (rest + block).split(b"\n")
        yield from whole
        if len(rest) > LONGEST_LINE:
            raise InputError(f"{path} holds a line of more than {LONGEST_LINE} bytes")
    if rest:
        yield rest
