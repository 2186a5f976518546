"""Explain why a text is kept or dropped, as data and as lines of text, with every number that led to the decision.

The numbers come from the functions that matching and balancing use, so the explanation cannot differ from their result.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from curation.balance.text_table import format_table
from curation.balance.thresholds import entry_probability, keep_probability
from curation.hashing import draw, text_hash


@dataclass(frozen=True)
class ExplainedEntry:
    """One matched entry: its origin, its score there, its count, and its probability q."""

    entry_id: int
    entry: str
    origin: str
    score: float | None
    count: int
    q: float


@dataclass(frozen=True)
class ExplainedText:
    """The stages of one text: its language, its normalized form, the matched entries, and its keep probability.

    Attributes:
        source: where the text comes from, such as `alt`; empty for a text that was given.
        text: the text.
        lang: the language key under which it is matched.
        lang_score: the score of the language; None if the language was given.
        labels: the model's best labels, each with its language key and score; none if the language was given.
        form: the normalized text.
        entries: the matched entries.
        t: the threshold of the language; None if it has none, then its texts are never kept.
        keep_probability: of the text.
        listed: whether the language has entries.
        identified: the language of the text; if it has no list, `lang` is `other`.
    """

    source: str
    text: str
    lang: str
    lang_score: float | None
    labels: Sequence[tuple[str, str, float]]
    form: str
    entries: Sequence[ExplainedEntry]
    t: int | None
    keep_probability: float
    listed: bool
    identified: str = ""

    def lines(self) -> Iterator[str]:
        """Yield the explanation as lines of text."""
        yield f"text ({self.source}): {self.text!r}" if self.source else f"text: {self.text!r}"
        guesses = ", ".join(f"{label} ({lang}) {score:.3f}" for label, lang, score in self.labels)
        reason = f" ({self.identified} has no list)" if self.identified not in ("", self.lang) else ""
        yield f"  language: {self.lang}{reason}, " + (
            f"score {self.lang_score:.4f}; the model says {guesses}" if guesses else "given"
        )
        yield f"  matched as: {'|'.join(self.form.split(' '))}"
        if not self.entries:
            yield f"  no entry of {self.lang} matches" if self.listed else f"  the metadata has no list of {self.lang}"
            return
        rows = [["entry", "id", "origin", "score", "count", "q"]]
        for e in self.entries:
            score = "" if e.score is None else f"{e.score:g}"
            rows.append([repr(e.entry), str(e.entry_id), e.origin, score, str(e.count), f"{e.q:.6f}"])
        for line in format_table(rows):
            yield f"    {line}"
        threshold = "has no threshold, nothing of it is kept" if self.t is None else f"t = {self.t}"
        yield f"  {self.lang} {threshold}; keep probability {self.keep_probability:.6f}"


def explain_entries(
    ids: Sequence[int], entries: Mapping[int, Mapping[str, Any]], counts: Mapping[int, int], t: int | None
) -> tuple[list[ExplainedEntry], float]:
    """Return the matched entries with their probabilities, and the keep probability of the text.

    Args:
        ids: the entry ids of the text, sorted.
        entries: rows of the `entries` table by id.
        counts: counts up to the batch by id; an entry without a count has q = 1.
        t: the threshold of the language; None keeps nothing.
    """
    explained = []
    for entry_id in ids:
        row, count = entries[entry_id], counts.get(entry_id, 0)
        q = 0.0 if t is None else entry_probability(count, t)
        explained.append(ExplainedEntry(entry_id, row["entry"], row["origin"], row["score"], count, q))
    return explained, keep_probability([entry.q for entry in explained])


@dataclass(frozen=True)
class Draw:
    """The draw of an image: the index of the chosen text, its hash, u, and whether u is below the keep probability."""

    chosen: int
    text_hash: int
    u: float
    keep_probability: float
    drawn: bool

    def line(self) -> str:
        """Return the explanation as a line of text."""
        relation, end = ("<", "drawn") if self.drawn else (">=", "not drawn")
        return (
            f"chosen: text {self.chosen + 1}, whose hash {self.text_hash:#018x} is the smallest of the matched texts; "
            f"u = {self.u:.6f} {relation} {self.keep_probability:.6f}: {end}"
        )


def explain_draw(seed: int, image_id: str, texts: Sequence[ExplainedText]) -> Draw | None:
    """Return the draw of an image, as the balance job makes it; None if no text of the image matched."""
    matched = [index for index, text in enumerate(texts) if text.entries]
    if not matched:
        return None
    chosen = min(matched, key=lambda index: text_hash(seed, image_id, texts[index].text))
    text = texts[chosen]
    u = draw(seed, image_id, text.text)
    keep = text.keep_probability
    return Draw(chosen, text_hash(seed, image_id, text.text), u, keep, drawn=u < keep)
