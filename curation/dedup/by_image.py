"""Groups occurrences by image, with a maximum number of texts per image.

Grouping is associative: if the input is grouped in parts and the groups are merged in any order, the rows and counters
are the same.
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

# A row of `pairs`, and the number of occurrences of each of its texts.
GROUPS = SCHEMAS["pairs"].append(pa.field("copies", pa.list_(pa.int64())))
PRUNE_FACTOR = 64  # an image with more texts than this times the cap is pruned to the cap
SOURCE_RANK = {"alt": 0, "title": 1, "data-image-title": 2}


def group(occurrences: Iterable[Occurrence], seed: int, max_texts: int) -> tuple[pa.Table, Counters]:
    """Return one row per image (schema `GROUPS`, sorted by image_id), and the counters of the texts.

    An image keeps the `max_texts` distinct texts with the smallest `text_hash`, in this order; equal hashes are ordered
    by text. A text keeps the first of its sources (alt, title, data-image-title, then others by name), and a row the
    smallest page_url. The counters are kept, duplicates and over_cap; the reader has counted the rest.
    """
    images: dict[str, _Image] = {}
    for occurrence in occurrences:
        reference = occurrence.reference
        image = images.get(reference)
        if image is None:
            image = images[reference] = _Image()
        elif len(image.texts) > PRUNE_FACTOR * max_texts:
            image.prune(image_id(reference), seed, max_texts)
        image.merge_references(occurrence.image_url, occurrence.page_url, occurrence.image_ref)
        image.add(occurrence.source, occurrence.text, 1)
    return _tabulate({image_id(reference): image for reference, image in images.items()}, seed, max_texts)


def merge_groups(tables: Iterable[pa.Table], seed: int, max_texts: int) -> tuple[pa.Table, Counters]:
    """Return grouped tables as one, and the counters to add to the sum of the tables' counters.

    The result is the same as grouping all occurrences at once, if all tables were grouped with the same seed and
    max_texts.
    """
    table = pa.concat_tables([GROUPS.empty_table(), *tables]).sort_by("image_id")
    unique = _is_unique(table["image_id"])
    if unique.all():
        return table, Counters()
    images: dict[str, _Image] = {}
    num_kept = num_copies = 0
    for batch in table.filter(pa.array(~unique)).to_batches():
        for row in batch.to_pylist():
            image = images.setdefault(row["image_id"], _Image())
            image.merge_references(row["image_url"], row["page_url"], row["image_ref"])
            for text, count in zip(row["texts"], row["copies"], strict=True):
                image.add(text["source"], text["text"], count)
            num_kept += len(row["texts"])
            num_copies += sum(row["copies"])
    merged, counters = _tabulate(images, seed, max_texts)
    counters.kept -= num_kept
    counters.duplicates -= num_copies - num_kept
    return pa.concat_tables([table.filter(pa.array(unique)), merged]).sort_by("image_id"), counters


def finish(groups: pa.Table) -> pa.Table:
    """Return grouped rows with the schema of the table `pairs`."""
    return groups.select(SCHEMAS["pairs"].names)


class _Image:
    """The occurrences of one image; `texts` maps each distinct text to its first source and its occurrences."""

    __slots__ = ("image_ref", "image_url", "over_cap", "page_url", "texts")

    def __init__(self) -> None:
        self.image_url: str | None = None
        self.page_url: str | None = None
        self.image_ref: str | None = None
        self.texts: dict[str, tuple[str, int]] = {}
        self.over_cap = 0  # occurrences of pruned texts

    def merge_references(self, image_url: str | None, page_url: str | None, image_ref: str | None) -> None:
        if image_url is not None and (self.image_url is None or image_url < self.image_url):
            self.image_url = image_url
        if page_url is not None and (self.page_url is None or page_url < self.page_url):
            self.page_url = page_url
        if image_ref is not None and (self.image_ref is None or image_ref < self.image_ref):
            self.image_ref = image_ref

    def prune(self, identity: str, seed: int, max_texts: int) -> None:
        """Remove the texts over the cap.

        As texts arrive, the largest hash under the cap only shrinks, so a removed text would not return under it.
        """
        ranked = _ranked(identity, self.texts, seed)
        for text in ranked[max_texts:]:
            self.over_cap += self.texts.pop(text)[1]

    def add(self, source: str, text: str, copies: int) -> None:
        known = self.texts.get(text)
        if known is None:
            self.texts[text] = source, copies
        else:
            self.texts[text] = min(known[0], source, key=_source_order), known[1] + copies


def _tabulate(images: Mapping[str, _Image], seed: int, max_texts: int) -> tuple[pa.Table, Counters]:
    """Return the rows of grouped images, and the counters of their texts."""
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
    """Return the distinct texts of an image in ascending order of their hash."""
    ranked = list(texts)
    if len(ranked) > 1:  # most images have one text and need no hash
        ranked.sort(key=lambda text: (text_hash(seed, identity, text), text))
    return ranked


def _is_unique(sorted_ids: pa.ChunkedArray) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return, for each of the sorted ids, whether it occurs only once."""
    if not len(sorted_ids):
        return np.ones(0, dtype=np.bool_)
    differs = pc.not_equal(sorted_ids.slice(1), sorted_ids.slice(0, len(sorted_ids) - 1)).to_numpy()
    edges = np.concatenate([[True], differs, [True]])
    return np.asarray(edges[1:] & edges[:-1], dtype=np.bool_)


def _source_order(source: str) -> tuple[int, str]:
    return SOURCE_RANK.get(source, len(SOURCE_RANK)), source
