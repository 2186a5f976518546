"""Keys of entry lists: one list per language, or one merged list for all languages.

Normally each language has its own list of entries and its own threshold. A metadata version may instead have one merged
list (`jobs.merge_metadata`), to measure the effect of separate lists. Then every text is matched against the merged
list, and counts and thresholds belong to it; only the texts keep their language.

A language may have no list, because it was not built. Its texts are then texts of `other`.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Final

MERGED: Final = "all"  # key of the merged list; not a language key
OTHER: Final = "other"  # key of the list for languages without a list of their own


def entry_list_key(lang: str, lists: Container[str]) -> str:
    """Return the key of the list, among `lists`, that texts of a language are matched against."""
    return MERGED if MERGED in lists else lang


def matched_lang(lang: str, lists: Container[str]) -> str:
    """Return the language key that matched texts of an identified language have: `other` if it has no list.

    Without a list `other`, the texts keep their language and match nothing.
    """
    return lang if lang in lists or MERGED in lists or OTHER not in lists else OTHER
