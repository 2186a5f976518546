"""Text and JSON as crawls and exports really hold them: mostly clean, now and then with broken bytes."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import orjson


def loads(data: bytes, notes: Counter[str]) -> Any:
    """Return the value of a JSON document.

    What `orjson` refuses, such as lone surrogate escapes or huge numbers, `json` gets to try, with invalid UTF-8
    replaced by U+FFFD and noted. Raises ValueError when that fails too.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(decode(data, notes))
    except RecursionError:
        raise ValueError("nested too deep") from None


def decode(value: Any, notes: Counter[str]) -> Any:
    """Return bytes as text, invalid UTF-8 replaced by U+FFFD and noted (`invalid_utf8`); other values as they are."""
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        notes["invalid_utf8"] += 1
        return value.decode("utf-8", "replace")
