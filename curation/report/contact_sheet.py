"""The pictures of a contact sheet: which rows are shown, and what the page has of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class SheetPicture:
    """A picture of the shards with its text.

    Attributes:
        image_id: its id.
        source: a thumbnail as a `data:` URI, so that the page stays self-contained.
        width: of the stored picture, in pixels.
        height: likewise.
        text: its text.
        lang: the language of the text.
    """

    image_id: str
    source: str
    width: int
    height: int
    text: str
    lang: str


def spread_by_language(langs: Sequence[str], count: int) -> list[int]:
    """Return the positions of `count` rows in which every language comes first before any comes a second time.

    They are in order of language, then of position.
    """
    seen: Counter[str] = Counter()
    ranks = []
    for position, lang in enumerate(langs):
        ranks.append((seen[lang], position))
        seen[lang] += 1
    chosen = [position for _, position in sorted(ranks)[:count]]
    return sorted(chosen, key=lambda position: (langs[position], position))
