"""Against which list of entries a text is matched: its language's, or one list made of all languages'.

Isolation, a list and a threshold for each language, is the rule. A metadata version may instead hold one merged list
(`jobs.merge_metadata`), to measure what isolation is worth: then every text is matched against it, counts and
thresholds belong to it, and only the texts keep their language.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Final

MERGED: Final = "all"  # key of the merged list; no language has it


def entry_list_key(lang: str, lists: Container[str]) -> str:
    """Return the key of the list, among `lists`, that texts of a language belong to."""
    return MERGED if MERGED in lists else lang
