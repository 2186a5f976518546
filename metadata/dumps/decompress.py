"""Read plain, gzip and bzip2 files, recognized by their first bytes; damaged files are read up to the damage."""

from __future__ import annotations

import bz2
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from curation.errors import InputError
from curation.io.gzip_stream import GzipStream

BLOCK = 1 << 18
LONGEST_LINE = 1 << 28
BZIP2 = b"BZh"
GZIP = b"\x1f\x8b"


def read_blocks(stream: BinaryIO, path: str) -> Iterator[bytes]:
    """Yield the decompressed data of an open, seekable file in blocks of up to 256 KiB.

    Raises InputError, which names the file, after everything before the damage has been yielded.
    """
    try:
        magic = stream.read(len(BZIP2))
        stream.seek(0)
        # `read1`, because `read` discards the data read so far when it reaches the end of a truncated file.
        read = bz2.BZ2File(stream).read1 if magic == BZIP2 else GzipStream(stream).read
        while block := read(BLOCK):
            yield block
    except (OSError, EOFError) as error:
        raise InputError(f"cannot read {path} to its end: {error}") from error


def read_lines(stream: BinaryIO, path: str) -> Iterator[bytes]:
    """Yield the lines of an open file without their newlines.

    Raises InputError, which names the file, at damage; a line truncated by it is left out.
    """
    return split_lines(read_blocks(stream, path), path)


def split_lines(data: Iterable[bytes], path: str) -> Iterator[bytes]:
    """Yield the lines in blocks of data without their newlines. Raises InputError at a line that is too long."""
    rest = b""
    for block in data:
        *whole, rest = (rest + block).split(b"\n")
        yield from whole
        if len(rest) > LONGEST_LINE:
            raise InputError(f"{path} has a line of more than {LONGEST_LINE} bytes")
    if rest:
        yield rest
