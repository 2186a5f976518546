from __future__ import annotations

import logging
import math
import random
from fractions import Fraction

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.balance.thresholds import entry_probability, keep_probability, p_to_t, t_to_p, thresholds
from curation.errors import UsageError
from curation.lake.schemas import SCHEMAS
from support.tables import column, counts_of, counts_table, ids_array, model_of, oracle_t, seen

small_counts = st.lists(st.integers(0, 12), min_size=1, max_size=12).filter(any)
wide_counts = st.lists(st.integers(0, 10**12), min_size=1, max_size=12).filter(any)
count_tables = st.lists(
    st.tuples(st.sampled_from(["en", "de", "zh_yue", "other"]), st.integers(0, 6), st.integers(0, 9)),
    max_size=20,
    unique_by=lambda row: row[:2],
)


def test_the_published_vectors():
    assert t_to_p([1, 2, 7, 10], 5) == Fraction(3, 20)
    assert p_to_t([1, 3, 6, 10], 0.15) == 3
    assert keep_probability([0.5, 0.3]) == 0.65
    assert p_to_t([0, 0, 0, 5000, 4000], 0.06) == 4000


@given(small_counts | wide_counts, small_counts | wide_counts, st.integers(1, 15) | st.integers(1, 10**12))
def test_t_equals_the_oracles_for_any_p_from_english(english, counts, t_en):
    p = t_to_p(english, t_en)
    assert p == Fraction(sum(count for count in english if count < t_en), sum(english))
    assert p_to_t(counts, p) == oracle_t(counts, p)


@given(small_counts, st.floats(0, 1) | st.sampled_from([0, 1, 0.05, 0.06, 0.1, 0.15, 0.2, 0.25, 0.5, 0.75]))
def test_t_equals_the_oracles_for_any_float_at_its_exact_value(counts, p):
    assert p_to_t(counts, p) == oracle_t(counts, Fraction(p))


def test_t_equals_the_oracles_in_thousands_of_small_cases_full_of_ties():
    dice = random.Random("thresholds")
    for _ in range(5000):
        english, counts = (dice.choices(range(1, 10), k=dice.randrange(1, 8)) for _ in range(2))
        p = t_to_p(english, dice.randrange(1, 12))
        assert p_to_t(counts, p) == oracle_t(counts, p)


def test_the_first_of_two_equally_near_shares_is_taken():
    assert p_to_t([1, 2, 1], 0.5) == 1  # F = 1/4, 2/4, 4/4
    assert p_to_t([3, 1], Fraction(5, 8)) == 1  # F = 1/4, 4/4: both 3/8 away
    assert p_to_t([3, 1], Fraction(5, 8) + Fraction(1, 10**30)) == 3


def test_shares_closer_than_float_precision_are_distinguished():
    big = 10**17
    assert float(Fraction(big, 2 * big + 1)) == 0.5
    assert p_to_t([big, big + 1], Fraction(big, 2 * big + 1)) == big
    assert p_to_t([big - 1, 2, big + 1], Fraction(1, 2)) == oracle_t([big - 1, 2, big + 1], Fraction(1, 2))


def test_extreme_shares():
    assert p_to_t([7, 0, 3, 9], 0) == 3
    assert p_to_t([7, 0, 3, 9], 1) == 9
    assert t_to_p([7, 3], 1) == 0
    assert t_to_p([7, 3], 100) == 1
    assert p_to_t([5], 0.3) == 5


@pytest.mark.parametrize("counts", [[], [0, 0]])
def test_without_counts_there_is_no_threshold(counts):
    with pytest.raises(ValueError, match="no entry was matched"):
        p_to_t(counts, 0.5)
    with pytest.raises(ValueError, match="no entry was matched"):
        t_to_p(counts, 5)


def test_thresholds_follow_the_english_share_and_english_keeps_its_own():
    table = thresholds(seen(counts_of(fr=[1, 3, 6, 10], en=[1, 2, 7, 10], xx=[0, 0])), t_en=5)
    assert table.schema == SCHEMAS["thresholds"]
    assert table.to_pylist() == [
        {"lang": "en", "t": 5, "p": 0.15, "matches": 20, "entries_seen": 4},
        {"lang": "fr", "t": 3, "p": 0.15, "matches": 20, "entries_seen": 4},
    ]


@pytest.mark.parametrize("parameter", ["tail_share", "p"])
def test_a_given_share_holds_for_every_language(parameter):
    counts = counts_of(fr=[1, 3, 6, 10], en=[1, 2, 7, 10], ja=[0, 0, 0, 5000, 4000])
    table = thresholds(seen(counts), **{parameter: 0.06})
    assert column(table, "t") == {"en": 1, "fr": 1, "ja": 4000}
    assert set(table["p"].to_pylist()) == {0.06}
    assert column(table, "entries_seen") == {"en": 4, "fr": 4, "ja": 2}


@given(count_tables, st.integers(1, 12))
def test_thresholds_are_those_of_the_oracle(rows, t_en):
    english = [count for lang, _, count in rows if lang == "en"]
    if not any(english):
        with pytest.raises(UsageError, match="no English matches"):
            thresholds(seen(counts_table(*rows)), t_en=t_en)
        return
    table = thresholds(seen(counts_table(*rows)), t_en=t_en)
    p = t_to_p(english, t_en)
    found = {lang: [n for key, _, n in rows if key == lang] for lang, _, count in sorted(rows) if count}
    assert column(table, "t") == {lang: t_en if lang == "en" else oracle_t(counts, p) for lang, counts in found.items()}
    assert column(table, "matches") == {lang: sum(counts) for lang, counts in found.items()}
    assert table["lang"].to_pylist() == sorted(found)


def test_fixed_gives_every_language_the_english_t():
    counts = counts_of(fr=[1, 3, 6, 10], en=[1, 2, 7, 10])
    table = thresholds(seen(counts), "fixed", t_en=5)
    assert column(table, "t") == {"en": 5, "fr": 5}
    assert column(table, "p") == {"en": 0.15, "fr": 0.2}
    assert column(thresholds(seen(counts), "fixed", p=0.5), "t") == {"en": 7, "fr": 7}
    assert column(thresholds(seen(counts_of(fr=[1, 3])), "fixed", t_en=2), "t") == {"fr": 2}


def test_none_keeps_every_matched_pair():
    counts = counts_of(fr=[1, 3, 6, 10], de=[5])
    table = thresholds(seen(counts), "none", tail_share=0.06)
    assert column(table, "t") == {"de": 5, "fr": 10}
    assert set(table["p"].to_pylist()) == {1.0}
    keep = model_of(table, counts).keep(pa.array(["fr", "de"]), ids_array([3], [0]))
    assert keep.tolist() == [1.0, 1.0]


def test_no_counts_at_all_give_no_thresholds():
    assert thresholds(seen(counts_table()), p=0.1).num_rows == 0
    assert thresholds(seen(counts_table()), "none").num_rows == 0


@pytest.mark.parametrize(
    ("policy", "parameters", "message"),
    [
        ("median", {"p": 0.1}, r"balance\.policy: unknown policy 'median', use one of: tail_proportion, fixed, none"),
        ("tail_proportion", {}, r"exactly one of tail_share, t_en and p \(given: none\)"),
        ("fixed", {"p": 0.1, "t_en": 3}, r"exactly one .* \(given: balance\.t_en and balance\.p\)"),
        ("tail_proportion", {"t_en": 0}, r"balance\.t_en: 0 is not a count"),
        ("tail_proportion", {"t_en": 2.5}, r"balance\.t_en: 2\.5 is not a count"),
        ("tail_proportion", {"tail_share": -0.1}, r"balance\.tail_share: -0\.1 is not a share"),
        ("tail_proportion", {"p": 1.5}, r"balance\.p: 1\.5 is not a share"),
        ("tail_proportion", {"p": math.nan}, r"balance\.p: nan is not a share"),
        ("tail_proportion", {"tail_share": 0.06}, r"no English matches .*: set balance\.p"),
        ("tail_proportion", {"t_en": 20}, r"no English matches .*: set balance\.p"),
        ("fixed", {"p": 0.06}, r"no English matches"),
    ],
)
def test_impossible_settings_are_refused(policy, parameters, message):
    with pytest.raises(UsageError, match=message):
        thresholds(seen(counts_of(fr=[1, 2])), policy, **parameters)


@pytest.mark.parametrize(
    ("parameters", "warning"),
    [
        ({"t_en": 100}, "p = 1: every matched pair is kept"),
        ({"p": 0.6}, "p = 0.6000: more than half"),
        ({"t_en": 1}, "p = 0: t is the smallest count"),
        ({"p": 0.5}, ""),
        ({"tail_share": 0.06}, ""),
    ],
)
def test_extreme_shares_cause_a_warning(parameters, warning, caplog):
    with caplog.at_level(logging.WARNING):
        thresholds(seen(counts_of(en=[1, 2, 7, 10])), **parameters)
    assert bool(caplog.messages) == bool(warning)
    assert warning in " ".join(caplog.messages)


@given(st.integers(1, 10**12), st.integers(1, 10**12))
def test_entry_probability_is_one_in_the_tail_and_falls_in_the_head(count, t):
    q = entry_probability(count, t)
    assert q == (1.0 if count <= t else float(Fraction(t, count)))


def test_a_text_without_entries_is_never_kept():
    assert keep_probability([]) == 0.0
