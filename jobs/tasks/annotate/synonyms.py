"""Texts made from others with wordnets: words replaced by their synonyms or by English words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa

from curation.annotations.base import WrittenText, written
from curation.annotations.row_texts import published_number
from curation.annotations.word_replacement import Span, find_spans, replace
from curation.hashing import u64, uniform
from jobs.tasks.annotate.synsets import ENGLISH, find_files, read_english, read_synonyms


@dataclass(frozen=True)
class Synonyms:
    """Makes `rewrites` or `paraphrases`: the published text with some of its words replaced by synonyms.

    A word that the wordnet of its language does not have stays, and so does a text whose words are not separated by
    spaces. Every choice is a hash of the text.

    Attributes:
        model: folder with wordnets, as `metadata.wordnet` names one.
        count: texts per row; fewer if a text has fewer words with synonyms.
        share: share of the words with synonyms that are replaced.
        max_synsets: words with more meanings stay as they are.
    """

    model: str
    count: int = 4
    share: float = 0.5
    max_synsets: int = 3

    version: ClassVar[str] = "1"
    reads: ClassVar[tuple[str, ...]] = ("text", "lang", "texts")
    uses_seed: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Raise ValueError if a parameter is wrong, UsageError if the folder has no wordnet."""
        if self.count < 1 or self.max_synsets < 1 or not 0 < self.share <= 1:
            raise ValueError("count and max_synsets must be at least 1, and share above 0 and at most 1")
        find_files(self.model)

    def __call__(self, rows: pa.Table, seed: int) -> Sequence[list[WrittenText]]:
        """Return the texts of each row."""
        return [self._texts(row, seed) for row in rows.select(self.reads).to_pylist()]

    def _texts(self, row: Mapping[str, Any], seed: int) -> list[WrittenText]:
        text, synonyms = row["text"], read_synonyms(self.model, row["lang"], self.max_synsets)
        texts = rewrite(text, synonyms, count=self.count, share=self.share, seed=seed)
        number = published_number(text, row["texts"])
        return [written(each, "synonyms", number) for each in texts]


@dataclass(frozen=True)
class EnglishGloss:
    """Makes `english`: the published text with its words replaced by English ones, a stand-in for a translation.

    A text of which no word is in the wordnet of its language has none, and an English text is its own.

    Attributes:
        model: folder with wordnets, one of them English, in the synsets of Princeton WordNet 3.0.
    """

    model: str

    version: ClassVar[str] = "1"
    reads: ClassVar[tuple[str, ...]] = ("text", "lang")
    uses_seed: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Raise UsageError if the folder has no wordnet."""
        find_files(self.model)

    def __call__(self, rows: pa.Table, seed: int) -> Sequence[str | None]:  # noqa: ARG002 - it draws nothing
        """Return the gloss of each text."""
        return [self._gloss(row["text"], row["lang"]) for row in rows.select(self.reads).to_pylist()]

    def _gloss(self, text: str, lang: str) -> str | None:
        if lang == ENGLISH:
            return text
        words = read_english(self.model, lang)
        if not any(find_spans(text, words)):
            return None
        return replace(text, words, lambda _, word: word, keep_capitals=False)


def rewrite(text: str, synonyms: Mapping[str, Sequence[str]], *, count: int, share: float, seed: int) -> list[str]:
    """Return up to `count` different texts, none of them the text itself, with words replaced by synonyms."""
    if not any(find_spans(text, synonyms)):
        return []
    texts: dict[str, None] = {}
    for attempt in range(2 * count):

        def choose(span: Span, words: Sequence[str], keys: tuple[str, str] = (text, str(attempt))) -> str | None:
            drawn = u64(seed, "rewrite", *keys, str(span.start))
            replaced = uniform(drawn) < share
            return words[u64(seed, "synonym", *keys, str(span.start)) % len(words)] if replaced else None

        texts[replace(text, synonyms, choose)] = None
    return [each for each in texts if each != text][:count]
