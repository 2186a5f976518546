"""Decodes text and JSON of crawls and exports, which are mostly clean but sometimes contain invalid bytes."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import orjson


def parse_json(data: bytes, notes: Counter[str]) -> Any:
    """Return the value of a JSON document.

    Documents that `orjson` rejects, such as those with lone surrogate escapes or huge numbers, are parsed by `json`,
    with invalid UTF-8 replaced by U+FFFD and noted. Raises ValueError if that fails too.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(decode_utf8(data, notes))
    except RecursionError:
        raise ValueError("nested too deep") from None


def decode_utf8(value: Any, notes: Counter[str]) -> Any:
    """Return bytes as text, with invalid UTF-8 replaced by U+FFFD and noted (`invalid_utf8`); other values as is."""
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        notes["invalid_utf8"] += 1
        return value.decode("utf-8", "replace")
