"""Write and read the file of a matcher: a header line in JSON, then the arrays of its tries as they are in memory.

    worldcurate matcher {"format": 3, "rules": …, "entries": …, "arrays": {name: [size, offset]}, "sha256": …}
    spaces up to a multiple of 64 bytes, and a line feed
    the arrays, each padded to a multiple of 64 bytes

The file is designed to be mapped into memory: opening one reads it once, to check it, and all processes of a host share
its pages.
"""

from __future__ import annotations

import hashlib
import json
import mmap
from array import array
from collections.abc import Iterable
from typing import Any, Final

import numpy as np

from curation.errors import InputError, UsageError
from curation.matching import trie_build
from curation.matching.char_classes import in_katakana_run, is_combining
from curation.matching.rules import check_rules, normalize_entry
from curation.matching.trie import ROW_BYTES, Tries

FORMAT: Final = 3
MAGIC: Final = b"worldcurate matcher "
SHORT_LETTERS: Final = 2  # Katakana entries up to this many characters must fill their run
_ALIGNMENT: Final = 64
# Field of Tries → name in the file, which is part of the format; type; columns, 0 for an array of one dimension.
_ARRAYS: Final = {
    "tokens": ("tokens", "<u8", ROW_BYTES // 8),
    "tails": ("rests", "<u8", 0),
    "edges": ("edges", "<u4", ROW_BYTES // 4),
    "chars": ("chars", "<u4", ROW_BYTES // 4),
    "first_pairs": ("heads", "|u1", 0),
    "duplicates": ("twins", "<i4", 0),
}


def compile_entries(entries: Iterable[str], rules: str) -> bytes:
    """Compile entries to the bytes of a matcher file.

    The same entries give the same bytes. This takes about 150 bytes of memory per entry, and `entries` may be an
    iterator: no entry is held as a string. Raises UsageError on unknown rules.
    """
    check_rules(rules)
    data, offsets, short = bytearray(), array("q", [0]), bytearray()
    for entry in entries:
        normalized = normalize_entry(entry, rules)
        data += normalized.encode()
        offsets.append(len(data))
        short.append(rules == "worldwide" and is_short_katakana(normalized))
    data += b" " * 16  # `build_tries` may read past the last entry
    tries = trie_build.build_tries(
        np.frombuffer(data, np.uint8), np.array(offsets, np.int64), np.array(short, np.bool_)
    )
    payload, arrays = bytearray(), {}
    for field, (name, dtype, _) in _ARRAYS.items():
        values = getattr(tries, field)
        arrays[name] = [values.size, len(payload)]
        payload += np.ascontiguousarray(values, dtype).reshape(-1).view(np.uint8).data
        payload += bytes(-len(payload) % _ALIGNMENT)
    header = {"format": FORMAT, "rules": rules, "entries": len(short), "arrays": arrays}
    line = MAGIC + json.dumps(header | {"sha256": _checksum(header, payload)}).encode("ascii")
    return b"".join((line, b" " * (-(len(line) + 1) % _ALIGNMENT), b"\n", payload))


def read_matcher(
    data: bytes | mmap.mmap, rules: str, name: str = "matcher", *, checked: bool = False
) -> tuple[Tries, int]:
    """Return the arrays of a matcher file, not copied, and the number of entries.

    Args:
        data: the content of the file.
        rules: the rule set it must be built for.
        name: the file, for messages.
        checked: whether the content is known to be intact, so that its checksum is not compared.

    Raises UsageError if the file has another format number or other rules, InputError if it is damaged.
    """
    header, start = _read_header(data, rules, name)
    if not checked and _checksum(header, memoryview(data)[start:]) != header.get("sha256"):
        raise InputError(f"{name}: damaged or cut short: the checksum does not match")
    try:
        arrays = {}
        for field, (key, dtype, columns) in _ARRAYS.items():
            size, offset = header["arrays"][key]
            array = np.frombuffer(data, dtype, size, start + offset)
            arrays[field] = array.reshape(-1, columns) if columns else array
        tries, entries = Tries(**arrays), header["entries"]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{name}: damaged or cut short: {error}") from error
    if len(tries.duplicates) not in (0, entries) or (len(tries.chars) and not len(tries.first_pairs)):
        raise InputError(f"{name}: damaged: the sizes of its arrays contradict each other")
    return tries, entries


def _read_header(data: bytes | mmap.mmap, rules: str, name: str) -> tuple[dict[str, Any], int]:
    """Return the header and the offset of the arrays."""
    start = data.find(b"\n", 0, 1 << 16) + 1
    line = data[:start]
    try:
        header = json.loads(line.removeprefix(MAGIC)) if line.startswith(MAGIC) else None
    except ValueError:
        header = None
    if not isinstance(header, dict):
        raise InputError(f"{name}: not a matcher file, or its header is damaged")
    if header.get("format") != FORMAT:
        raise UsageError(f"{name}: matcher format {header.get('format')}, this version reads {FORMAT}; rebuild it")
    if header.get("rules") != rules:
        raise UsageError(f"{name}: built for the rules {header.get('rules')!r}, match.rules asks for {rules!r}")
    return header, start


def _checksum(header: dict[str, Any], payload: bytes | bytearray | memoryview) -> str:
    """Return the SHA-256 of a header without its key `sha256`, followed by the arrays."""
    checked_header = {key: value for key, value in header.items() if key != "sha256"}
    digest = hashlib.sha256(json.dumps(checked_header, sort_keys=True).encode("ascii"))
    digest.update(payload)
    return digest.hexdigest()


def is_short_katakana(normalized: str) -> bool:
    """Return whether a normalized entry is a Katakana word so short that it must fill its run to match."""
    if not normalized or normalized[-1] == " " or not in_katakana_run(normalized[0]):
        return False
    letters = [char for char in normalized if not is_combining(char)]
    return 0 < len(letters) <= SHORT_LETTERS and all(map(in_katakana_run, letters))
