from __future__ import annotations

import math
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from curation.errors import UsageError
from metadata.limits import ENGLISH, Limits, resolve_limits, share_of


def test_the_published_values_are_the_defaults():
    english, german = resolve_limits("en", "en"), resolve_limits("de", "de")
    assert (english.unigram_min_count, english.unigram_share, english.unigram_cap) == (100, 1, 251_465)
    assert (english.bigram_min_pmi, english.bigram_share, english.bigram_cap) == (30, None, 100_646)
    assert (english.title_min_views, english.title_share, english.title_cap) == (70, 1, 61_235)
    assert (german.unigram_min_count, german.unigram_share, german.unigram_cap) == (0, 0.1, 251_465)
    assert (german.bigram_share, german.bigram_cap) == (0.4, 100_646)
    assert german.bigram_min_pmi > 30, "above 30, where English has 30 and above"
    assert (german.title_min_views, german.title_share, german.title_cap) == (0, 0.76, 61_235)
    assert english.bigram_score == german.bigram_score == "rescored"
    assert resolve_limits("simple", "en") == german, "a Wikipedia of its own, though its list merges into English"


def test_overrides_of_the_wikipedia_precede_those_of_the_key_and_the_default():
    overrides = {
        "default": {"unigram_cap": 1, "title_cap": 1, "bigram_cap": 1},
        "zh": {"title_cap": 2, "bigram_cap": 2},
    }
    overrides["zh_yue"] = {"bigram_cap": 3}
    limits = resolve_limits("zh_yue", "zh", overrides, "pmi")
    assert (limits.unigram_cap, limits.title_cap, limits.bigram_cap, limits.bigram_score) == (1, 2, 3, "pmi")
    assert resolve_limits("en", "en", overrides).unigram_min_count == ENGLISH.unigram_min_count


def test_an_unknown_limit_is_refused_by_its_key():
    with pytest.raises(UsageError, match=r"metadata\.limits\.en\.unigrams: no such limit"):
        resolve_limits("en", "en", {"en": {"unigrams": 3}})


@given(st.integers(0, 10**9), st.integers(0, 10**4))
@example(100, 2900)  # 0.29 · 100 is 28.999999999999996 in floating point
def test_a_share_is_computed_with_the_decimal_number_as_written(number, ten_thousandths):
    share = ten_thousandths / 10**4
    assert share_of(share, number) == math.floor(Decimal(ten_thousandths) / 10**4 * number)


def test_the_maximum_number_of_bigrams_depends_on_the_score():
    assert [Limits().max_bigrams(n) for n in (0, 2, 3, 10**9)] == [0, 0, 1, 100_646]
    assert Limits(bigram_score="pmi").max_bigrams(3) == ENGLISH.max_bigrams(3) == 100_646
