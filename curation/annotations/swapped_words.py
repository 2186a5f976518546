"""Hard negatives of a text: the same words in another order (NegCLIP, arXiv 2210.01936)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import pyarrow as pa

from curation.annotations.base import WrittenText, written
from curation.annotations.row_texts import published_number
from curation.hashing import u64

ATTEMPTS: Final = 8  # to draw a text that was not drawn before


@dataclass(frozen=True)
class SwappedWords:
    """Makes `hard_texts`: the published text with two of its words, separated by spaces, swapped.

    Attributes:
        count: texts per row, fewer if a text has fewer pairs of different words.
    """

    count: int = 1

    version: ClassVar[str] = "1"
    reads: ClassVar[tuple[str, ...]] = ("text", "texts")
    uses_seed: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Raise ValueError if a parameter is wrong."""
        if self.count < 1:
            raise ValueError(f"count {self.count} must be at least 1")

    def __call__(self, rows: pa.Table, seed: int) -> Sequence[list[WrittenText]]:
        """Return the hard texts of each row."""
        return [
            [
                written(text, "swapped_words", published_number(row["text"], row["texts"]))
                for text in swap_words(row["text"], self.count, seed)
            ]
            for row in rows.select(self.reads).to_pylist()
        ]


def swap_words(text: str, count: int, seed: int) -> list[str]:
    """Return up to `count` different texts with two different words swapped, drawn by hashes of the text."""
    words, found = text.split(" "), dict[str, None]()
    for attempt in range(ATTEMPTS * count if len(words) > 1 else 0):
        drawn = u64(seed, "hard_text", text, str(attempt)) % (len(words) * (len(words) - 1))
        first, second = divmod(drawn, len(words) - 1)
        second += second >= first
        if words[first] != words[second] and len(found) < count:
            swapped = [*words]
            swapped[first], swapped[second] = words[second], words[first]
            found[" ".join(swapped)] = None
    return list(found)
