"""Grouping occurrences by image, at most so many texts an image.

Grouping is associative: inputs may be grouped in any pieces and the groups merged in any order, rows and books come
out the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.hashing import text_hash
from curation.lake.schemas import SCHEMAS
from curation.occurrence import Counters, Occurrence
from curation.urls import image_id

# A row of `pairs`, and how often each of its texts occurred.
GROUPS = SCHEMAS["pairs"].append(pa.field("copies", pa.list_(pa.int64())))
PRUNE = 64  # texts held of one image, times its cap, before those over the cap are let go
SOURCE_RANK = {"alt": 0, "title": 1, "data-image-title": 2}


def group(occurrences: Iterable[Occurrence], seed: int, max_texts: int) -> tuple[pa.Table, Counters]:
    """Return one row an image (schema `GROUPS`, sorted by image_id), and the books of its texts.

    Of an image's distinct texts the `max_texts` with the smallest `text_hash` stay, in that order (equal hashes: by
    text). A text keeps the first of its sources (alt, title, data-image-title, then others by name), a row the
    smallest page_url. The books count kept, duplicates and over_cap; reading counted the rest.
    """
    images: dict[str, _Image] = {}
    for occurrence in occurrences:
        reference = occurrence.reference
        image = images.get(reference)
        if image is None:
            image = images[reference] = _Image()
        elif len(image.texts) > PRUNE * max_texts:
            image.prune(image_id(reference), seed, max_texts)
        image.meet(occurrence.image_url, occurrence.page_url, occurrence.image_ref)
        image.add(occurrence.source, occurrence.text, 1)
    return _tabulate({image_id(reference): image for reference, image in images.items()}, seed, max_texts)


def merge_groups(tables: Iterable[pa.Table], seed: int, max_texts: int) -> tuple[pa.Table, Counters]:
    """Return grouped tables as one, and what to add to the sum of their books.

    The result equals grouping all occurrences at once, if every table was grouped with the same seed and max_texts.
    """
    table = pa.concat_tables([GROUPS.empty_table(), *tables]).sort_by("image_id")
    alone = _alone(table["image_id"])
    if alone.all():
        return table, Counters()
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
    merged, counters = _tabulate(images, seed, max_texts)
    counters.kept -= kept
    counters.duplicates -= copies - kept
    return pa.concat_tables([table.filter(pa.array(alone)), merged]).sort_by("image_id"), counters


def finish(groups: pa.Table) -> pa.Table:
    """Return grouped rows as they are published (schema `pairs`)."""
    return groups.select(SCHEMAS["pairs"].names)


class _Image:
    """All that was seen of one image: `texts` maps each distinct text to its first source and its occurrences."""

    __slots__ = ("image_ref", "image_url", "over_cap", "page_url", "texts")

    def __init__(self) -> None:
        self.image_url: str | None = None
        self.page_url: str | None = None
        self.image_ref: str | None = None
        self.texts: dict[str, tuple[str, int]] = {}
        self.over_cap = 0  # occurrences of texts let go

    def meet(self, image_url: str | None, page_url: str | None, image_ref: str | None) -> None:
        if image_url is not None and (self.image_url is None or image_url < self.image_url):
            self.image_url = image_url
        if page_url is not None and (self.page_url is None or page_url < self.page_url):
            self.page_url = page_url
        if image_ref is not None and (self.image_ref is None or image_ref < self.image_ref):
            self.image_ref = image_ref

    def prune(self, identity: str, seed: int, max_texts: int) -> None:
        """Let texts over the cap go: the more texts are seen, the smaller is the largest rank that stays."""
        ranked = _ranked(identity, self.texts, seed)
        for text in ranked[max_texts:]:
            self.over_cap += self.texts.pop(text)[1]

    def add(self, source: str, text: str, copies: int) -> None:
        before = self.texts.get(text)
        if before is None:
            self.texts[text] = source, copies
        else:
            self.texts[text] = min(before[0], source, key=_source_order), before[1] + copies


def _tabulate(images: Mapping[str, _Image], seed: int, max_texts: int) -> tuple[pa.Table, Counters]:
    """Return the rows of grouped images, and where the occurrences of their texts went."""
    counters = Counters()
    rows: list[tuple[str, str | None, str | None, str | None]] = []
    sources, texts, copies, ends = [], [], [], [0]
    for identity in sorted(images):
        image = images[identity]
        ranked = _ranked(identity, image.texts, seed)
        for text in ranked[:max_texts]:
            source, count = image.texts[text]
            sources.append(source)
            texts.append(text)
            copies.append(count)
        rows.append((identity, image.image_url, image.page_url, image.image_ref))
        ends.append(len(texts))
        counters.over_cap += image.over_cap + sum(image.texts[text][1] for text in ranked[max_texts:])
    counters.kept = len(texts)
    counters.duplicates = sum(copies) - len(texts)
    names = [pa.array(column, pa.string()) for column in zip(*rows, strict=True)] or [pa.array([], pa.string())] * 4
    flat = pa.StructArray.from_arrays(
        [pa.array(sources, pa.string()), pa.array(texts, pa.string())], ["source", "text"]
    )
    offsets = pa.array(ends, pa.int32())
    lists = [pa.ListArray.from_arrays(offsets, values) for values in (flat, pa.array(copies, pa.int64()))]
    return pa.Table.from_arrays([*names, *lists], GROUPS.names).cast(GROUPS), counters


def _ranked(identity: str, texts: Iterable[str], seed: int) -> list[str]:
    """Return the distinct texts of an image by ascending hash."""
    ranked = list(texts)
    if len(ranked) > 1:  # most images have one text, which needs no hash
        ranked.sort(key=lambda text: (text_hash(seed, identity, text), text))
    return ranked


def _alone(sorted_ids: pa.ChunkedArray) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Tell for each of the sorted ids whether no other row has it."""
    if not len(sorted_ids):
        return np.ones(0, dtype=np.bool_)
    differs = pc.not_equal(sorted_ids.slice(1), sorted_ids.slice(0, len(sorted_ids) - 1)).to_numpy()
    edges = np.concatenate([[True], differs, [True]])
    return np.asarray(edges[1:] & edges[:-1], dtype=np.bool_)


def _source_order(source: str) -> tuple[int, str]:
    return SOURCE_RANK.get(source, len(SOURCE_RANK)), source
