"""JSON as crawls and exports really hold it: mostly clean, now and then with broken bytes."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import orjson


def loads(data: bytes, notes: Counter[str]) -> Any:
    """Return the value of a JSON document.

    What `orjson` refuses, `json` gets to try with invalid UTF-8 replaced by U+FFFD (counted in `notes` as
    `invalid_utf8`): lone surrogate escapes, huge numbers. Raises ValueError when that fails too.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        text = data.decode("utf-8", "replace")
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if "\ufffd" in text and not _is_utf8(data):
        notes["invalid_utf8"] += 1
    return value


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
