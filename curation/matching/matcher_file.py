"""The stored form of a matcher: a header line, then its arrays as they lie in memory.

It is made to be mapped: opening a file reads it once, to check it, and all processes of a host share its pages.
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
from curation.matching.rules import check_rules, entry_form
from curation.matching.trie import ROW, Tries

FORMAT: Final = 3
MAGIC: Final = b"worldcurate matcher "
SHORT_LETTERS: Final = 2  # Katakana entries up to this many characters must fill their run
_ALIGNMENT: Final = 64
_DTYPES: Final = {
    "tokens": "<u8",
    "rests": "<u8",
    "edges": "<u4",
    "chars": "<u4",
    "heads": "|u1",
    "twins": "<i4",
}
_COLUMNS: Final = {"tokens": ROW // 8, "edges": ROW // 4, "chars": ROW // 4}


def compile_entries(entries: Iterable[str], rules: str) -> bytes:
    """Compile entries to the stored form of a matcher: a header line, then its arrays.

    The header is JSON (format, rules, entries, count and place of each array, SHA-256 of all this), padded so that the
    arrays lie well in memory. The same entries give the same bytes. Takes about 150 bytes an entry while it works, and
    holds none as a string. Raises UsageError on unknown rules.
    """
    check_rules(rules)
    data, offsets, short = bytearray(), array("q", [0]), bytearray()
    for entry in entries:
        form = entry_form(entry, rules)
        data += form.encode()
        offsets.append(len(data))
        short.append(rules == "worldwide" and is_short_katakana(form))
    data += b" " * 16  # some bytes behind the last form
    tries = trie_build.build(np.frombuffer(data, np.uint8), np.array(offsets, np.int64), np.array(short, np.bool_))
    payload, places = bytearray(), {}
    for key, dtype in _DTYPES.items():
        values = getattr(tries, key)
        places[key] = [values.size, len(payload)]
        payload += np.ascontiguousarray(values, dtype).reshape(-1).view(np.uint8).data
        payload += bytes(-len(payload) % _ALIGNMENT)
    header = {"format": FORMAT, "rules": rules, "entries": len(short), "arrays": places}
    line = MAGIC + json.dumps(header | {"sha256": _checksum(header, payload)}).encode("ascii")
    return b"".join((line, b" " * (-(len(line) + 1) % _ALIGNMENT), b"\n", payload))


def read(data: bytes | mmap.mmap, rules: str, name: str = "matcher", *, checked: bool = False) -> tuple[Tries, int]:
    """Return the arrays that lie in the stored form of a matcher, uncopied, and the number of entries.

    Args:
        data: the stored form.
        rules: the rule set it must be built for.
        name: the file, for messages.
        checked: whether the content is known to be whole, so that its checksum need not be looked at.

    Raises UsageError on another format number or other rules than asked for, InputError on a damaged file.
    """
    header, start = _read_header(data, rules, name)
    if not checked and _checksum(header, memoryview(data)[start:]) != header.get("sha256"):
        raise InputError(f"{name}: damaged or cut short, the checksum does not fit")
    try:
        arrays = {}
        for key, dtype in _DTYPES.items():
            count, place = header["arrays"][key]
            array = np.frombuffer(data, dtype, count, start + place)
            arrays[key] = array.reshape(-1, _COLUMNS[key]) if key in _COLUMNS else array
        tries, entries = Tries(**arrays), header["entries"]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{name}: damaged or cut short: {error}") from error
    if len(tries.twins) not in (0, entries) or (len(tries.chars) and not len(tries.heads)):
        raise InputError(f"{name}: damaged, its arrays do not fit each other")
    return tries, entries


def _read_header(data: bytes | mmap.mmap, rules: str, name: str) -> tuple[dict[str, Any], int]:
    """Return the header and where the arrays begin."""
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
    """Return the SHA-256 of all that a header says, itself aside, and of the arrays."""
    said = {key: value for key, value in header.items() if key != "sha256"}
    digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode("ascii"))
    digest.update(payload)
    return digest.hexdigest()


def is_short_katakana(form: str) -> bool:
    """Tell whether a form is a Katakana word that must fill its run to match."""
    if not form or form[-1] == " " or not in_katakana_run(form[0]):
        return False
    letters = [char for char in form if not is_combining(char)]
    return 0 < len(letters) <= SHORT_LETTERS and all(map(in_katakana_run, letters))
