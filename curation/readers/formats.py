"""Names the format of a file by its first bytes, for messages about inputs that are not in the configured format."""

from __future__ import annotations

import re
from collections import Counter
from contextlib import suppress
from typing import BinaryIO, Final, NamedTuple

from curation.errors import InputError
from curation.io.gzip_stream import GzipStream
from curation.readers.lenient_json import parse_json

HEAD: Final = 64 << 10  # bytes, decompressed
TAR_MAGIC: Final = slice(257, 262)


class Format(NamedTuple):
    """The name of a format, and what to do with a file that has it in place of the configured one."""

    label: str
    remedy: str


_UNPACK = "unpack it, or pack it with gzip"
_MAGIC: Final = {
    b"PAR1": Format("Parquet", "set ingest.format to parquet"),
    b"PARE": Format("encrypted Parquet", "decrypt it"),
    b"\x28\xb5\x2f\xfd": Format("zstd", _UNPACK),
    b"BZh": Format("bzip2", _UNPACK),
    b"\xfd7zXZ\x00": Format("xz", _UNPACK),
    b"\x04\x22\x4d\x18": Format("lz4", _UNPACK),
    b"\xff\x06\x00\x00sNaPpY": Format("snappy", _UNPACK),
    b"PK\x03\x04": Format("zip", "unpack it"),
    b"PK\x05\x06": Format("zip", "unpack it"),
    b"7z\xbc\xaf\x27\x1c": Format("7z", "unpack it"),
    b"Rar!": Format("rar", "unpack it"),
    b"ARROW1": Format("Arrow", "convert it to Parquet"),
    b"\xff\xff\xff\xff": Format("an Arrow stream", "convert it to Parquet"),
    b"FEA1": Format("Feather", "convert it to Parquet"),
    b"ORC": Format("ORC", "convert it to Parquet"),
    b"Obj\x01": Format("Avro", "convert it to Parquet"),
    b"SQLite format 3": Format("SQLite", "export it as Parquet"),
    b"\x89HDF": Format("HDF5", "convert it to Parquet"),
    b"\xff\xfe": Format("UTF-16", "convert it to UTF-8"),
    b"\xfe\xff": Format("UTF-16", "convert it to UTF-8"),
    b"version https://git-lfs": Format("a pointer of Git LFS", "download the file itself (git lfs pull)"),
    b"\x89PNG": Format("a PNG image", "name files of pairs"),
    b"\xff\xd8\xff": Format("a JPEG image", "name files of pairs"),
}
_WAT = Format("WAT", "set ingest.format to wat")
_WARC = Format("WARC", "use the WAT file of the same crawl")
_WET = Format("WET", "it has no images: use the WAT file of the same crawl")
_JSONL = Format("JSON Lines", "set ingest.format to jsonl")
_ARRAY = Format("a JSON array", "write one object per line, as `jq -c '.[]'` does")
_DOCUMENT = Format("a JSON document of many lines", "write one object per line, as `jq -c .` does")
_HTML = Format("HTML", "it may be a server's error page: download the file again")
_XML = Format("XML", "it may be a server's error message: download the file again")
_TAR = Format("tar", "set ingest.format to webdataset")

_NAMES: Final = {"wat": "WAT", "parquet": "Parquet", "jsonl": "JSON Lines", "webdataset": "tar"}
_GZIPPED: Final = frozenset({"wat", "jsonl"})  # formats that may be packed with gzip
_RECORD_TYPE = re.compile(rb"^WARC-Type: *(\w+)", re.MULTILINE | re.IGNORECASE)


def check_format(stream: BinaryIO, name: str, expected: str, *, also_texts: bool = True) -> None:
    """Raise InputError if a seekable file is recognized and is not of the format `expected`, a value of the config.

    Without `also_texts`, only formats with a magic number are recognized, which a broken first line cannot have.
    """
    head, gzipped = _read_head(stream)
    found = _recognize_binary(head) or (_recognize_text(head) if also_texts else None)
    if gzipped and expected not in _GZIPPED:
        label = f"{found.label} packed with gzip" if found else "packed with gzip"
        found = Format(label, "unpack it")
    if found and found.label != _NAMES[expected]:
        raise InputError(f"ingest.format: {name} is {found.label}, not {_NAMES[expected]}: {found.remedy}")


def _read_head(stream: BinaryIO) -> tuple[bytes, bool]:
    """Return the first bytes of a file, decompressed, and whether it is packed with gzip."""
    stream.seek(0)
    source, head = GzipStream(stream), bytearray()
    with suppress(OSError):  # the bytes before damage may be enough
        while len(head) < HEAD and (piece := source.read(HEAD - len(head))):
            head += piece
    return bytes(head), source.gzipped


def _recognize_binary(head: bytes) -> Format | None:
    """Return the format whose magic number is at the start of a file; None if there is none."""
    for magic, found in _MAGIC.items():
        if head.startswith(magic):
            return found
    if head[TAR_MAGIC] == b"ustar":
        return _TAR
    return _recognize_warc(head) if head.startswith(b"WARC/") else None


def _recognize_text(head: bytes) -> Format | None:
    """Return the format of a text that starts with these bytes; None if it is not recognized."""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    line, _, rest = text.partition(b"\n")
    if re.match(rb"\[\s*[{\[]", text) and not (rest.strip() and _is_json(line)):
        return _ARRAY
    if text.startswith(b"{"):
        return _DOCUMENT if line.strip() == b"{" else _JSONL
    if re.match(rb"<!doctype html|<html", text, re.IGNORECASE):
        return _HTML
    return _XML if text.startswith(b"<?xml") else None


def _is_json(line: bytes) -> bool:
    try:
        parse_json(line, Counter())
    except ValueError:
        return False
    return True


def _recognize_warc(head: bytes) -> Format | None:
    """Tell WARC, WAT and WET apart by the types of their records; None if there is only a head of the file."""
    types = {match.lower() for match in _RECORD_TYPE.findall(head)}
    if b"conversion" in types:
        return _WET
    if types & {b"response", b"request", b"resource", b"revisit"}:
        return _WARC
    return _WAT if b"metadata" in types and b'"Envelope"' in head else None
