from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metadata.limits import Limits
from metadata.ngrams.count import count_texts, sum_grams
from metadata.ngrams.rank import Chunk, percentile, percentile_of_chunks, rank_bigrams, rank_unigrams
from metadata.ngrams.tokens import BREAK
from support.ngrams import TEXTS, oracle_counts

FLOATS = st.sampled_from([-3.0, 0.0, 0.1, 0.2, 0.3, 7.5]) | st.floats(-50, 50)


def grams(texts):
    return sum_grams(count_texts(text.split() if isinstance(text, str) else text for text in texts))


def oracle_percentile(values, percent):
    """Interpolate linearly between the two values around the rank, as numpy does by default."""
    values = sorted(values)
    rank = Fraction(percent, 100) * (len(values) - 1)
    low = math.floor(rank)
    high = min(low + 1, len(values) - 1)
    return values[low] + (values[high] - values[low]) * float(rank - low)


def oracle_bigrams(texts, score, floor):
    counts = oracle_counts(texts)
    bigrams = {pair: n for pair, n in counts.items() if pair[1] is not None}
    positions = sum(bigrams.values())
    pmi = {(a, b): math.log2(n * positions / (counts[a, None] * counts[b, None])) for (a, b), n in bigrams.items()}
    if score == "pmi":
        scores = {pair: value for pair, value in pmi.items() if value >= floor}
    else:
        base = oracle_percentile(pmi.values(), 30) if pmi else 0
        scores = {pair: (bigrams[pair] + 1) ** 0.7 * (value - base) for pair, value in pmi.items()}
    return {f"{a} {b}": value for (a, b), value in scores.items()}


@settings(deadline=None)
@given(TEXTS, st.sampled_from([0.0, 0.1, 0.5, 1.0]), st.integers(0, 5))
def test_unigrams_are_ranked_by_count_then_code_points_within_share_and_floor(texts, share, floor):
    unigrams = {word: n for (word, second), n in oracle_counts(texts).items() if second is None}
    ranked = sorted(unigrams.items(), key=lambda item: (-item[1], item[0]))
    expected = [(word, n) for word, n in ranked[: math.floor(share * len(ranked))] if n >= floor]
    limits = Limits(unigram_share=share, unigram_min_count=floor)
    assert list(rank_unigrams(grams(texts), limits)) == expected


@settings(max_examples=100, deadline=None)
@given(TEXTS, st.sampled_from(["rescored", "pmi"]), st.sampled_from([-9.0, 0.5, 1.0, 2.0]))
def test_bigrams_are_ranked_by_score_then_code_points(texts, score, floor):
    limits = Limits(bigram_score=score, bigram_min_pmi=floor)
    found = list(rank_bigrams(grams(texts), limits))
    expected = oracle_bigrams(texts, score, floor)
    assert len(dict(found)) == len(found)
    for name, value in expected.items():
        assert (name in dict(found)) == (value > 0) or abs(value) < 1e-9
    assert all(value == pytest.approx(expected[name], abs=1e-9) for name, value in found)
    assert [name for name, _ in found] == [name for name, _ in sorted(found, key=lambda item: (-item[1], item[0]))]


def test_ties_are_broken_by_code_points():
    limits = Limits(bigram_score="pmi", bigram_min_pmi=0.1)
    table = grams(["z y", "b a", "Z Y", "é x", "𐌰 x2", "ｚ w"])
    assert [name for name, _ in rank_bigrams(table, limits)] == ["Z Y", "b a", "z y", "é x", "ｚ w", "𐌰 x2"]


def test_rescoring_prefers_frequent_pairs_and_plain_pmi_rare_ones():
    text = f"New York is big {BREAK} " * 50 + "quaint zither " + f"{BREAK} it is {BREAK} is it {BREAK} big it " * 50
    table = grams([text])
    assert next(rank_bigrams(table, Limits()))[0] == "New York"
    assert next(rank_bigrams(table, Limits(bigram_score="pmi", bigram_min_pmi=0)))[0] == "quaint zither"


def test_a_pmi_equal_to_the_floor_is_accepted():
    # N = 4, c12 = 1, c1 = c2 = 1: PMI is exactly 2.
    table = grams(["a b", "c d", "e f", "g h"])
    ranked = {
        floor: len(list(rank_bigrams(table, Limits(bigram_score="pmi", bigram_min_pmi=floor))))
        for floor in (2.0, math.nextafter(2.0, 3))
    }
    assert ranked == {2.0: 4, math.nextafter(2.0, 3): 0}


def test_the_words_of_a_bigram_are_joined_as_the_language_writes_them():
    table = grams(["東京 都 に 東京 都 が"])
    limits = Limits(bigram_score="pmi", bigram_min_pmi=0)
    assert "東京都" in dict(rank_bigrams(table, limits, joiner=""))
    assert "東京་都" in dict(rank_bigrams(table, limits, joiner="་"))


def test_no_ngrams_give_no_candidates():
    assert not list(rank_unigrams(grams([]), Limits(unigram_share=1.0)))
    assert not list(rank_bigrams(grams([]), Limits()))


@settings(deadline=None)
@given(st.lists(FLOATS, min_size=1, max_size=50))
def test_the_percentile_is_interpolated_as_by_numpy(values):
    found = percentile(np.array(values))
    assert found == pytest.approx(np.percentile(values, 30), abs=1e-9)
    assert found == pytest.approx(oracle_percentile(values, 30), abs=1e-9)


@settings(deadline=None)
@given(st.lists(st.lists(FLOATS, min_size=1, max_size=30), min_size=1, max_size=5), st.integers(1, 9))
def test_the_percentile_of_chunks_is_bit_identical(buckets, size):
    chunks = [sorted(values)[start : start + size] for values in buckets for start in range(0, len(values), size)]
    read = []

    def reader(number):
        read.append(number)
        return np.array(chunks[number])

    found = percentile_of_chunks([Chunk(len(chunk), chunk[0], chunk[-1]) for chunk in chunks], reader)
    assert found == percentile(np.concatenate(chunks))
    assert all(chunks[number][0] < chunks[number][-1] for number in read), "a chunk of one value need not be read"


def test_only_the_chunks_around_the_percentile_are_read():
    values = np.sort(np.random.default_rng(0).normal(size=10_000))
    chunks, read = np.split(values, 100), []
    bounds = [Chunk(len(chunk), chunk[0], chunk[-1]) for chunk in chunks]
    assert percentile_of_chunks(bounds, lambda number: read.append(number) or chunks[number]) == percentile(values)
    assert len(read) <= 2
