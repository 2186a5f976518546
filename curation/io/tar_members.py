"""Reads the members of tar archives strictly: an archive that does not end as it should is damaged.

`tarfile` parses the headers (long names, pax headers, sparse files). Its own iteration is not used, because it takes a
spoilt header, a cut header and the end marker of the first of several archives for the end of the file.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from typing import Any, BinaryIO, Final

import msgspec

from curation.io.gzip_stream import DamagedError

BLOCK: Final = tarfile.BLOCKSIZE
END_BLOCKS: Final = 2  # zero blocks that end an archive
MAX_HEADER: Final = 1 << 20  # bytes of a long name or of pax headers
PIECE: Final = 64 << 10  # bytes of padding read at once
ESCAPE: Final = "\ufffd"  # the replacement character, which no name should contain


class TarMember(msgspec.Struct, frozen=True, gc=False):
    """A member of an archive.

    `name` is valid Unicode, and different names in the archive stay different; see `portable_name`. `extents` are the
    parts of a sparse file: position and number of bytes. A hard link has the data of the file that it links to. A
    member is not `whole` if the archive is cut off inside its data.
    """

    name: str
    is_file: bool
    is_folder: bool
    offset: int
    size: int
    extents: tuple[tuple[int, int], ...] | None
    whole: bool


def tar_members(stream: BinaryIO) -> Iterator[TarMember]:
    """Yield the members of an archive, or of several archives one after the other.

    The caller may read from the seekable stream between two members. Raises DamagedError after the last readable
    member if a header is spoilt or cut off, data are cut off, the end marker is missing, or it is followed by bytes
    that are not an archive.
    """
    archive = _Archive(stream)
    files: dict[str, TarMember] = {}
    while (header := archive.next()) is not None:
        name = portable_name(header.name)
        target = files.get(portable_name(header.linkname)) if header.islnk() else None
        if target is not None:
            member = msgspec.structs.replace(target, name=name)
        else:
            extents = _extents(header)
            stored = sum(size for _, size in extents) if extents is not None else header.size
            whole = header.offset_data + stored <= archive.file_size
            member = TarMember(name, header.isreg(), header.isdir(), header.offset_data, header.size, extents, whole)
        if member.is_file:
            files[name] = member
        yield member


def read_member(stream: BinaryIO, member: TarMember, limit: int | None = None) -> bytes:
    """Return the content of a file, or its first `limit` bytes. Raises DamagedError if the archive is cut off in it."""
    size = member.size if limit is None else min(limit, member.size)
    if member.extents is None:
        stream.seek(member.offset)
        return _read_exactly(stream, size)
    content, stored_at = bytearray(size), member.offset
    for start, stored in member.extents:
        stream.seek(stored_at)
        part = max(0, min(stored, size - start))
        content[start : start + part] = _read_exactly(stream, part)
        stored_at += stored
    return bytes(content)


def _read_exactly(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise DamagedError("the tar is cut off inside a member")
    return data


def portable_name(name: str) -> str:
    """Return a name decoded with `surrogateescape` as valid Unicode from which its bytes can be recovered.

    A byte that is not UTF-8 becomes U+FFFD and its two hexadecimal digits. So do the bytes of U+FFFD itself, so that
    no two names become equal.
    """
    if name.isascii():
        return name
    parts = (
        "".join(f"{ESCAPE}{byte:02X}" for byte in char.encode("utf-8", "surrogateescape"))
        if char == ESCAPE or "\udc80" <= char <= "\udcff"
        else char
        for char in name
    )
    return "".join(parts)


class _HeaderBytes:
    """The stream as `tarfile` reads headers from it: it can look ahead, and refuses to read headers of absurd size."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._ahead = b""
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes, those of `peek_block` first. Raises DamagedError for more than `MAX_HEADER`."""
        if not 0 <= size <= MAX_HEADER:
            raise DamagedError(f"a tar header claims {size} bytes")
        block, self._ahead = self._ahead, b""
        return block or self._stream.read(size)

    def peek_block(self, offset: int) -> bytes:
        """Return the block at an offset, which the next `read` returns again."""
        self._stream.seek(offset)
        self._ahead = b""
        self._ahead = self.read(BLOCK)
        return self._ahead


class _Archive(tarfile.TarFile):
    """The headers of an archive; `next` is strict."""

    fileobj: Any
    firstmember: tarfile.TarInfo | None

    def __init__(self, stream: BinaryIO) -> None:
        self.file_size = stream.seek(0, io.SEEK_END)
        self.ended = False  # whether the last blocks were an end marker
        stream.seek(0)
        super().__init__(fileobj=_HeaderBytes(stream), encoding="utf-8")  # type: ignore[arg-type]  # all it needs

    def next(self) -> tarfile.TarInfo | None:
        """Return the next header, None at the end of the file. Raises DamagedError."""
        if self.firstmember is not None:
            header, self.firstmember = self.firstmember, None
            return header
        if self.ended:
            return None
        if self.offset > self.file_size:
            raise DamagedError(f"the tar is cut off: a member ends at byte {self.offset} of {self.file_size}")
        block = self.fileobj.peek_block(self.offset)
        if len(block) == BLOCK and not any(block):
            self.ended = True
            if self._skip_zeros():
                return None
            block = self.fileobj.peek_block(self.offset)
        if not block:
            raise DamagedError(f"the end marker is missing after {self.offset} bytes: the tar may be cut off")
        header = self._parse()
        self.ended = False
        return header

    def _parse(self) -> tarfile.TarInfo:
        """Return the header at the offset, with those that belong to it, and move the offset to the next member."""
        start = self.offset
        try:
            header = tarfile.TarInfo.fromtarfile(self)
            if header.size < 0 or self.offset <= start or any(min(extent) < 0 for extent in _extents(header) or ()):
                raise ValueError("negative size")
        except (tarfile.HeaderError, ValueError, IndexError, OverflowError, RecursionError) as error:
            if self.ended:
                problem = f"the last {self.file_size - start} bytes, after the end marker, are not a tar"
            elif start == 0:
                problem = f"it is not a tar: {error}"
            else:
                problem = f"the tar header at byte {start} is damaged: {error}"
            raise DamagedError(problem) from error
        return header

    def _skip_zeros(self) -> bool:
        """Move past the zero blocks that end an archive; return whether they end the file. Raises DamagedError."""
        start = self.offset
        while piece := self.fileobj.read(PIECE):
            rest = piece.lstrip(b"\0")
            self.offset += len(piece) if not rest else (len(piece) - len(rest)) // BLOCK * BLOCK
            if rest:
                break
        else:
            return True
        if self.offset - start < END_BLOCKS * BLOCK:
            raise DamagedError(f"the tar header at byte {start} is damaged: it is zero, and members follow")
        self.pax_headers = {}  # global headers are those of one archive
        return False


def _extents(header: tarfile.TarInfo) -> tuple[tuple[int, int], ...] | None:
    """Return position and size of the parts of a sparse file; None for other files."""
    sparse: Any = header.sparse
    return None if sparse is None else tuple((int(start), int(size)) for start, size in sparse)
