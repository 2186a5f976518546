from __future__ import annotations

import math
import unicodedata
from collections import Counter
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metadata.limits import Limits
from metadata.ngrams import NgramCounts, count, merge_grams, rank_bigrams, rank_unigrams, word_runs

WORDS = st.sampled_from(["a", "b", "B", "é", "नमस्ते", "don", "می\u200cخواهم", "文", "1990", "e\u0301"])
GAPS = st.sampled_from([" ", " ", " ", "\n", "\u00a0", "\u3000", ", ", ".", "-", " — ", "。", "$", "’", "  ", " 😀 "])
TEXTS = st.lists(st.tuples(WORDS, GAPS).map("".join), max_size=30).map("".join)
UNLIMITED = Limits(unigram_share=1.0)


def oracle_tokens(text):
    """Every mark its own token, one character after the other."""
    tokens, word = [], ""
    for char in unicodedata.normalize("NFC", text) + " ":
        mark = unicodedata.category(char)[0] in "PS"
        if mark or char.isspace():
            tokens += [word] if word else []
            tokens += [None] if mark else []
            word = ""
        else:
            word += char
    return tokens


def oracle_counts(texts):
    unigrams, bigrams = Counter(), Counter()
    for text in texts:
        tokens = oracle_tokens(text)
        unigrams.update(token for token in tokens if token)
        bigrams.update((a, b) for a, b in pairwise(tokens) if a and b)
    return unigrams, bigrams


def oracle_percentile(values, percent):
    """Linear interpolation between the two values around the rank, as numpy's default defines it."""
    values = sorted(values)
    rank = Fraction(percent, 100) * (len(values) - 1)
    low = math.floor(rank)
    high = min(low + 1, len(values) - 1)
    return values[low] + (values[high] - values[low]) * float(rank - low)


def oracle_bigrams(texts, score, floor):
    unigrams, bigrams = oracle_counts(texts)
    positions = sum(bigrams.values())
    pmi = {(a, b): math.log2(n * positions / (unigrams[a] * unigrams[b])) for (a, b), n in bigrams.items()}
    if score == "pmi":
        scores = {pair: value for pair, value in pmi.items() if value >= floor}
    else:
        base = oracle_percentile(pmi.values(), 30) if pmi else 0
        scores = {pair: (bigrams[pair] + 1) ** 0.7 * (value - base) for pair, value in pmi.items()}
    return {f"{a} {b}": value for (a, b), value in scores.items()}


@given(st.lists(TEXTS, max_size=4))
def test_counts_are_those_of_the_tokens(texts):
    counts = count(texts)
    unigrams, bigrams = oracle_counts(texts)
    assert counts.unigrams == unigrams
    assert counts.bigrams == {f"{a} {b}": n for (a, b), n in bigrams.items()}
    assert counts.positions == sum(bigrams.values())
    assert len(counts) == len(unigrams) + len(bigrams)


def test_marks_break_the_chain_and_are_no_words():
    assert list(word_runs("The dog's tail, the U.S. army\nand $5 © now")) == [
        ["The", "dog"], ["s", "tail"], ["the", "U"], ["S"], ["army", "and"], ["5"], ["now"],
    ]  # fmt: skip


@given(st.lists(TEXTS, max_size=4), st.lists(TEXTS, max_size=4))
def test_counts_of_parts_add_up_as_counters_and_as_tables(some, others):
    whole, parts = count(some + others), (count(some), count(others))
    assert parts[0] + parts[1] == whole
    merged = merge_grams(part.table() for part in parts)
    assert merged == merge_grams([whole.table()])
    rows = [(row["order"], row["gram"], row["count"]) for row in merged.to_pylist()]
    assert rows == sorted((1, gram, n) for gram, n in whole.unigrams.items()) + sorted(
        (2, gram, n) for gram, n in whole.bigrams.items()
    )


@given(st.lists(TEXTS, max_size=4), st.sampled_from([0.0, 0.1, 0.5, 1.0]), st.integers(0, 5))
def test_unigrams_rank_by_count_then_code_points_within_share_and_floor(texts, share, floor):
    unigrams, _ = oracle_counts(texts)
    ranked = sorted(unigrams.items(), key=lambda item: (-item[1], item[0]))
    expected = [(word, n) for word, n in ranked[: math.floor(share * len(ranked))] if n >= floor]
    limits = Limits(unigram_share=share, unigram_min_count=floor)
    assert list(rank_unigrams(merge_grams([count(texts).table()]), limits)) == expected


@settings(max_examples=100, deadline=None)
@given(st.lists(TEXTS, max_size=4), st.sampled_from(["rescored", "pmi"]), st.sampled_from([-9.0, 0.5, 1.0, 2.0]))
def test_bigrams_rank_by_their_score_then_code_points(texts, score, floor):
    limits = Limits(bigram_score=score, bigram_min_pmi=floor)
    found = list(rank_bigrams(merge_grams([count(texts).table()]), limits))
    expected = oracle_bigrams(texts, score, floor)
    assert len(dict(found)) == len(found)
    for name, value in expected.items():
        assert (name in dict(found)) == (value > 0) or abs(value) < 1e-9
    assert all(value == pytest.approx(expected[name], abs=1e-9) for name, value in found)
    assert [name for name, _ in found] == [name for name, _ in sorted(found, key=lambda item: (-item[1], item[0]))]


def test_ties_follow_code_points():
    limits = Limits(bigram_score="pmi", bigram_min_pmi=0.1)
    grams = merge_grams([count(["z y", "b a", "Z Y", "é x", "𐌰 x2", "ｚ w"]).table()])
    assert [name for name, _ in rank_bigrams(grams, limits)] == ["Z Y", "b a", "z y", "é x", "ｚ w", "𐌰 x2"]


def test_frequent_pairs_win_re_scored_and_rare_ones_by_plain_pmi():
    text = "New York is big . " * 50 + "quaint zither . " + "it is . is it . big it . it big . " * 50
    grams = merge_grams([count([text]).table()])
    assert next(rank_bigrams(grams, Limits()))[0] == "New York"
    assert next(rank_bigrams(grams, Limits(bigram_score="pmi", bigram_min_pmi=0)))[0] == "quaint zither"


def test_a_pmi_of_exactly_the_floor_reaches_it():
    # N = 4, c12 = 1, c1 = c2 = 1: PMI is exactly 2.
    grams = merge_grams([count(["a b", "c d", "e f", "g h"]).table()])
    ranked = {
        floor: len(list(rank_bigrams(grams, Limits(bigram_score="pmi", bigram_min_pmi=floor))))
        for floor in (2.0, math.nextafter(2.0, 3))
    }
    assert ranked == {2.0: 4, math.nextafter(2.0, 3): 0}


def test_parts_are_joined_without_space_where_a_language_writes_none():
    grams = merge_grams([count(["東京 都 に 東京 都 が"]).table()])
    assert "東京都" in dict(rank_bigrams(grams, Limits(bigram_score="pmi", bigram_min_pmi=0), joiner=""))


def test_no_text_gives_no_grams():
    grams = merge_grams([NgramCounts().table()])
    assert grams.num_rows == 0
    assert not list(rank_unigrams(grams, UNLIMITED))
    assert not list(rank_bigrams(grams, UNLIMITED))
