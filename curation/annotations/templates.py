"""Texts put into templates of their language, such as `a photo of {}`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

from curation.annotations.base import WrittenText, written
from curation.annotations.row_texts import published_number
from curation.hashing import u64

PLACE = "{}"  # of the text in a template


@dataclass(frozen=True)
class Templates:
    """Makes `rewrites` or `paraphrases` without a model: the published text in templates of its language.

    A text of a language without templates has none. Which templates a text is put into is a hash of the text.

    Attributes:
        templates: for each language the templates, each with one `{}`.
        count: texts per row; fewer if the language has fewer templates.
    """

    templates: Mapping[str, Sequence[str]]
    count: int = 4

    version: ClassVar[str] = "1"
    reads: ClassVar[tuple[str, ...]] = ("text", "lang", "texts")
    uses_seed: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Raise ValueError if a parameter is wrong."""
        if self.count < 1 or not self.templates:
            raise ValueError("count must be at least 1, and templates must name a language")
        for language, templates in self.templates.items():
            for template in templates:
                if template.count(PLACE) != 1:
                    raise ValueError(f"templates.{language}: {template!r} needs one {PLACE}, the place of the text")

    def __call__(self, rows: pa.Table, seed: int) -> Sequence[list[WrittenText]]:
        """Return the texts of each row."""
        return [
            [
                written(each, "template", published_number(row["text"], row["texts"]))
                for each in self._fill(row["text"], row["lang"], seed)
            ]
            for row in rows.select(self.reads).to_pylist()
        ]

    def _fill(self, text: str, lang: str, seed: int) -> list[str]:
        drawn = sorted(dict.fromkeys(self.templates.get(lang, ())), key=lambda each: u64(seed, "template", text, each))
        return [template.replace(PLACE, text) for template in drawn[: self.count]]
