"""Small tables of counts, and a slow oracle for thresholds."""

from __future__ import annotations

from fractions import Fraction

import pyarrow as pa

from curation.balance.counts import LanguageCounts, by_language
from curation.balance.keep_model import KeepProbabilities
from curation.lake.schemas import SCHEMAS


def counts_table(*rows):
    """Return a `counts` table of (lang, entry_id, count) rows, given in any order."""
    names = ("lang", "entry_id", "count")
    return pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in sorted(rows)], SCHEMAS["counts"])


def counts_of(**langs):
    """Return a `counts` table of languages whose entries 0, 1, … have these counts."""
    return counts_table(*((lang, i, count) for lang, counts in langs.items() for i, count in enumerate(counts)))


def languages(table) -> list[LanguageCounts]:
    return list(by_language(table.to_batches()))


def seen(table):
    """Return the counts of each language, as `thresholds` takes them."""
    return {part.lang: part.counts for part in languages(table)}


def model_of(thresholds, table) -> KeepProbabilities:
    return KeepProbabilities.build(thresholds, languages(table))


def ids_array(*ids):
    return pa.array(ids, pa.list_(pa.int32()))


def column(table, name):
    """Return one column, by language, of a table with one row per language."""
    return dict(zip(table["lang"].to_pylist(), table[name].to_pylist(), strict=True))


def oracle_t(counts, p):
    """Return t by trying every k in exact fractions: the first with the smallest distance."""
    ascending = sorted(count for count in counts if count)
    distances = [abs(Fraction(sum(ascending[: k + 1]), sum(ascending)) - p) for k in range(len(ascending))]
    return ascending[distances.index(min(distances))]


def matches_batch(rows):
    """Return a `matches` batch of (image_id, [(text, lang, entry ids)]) rows."""
    return pa.RecordBatch.from_pylist(
        [
            {
                "image_id": image_id,
                "image_url": f"http://h/{image_id}.png",
                "page_url": None,
                "image_ref": None,
                "texts": [
                    {"source": "alt", "text": text, "lang": lang, "lang_score": 0.5, "entry_ids": ids}
                    for text, lang, ids in texts
                ],
            }
            for image_id, texts in rows
        ],
        SCHEMAS["matches"],
    )
