"""Occurrences of a text with an image: grouped by image, capped, and each accounted for in the books.

Grouping is associative. Inputs may be grouped in any pieces and the groups merged in any order: rows and books come
out the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.errors import OutputError
from curation.hashing import text_hash
from curation.schemas import SCHEMAS

# A row of `pairs`, and how often each of its texts occurred.
GROUPS = SCHEMAS["pairs"].append(pa.field("copies", pa.list_(pa.int64())))
SOURCE_RANK = {"alt": 0, "title": 1, "data-image-title": 2}


class Occurrence(NamedTuple):
    """One text seen with one image: a usable row of the input."""

    image_id: str
    image_url: str | None
    page_url: str | None
    image_ref: str | None
    source: str
    text: str


@dataclass
class Books:
    """Where every occurrence went: `read = kept + duplicates + over_cap + dropped`, `drops` by reason.

    Duplicates are the further occurrences of a text that its image keeps; over the cap are all occurrences of a text
    that its image does not keep. So defined, the sums do not depend on how the input was split. `notes` counts what
    is no occurrence: pages, images, images without text, broken records. Books add up, and so do differences of
    books, whose figures may be negative.
    """

    read: int = 0
    kept: int = 0
    duplicates: int = 0
    over_cap: int = 0
    drops: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: Books) -> Books:
        drops, notes = self.drops.copy(), self.notes.copy()
        drops.update(other.drops)
        notes.update(other.notes)
        return Books(
            self.read + other.read,
            self.kept + other.kept,
            self.duplicates + other.duplicates,
            self.over_cap + other.over_cap,
            drops,
            notes,
        )

    def check(self) -> None:
        """Raise OutputError unless the books balance and no figure is negative."""
        parts = [self.kept, self.duplicates, self.over_cap, *self.drops.values()]
        if self.read != sum(parts) or min(parts) < 0:
            raise OutputError(
                f"the books do not balance: read {self.read} is not kept {self.kept} + duplicates {self.duplicates}"
                f" + over the cap {self.over_cap} + dropped {dict(sorted(self.drops.items()))}"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the books as plain data, keys in a fixed order."""
        return {
            "read": self.read,
            "kept": self.kept,
            "duplicates": self.duplicates,
            "over_cap": self.over_cap,
            "drops": dict(sorted(self.drops.items())),
            "notes": dict(sorted(self.notes.items())),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Books:
        """Return the books that `to_dict` wrote."""
        return cls(**{**data, "drops": Counter(data["drops"]), "notes": Counter(data["notes"])})


def group(occurrences: Iterable[Occurrence], seed: int, max_texts: int) -> tuple[pa.Table, Books]:
    """Return one row an image (schema `GROUPS`, sorted by image_id), and the books of its texts.

    Of an image's distinct texts the `max_texts` with the smallest `text_hash` stay, in that order (equal hashes: by
    text). A text keeps the first of its sources (alt, title, data-image-title, then others by name), a row the
    smallest page_url. The books count kept, duplicates and over_cap; reading counted the rest.
    """
    images: dict[str, _Image] = {}
    for occurrence in occurrences:
        image = images.get(occurrence.image_id)
        if image is None:
            image = images[occurrence.image_id] = _Image()
        image.meet(occurrence.image_url, occurrence.page_url, occurrence.image_ref)
        image.add(occurrence.source, occurrence.text, 1)
    return _tabulate(images, seed, max_texts)


def merge_groups(tables: Iterable[pa.Table], seed: int, max_texts: int) -> tuple[pa.Table, Books]:
    """Return grouped tables as one, and what to add to the sum of their books.

    The result equals grouping all occurrences at once, if every table was grouped with the same seed and max_texts.
    """
    table = pa.concat_tables([GROUPS.empty_table(), *tables]).sort_by("image_id")
    alone = _alone(table["image_id"])
    if alone.all():
        return table, Books()
    images: dict[str, _Image] = {}
    kept = copies = 0
    for batch in table.filter(pa.array(~alone)).to_batches():
        for row in batch.to_pylist():
            image = images.setdefault(row["image_id"], _Image())
            image.meet(row["image_url"], row["page_url"], row["image_ref"])
            for text, count in zip(row["texts"], row["copies"], strict=True):
                image.add(text["source"], text["text"], count)
            kept += len(row["texts"])
            copies += sum(row["copies"])
    merged, books = _tabulate(images, seed, max_texts)
    books.kept -= kept
    books.duplicates -= copies - kept
    return pa.concat_tables([table.filter(pa.array(alone)), merged]).sort_by("image_id"), books


class _Image:
    """All that was seen of one image: `texts` maps each distinct text to its first source and its occurrences."""

    __slots__ = ("image_ref", "image_url", "page_url", "texts")

    def __init__(self) -> None:
        self.image_url: str | None = None
        self.page_url: str | None = None
        self.image_ref: str | None = None
        self.texts: dict[str, tuple[str, int]] = {}

    def meet(self, image_url: str | None, page_url: str | None, image_ref: str | None) -> None:
        self.image_url = _smallest(self.image_url, image_url)
        self.page_url = _smallest(self.page_url, page_url)
        self.image_ref = _smallest(self.image_ref, image_ref)

    def add(self, source: str, text: str, copies: int) -> None:
        before = self.texts.get(text)
        if before is None:
            self.texts[text] = source, copies
        else:
            self.texts[text] = min(before[0], source, key=_source_order), before[1] + copies


def _tabulate(images: Mapping[str, _Image], seed: int, max_texts: int) -> tuple[pa.Table, Books]:
    """Return the rows of grouped images, and where the occurrences of their texts went."""
    books = Books()
    columns: list[list[Any]] = [[] for _ in GROUPS]
    for identity in sorted(images):
        image = images[identity]
        ranked = list(image.texts)
        if len(ranked) > 1:
            ranked.sort(key=lambda text, identity=identity: (text_hash(seed, identity, text), text))  # type: ignore[misc]
        texts = [{"source": image.texts[text][0], "text": text} for text in ranked[:max_texts]]
        copies = [image.texts[text][1] for text in ranked[:max_texts]]
        row = (identity, image.image_url, image.page_url, image.image_ref, texts, copies)
        for column, value in zip(columns, row, strict=True):
            column.append(value)
        books.kept += len(texts)
        books.duplicates += sum(copies) - len(texts)
        books.over_cap += sum(image.texts[text][1] for text in ranked[max_texts:])
    return pa.table(columns, schema=GROUPS), books


def _alone(sorted_ids: pa.ChunkedArray) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Tell for each of the sorted ids whether no other row has it."""
    if not len(sorted_ids):
        return np.ones(0, dtype=np.bool_)
    differs = pc.not_equal(sorted_ids.slice(1), sorted_ids.slice(0, len(sorted_ids) - 1)).to_numpy()
    edges = np.concatenate([[True], differs, [True]])
    return np.asarray(edges[1:] & edges[:-1], dtype=np.bool_)


def _smallest(one: str | None, other: str | None) -> str | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)


def _source_order(source: str) -> tuple[int, str]:
    return SOURCE_RANK.get(source, len(SOURCE_RANK)), source
