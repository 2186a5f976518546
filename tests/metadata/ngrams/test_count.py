from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.lake.shuffle import spread
from metadata.ngrams import count as ngrams
from metadata.ngrams.count import GRAMS, NgramCounter, count_texts, sum_grams
from support.ngrams import TEXTS, oracle_counts


def as_dict(table):
    rows = [((row["first"], row["second"]), row["count"]) for row in table.to_pylist()]
    assert len(dict(rows)) == len(rows), "n-grams are distinct"
    return dict(rows)


@settings(deadline=None)
@given(TEXTS, st.integers(1, 30), st.integers(1, 6))
def test_the_counts_of_windows_of_any_size_sum_to_the_total(texts, window, vocabulary):
    tables = list(count_texts(texts, NgramCounter(window, vocabulary)))
    assert sum(sum(as_dict(table).values()) for table in tables) == sum(oracle_counts(texts).values())
    assert as_dict(sum_grams(tables)) == oracle_counts(texts)


@settings(deadline=None)
@given(TEXTS, st.integers(1, 5), st.integers(1, 9), st.integers(1, 9))
def test_the_number_of_rows_summed_at_a_time_does_not_matter(texts, window, pending, grouped):
    tables = list(count_texts(texts, NgramCounter(window)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ngrams, "GROUPED", grouped)
        assert as_dict(sum_grams(tables, pending)) == oracle_counts(texts)


@settings(deadline=None)
@given(TEXTS, st.sampled_from([1, 2, 8]), st.sampled_from(["first", "second"]))
def test_a_word_is_in_the_same_bucket_for_every_table(texts, buckets, column):
    grams = sum_grams(count_texts(texts))
    grams = grams if column == "first" else grams.filter(pa.compute.is_valid(grams["second"]))
    cut = [list(spread(table, column, buckets)) for table in (grams, grams.slice(1))]
    assert len(cut[0]) == len(cut[1]) == buckets
    assert as_dict(pa.concat_tables(cut[0])) == as_dict(grams)
    whole = [set(table[column].to_pylist()) for table in cut[0]]
    assert sum(map(len, whole)) == len(set().union(*whole))
    assert all(set(table[column].to_pylist()) <= words for table, words in zip(cut[1], whole, strict=True))


def test_no_text_gives_no_ngrams():
    (table,) = count_texts([])
    assert table.schema == GRAMS
    assert table.num_rows == 0
    assert sum_grams([]).num_rows == sum_grams([table]).num_rows == 0


def test_a_window_is_full_at_the_limit_of_words_or_of_distinct_words():
    texts = [["a", "b"]] * 4 + [["c", "d"]] * 2
    assert [sum(table["count"].to_pylist()) for table in count_texts(texts, NgramCounter(4))] == [6, 6, 6, 0]
    assert len(list(count_texts(texts, NgramCounter(vocabulary=3)))) == 2
