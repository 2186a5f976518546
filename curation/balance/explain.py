"""Why a text is kept or dropped, as data and as lines to read: every number that led to it.

The numbers come from the functions that matching and balancing use, so an explanation is what they did and not a
second opinion about it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from curation.balance.thresholds import entry_probability, keep_probability
from curation.hashing import draw, text_hash


@dataclass(frozen=True)
class ExplainedEntry:
    """One matched entry: where it comes from (origin, score there), how often it was seen, its probability q."""

    entry_id: int
    entry: str
    origin: str
    score: float | None
    count: int
    q: float


@dataclass(frozen=True)
class ExplainedText:
    """One text on its way: language, the form that was matched, the entries found, and its keep probability.

    `labels` are the model's best (label, language key, score); none, and no score, where the language was given. `t`
    is the language's threshold, None for a language without one, whose texts are never kept. `listed` says whether the
    language has entries at all.
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

    def lines(self) -> Iterator[str]:
        """Yield what a person reads."""
        yield f"text ({self.source}): {self.text!r}" if self.source else f"text: {self.text!r}"
        guesses = ", ".join(f"{label} ({lang}) {score:.3f}" for label, lang, score in self.labels)
        yield f"  language: {self.lang}, " + (
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
        widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
        for row in rows:
            yield "    " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        threshold = "has no threshold, nothing of it is kept" if self.t is None else f"t = {self.t}"
        yield f"  {self.lang} {threshold}; keep probability {self.keep_probability:.6f}"


def explain_entries(
    ids: Sequence[int], entries: Mapping[int, Mapping[str, Any]], counts: Mapping[int, int], t: int | None
) -> tuple[list[ExplainedEntry], float]:
    """Return the matched entries with their probabilities, and the keep probability they make.

    Args:
        ids: the entry ids of the text, sorted.
        entries: rows of the `entries` table by id.
        counts: counts up to the batch by id; an entry without a count is as rare as can be (q = 1).
        t: the language's threshold; without one, nothing is kept.
    """
    found = []
    for entry_id in ids:
        row, count = entries[entry_id], counts.get(entry_id, 0)
        q = 0.0 if t is None else entry_probability(count, t)
        found.append(ExplainedEntry(entry_id, row["entry"], row["origin"], row["score"], count, q))
    return found, keep_probability([entry.q for entry in found])


@dataclass(frozen=True)
class Draw:
    """The draw of an image: which of its texts was chosen, its hash, u, and whether u lies below the probability."""

    chosen: int
    text_hash: int
    u: float
    keep_probability: float
    drawn: bool

    def line(self) -> str:
        """Return what a person reads."""
        relation, end = ("<", "drawn") if self.drawn else (">=", "not drawn")
        return (
            f"chosen: text {self.chosen + 1}, whose hash {self.text_hash:#018x} is the smallest of the matched texts; "
            f"u = {self.u:.6f} {relation} {self.keep_probability:.6f}: {end}"
        )


def draw_of(seed: int, image_id: str, texts: Sequence[ExplainedText]) -> Draw | None:
    """Return the draw of an image, as balance does it; None when no text of it matched."""
    matched = [place for place, text in enumerate(texts) if text.entries]
    if not matched:
        return None
    chosen = min(matched, key=lambda place: text_hash(seed, image_id, texts[place].text))
    text = texts[chosen]
    u = draw(seed, image_id, text.text)
    keep = text.keep_probability
    return Draw(chosen, text_hash(seed, image_id, text.text), u, keep, drawn=u < keep)
