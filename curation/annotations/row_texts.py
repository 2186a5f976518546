"""The texts of a row of shards, by their number in its column `texts`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def published_number(text: str, texts: Sequence[Mapping[str, Any]] | None) -> int | None:
    """Return which of a row's texts is the published one; None if the row does not have it."""
    return next((number for number, each in enumerate(texts or ()) if each["text"] == text), None)
