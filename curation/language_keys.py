"""Keys of entry lists: one list per language, or one merged list for all languages.

Normally each language has its own list of entries and its own threshold. A metadata version may instead have one merged
list (`jobs.merge_metadata`), to measure the effect of separate lists. Then every text is matched against the merged
list, and counts and thresholds belong to it; only the texts keep their language.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Final

MERGED: Final = "all"  # key of the merged list; not a language key


def entry_list_key(lang: str, lists: Container[str]) -> str:
    """Return the key of the list, among `lists`, that texts of a language are matched against."""
    return MERGED if MERGED in lists else lang
