"""How a visit shows the text of an image: drawn among its texts, and perhaps edited."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import NamedTuple

from curation.hashing import u64
from training.data.views.text_choice import choose_text
from training.data.views.text_edits import Edit, edit_text

ANNOTATED = ("rewrites", "paraphrases", "english", "subtitle", "caption")  # columns of annotations that are sources
STORED = frozenset({"published", "matched", *ANNOTATED})  # all sources of texts


class MatchedText(NamedTuple):
    """The language of a matched text, and its source, such as `alt` or `title`."""

    language: str
    source: str


PUBLISHED_ONLY: Mapping[str, float] = MappingProxyType({"published": 1.0})


@dataclass(frozen=True)
class TextTransform:
    """The transform of texts; its result depends only on the texts and a seed.

    Attributes:
        sources: weight of every text of a source: `published`, the text of the sample, or `matched`, all matched texts
            of its image, or a column of the annotations in `ANNOTATED`.
        short_words: a drawn text of fewer words is replaced by the first text of the first source.
        edits: kinds of edits of which one is drawn; without any, texts stay as they are.
        source_weights: factor of the weight of a text by where it was found; 1 where none is given.
        language_weights: factor of the weight of a text by its language; 1 where none is given.
        mask: share of the tokens that are selected for masking.
        optional: whether samples may lack a text of the sources.
    """

    sources: Mapping[str, float] = field(default_factory=lambda: dict(PUBLISHED_ONLY))
    short_words: int = 0
    edits: tuple[Edit, ...] = ()
    source_weights: Mapping[str, float] = field(default_factory=dict)
    language_weights: Mapping[str, float] = field(default_factory=dict)
    mask: float = 0.0
    optional: bool = False

    @property
    def reads_matched(self) -> bool:
        """Whether other texts of an image than the one of the sample may be shown."""
        return self.sources.get("matched", 0) > 0

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The columns of the annotations whose texts may be shown."""
        return tuple(column for column in ANNOTATED if self.sources.get(column, 0) > 0)

    def show(
        self,
        text: str,
        language: str,
        matched: Mapping[str, MatchedText],
        seed: int,
        written: Mapping[str, Sequence[str]] = MappingProxyType({}),
    ) -> tuple[str, str]:
        """Return the text that a visit shows, and its language.

        Raises InputError if the image has no text of the sources.

        Args:
            text: the text of the sample.
            language: its language.
            matched: language and source of all matched texts of the image, by text; empty unless `reads_matched`.
            seed: decides the draw and the edit.
            written: the texts of the annotations by column; those in `columns` are used.
        """
        if self.reads_matched or self.columns:
            texts = {"published": [text], "matched": list(matched), **written}
            factors = {name: self._factor(origin) for name, origin in matched.items()}
            choice = u64(seed, "source")
            text = choose_text(texts, self.sources, choice, factors=factors, short_words=self.short_words)
            if text in written.get("english", ()):
                language = "en"
            elif text in matched:
                language = matched[text].language
        if self.edits:
            text = edit_text(text, self.edits, u64(seed, "edit"))
        return text, language

    def _factor(self, text: MatchedText) -> float:
        return self.source_weights.get(text.source, 1.0) * self.language_weights.get(text.language, 1.0)
