"""The share of capitalized words, a stand-in for the share of proper nouns where no tagger is used."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import pyarrow as pa

WORD: Final = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True)
class CapitalizedShare:
    """Makes `propn_share`: how many of the words of a text start with a capital letter.

    CLIP-Italian (arXiv 2108.08688) drops texts of which at least 0.8 are proper nouns, by a tagger. In German, all
    nouns have capital letters. A text without letters that have a case, such as one in Japanese, has no share.
    """

    version: ClassVar[str] = "1"
    reads: ClassVar[tuple[str, ...]] = ("text",)
    uses_seed: ClassVar[bool] = False

    def __call__(self, rows: pa.Table, seed: int) -> Sequence[float | None]:  # noqa: ARG002 - it draws nothing
        """Return the share of each text."""
        return [capitalized_share(text) for text in rows["text"].to_pylist()]


def capitalized_share(text: str) -> float | None:
    """Return the share of the words that start with a capital letter; None without a letter that has a case."""
    words: list[str] = WORD.findall(text)
    if not any(char.isupper() or char.islower() for word in words for char in word):
        return None
    return sum(word[0].isupper() or word[0].istitle() for word in words) / len(words)
