"""Describe the texts of a batch in languages without a list of entries: by language, with their share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MOST = 10


def describe_unlisted(totals: Mapping[str, Any], names: Mapping[str, str], most: int = MOST) -> str:
    """Return a line that names the languages without a list; empty if all texts of a batch have one.

    Args:
        totals: the totals of a run of `match`.
        names: the names of languages by code.
        most: the languages to name, those with most texts.
    """
    texts: Mapping[str, int] = totals.get("texts_without_list", {})
    if not texts:
        return ""
    largest = sorted(texts.items(), key=lambda row: (-row[1], row[0]))
    listed = ", ".join(
        f"{names[code]} ({code}) {count:,}" if code in names else f"{code} {count:,}" for code, count in largest[:most]
    )
    if len(largest) > most:
        listed += f" and {len(largest) - most} more"
    count, whole = sum(texts.values()), totals["texts"]
    others = totals.get("list_of_others")
    result = f"matched against the list {others}" if others else "they match nothing"
    share = f"{count:,} of {whole:,} texts ({count / whole:.1%})"
    return f"{share} are in languages without a list, {result}: {listed}"
