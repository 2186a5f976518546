from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.balance.counts import LanguageCounts, add_up, by_language, counts_table
from curation.errors import InputError
from support.tables import counts_table as table_of
from support.tables import languages

rows_of = st.lists(
    st.tuples(st.sampled_from(["en", "de", "zh_yue", "other"]), st.integers(0, 6), st.integers(0, 9)),
    max_size=20,
    unique_by=lambda row: row[:2],
)


def rows(parts: list[LanguageCounts]) -> list[tuple[str, int, int]]:
    return [(part.lang, int(i), int(n)) for part in parts for i, n in zip(part.entry_ids, part.counts, strict=True)]


@given(rows_of, st.integers(1, 7))
def test_languages_are_independent_of_the_batches(found, size):
    parts = list(by_language(table_of(*found).to_batches(max_chunksize=size)))
    assert rows(parts) == sorted(row for row in found if row[2])
    assert len({part.lang for part in parts}) == len(parts)
    back = pa.concat_tables([table_of(), *map(counts_table, parts)])
    assert back.equals(table_of(*(row for row in found if row[2])))


@given(st.lists(rows_of, max_size=4))
def test_counts_add_up_in_any_order_and_grouping(parts):
    total = Counter()
    for found in parts:
        for lang, entry_id, count in found:
            total[lang, entry_id] += count
    streams = [languages(table_of(*found)) for found in parts]
    summed = list(add_up(streams))
    assert rows(summed) == [(*key, count) for key, count in sorted(total.items()) if count]
    assert rows(add_up(streams[::-1])) == rows(summed)
    assert rows(add_up([add_up(streams[:2]), *streams[2:]])) == rows(summed)


def test_counts_add_up_exactly_beyond_float_precision():
    big, one = (LanguageCounts("en", np.array([1], np.int32), np.array([n], np.int64)) for n in (2**53, 1))
    assert rows(add_up([[big], [one]])) == [("en", 1, 2**53 + 1)]


@pytest.mark.parametrize("found", [[("fr", 0, 1), ("en", 0, 1)], [("en", 1, 1), ("en", 0, 1)], [("en", 1, 1)] * 2])
def test_rows_out_of_order_are_refused(found):
    batches = [batch for row in found for batch in table_of(row).to_batches()]
    with pytest.raises(InputError, match="not sorted by language and entry"):
        list(by_language(batches))
