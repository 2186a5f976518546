from __future__ import annotations

import logging
import math
import random
from collections import Counter
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation import hashing
from curation.balancing import (
    KeepModel,
    choose_and_draw,
    entry_probability,
    keep_probability,
    p_to_t,
    sum_counts,
    t_to_p,
    thresholds,
)
from curation.errors import UsageError
from curation.schemas import SCHEMAS

IMAGES = 2000

small_counts = st.lists(st.integers(0, 12), min_size=1, max_size=12).filter(any)
wide_counts = st.lists(st.integers(0, 10**12), min_size=1, max_size=12).filter(any)
count_tables = st.lists(
    st.tuples(st.sampled_from(["en", "de", "zh_yue", "other"]), st.integers(0, 6), st.integers(0, 9)),
    max_size=20,
    unique_by=lambda row: row[:2],
)


def counts_table(*rows):
    return pa.Table.from_pylist(
        [{"lang": lang, "entry_id": entry_id, "count": count} for lang, entry_id, count in rows], SCHEMAS["counts"]
    )


def counts_of(**langs):
    return counts_table(*((lang, i, count) for lang, counts in langs.items() for i, count in enumerate(counts)))


def column(table, name):
    return dict(zip(table["lang"].to_pylist(), table[name].to_pylist(), strict=True))


def oracle_t(counts, p):
    """Every k in turn, in fractions: the first with the smallest distance."""
    ascending = sorted(count for count in counts if count)
    distances = [abs(Fraction(sum(ascending[: k + 1]), sum(ascending)) - p) for k in range(len(ascending))]
    return ascending[distances.index(min(distances))]


def test_the_published_vectors():
    assert t_to_p([1, 2, 7, 10], 5) == Fraction(3, 20)
    assert p_to_t([1, 3, 6, 10], 0.15) == 3
    assert keep_probability([0.5, 0.3]) == 0.65
    assert p_to_t([0, 0, 0, 5000, 4000], 0.06) == 4000


@given(small_counts | wide_counts, small_counts | wide_counts, st.integers(1, 15) | st.integers(1, 10**12))
def test_t_is_the_oracles_for_any_p_from_english(english, counts, t_en):
    p = t_to_p(english, t_en)
    assert p == Fraction(sum(count for count in english if count < t_en), sum(english))
    assert p_to_t(counts, p) == oracle_t(counts, p)


@given(small_counts, st.floats(0, 1) | st.sampled_from([0, 1, 0.05, 0.06, 0.1, 0.15, 0.2, 0.25, 0.5, 0.75]))
def test_t_is_the_oracles_for_any_float_at_its_exact_value(counts, p):
    assert p_to_t(counts, p) == oracle_t(counts, Fraction(p))


def test_t_is_the_oracles_in_thousands_of_small_cases_full_of_ties():
    dice = random.Random("thresholds")
    for _ in range(5000):
        english, counts = (dice.choices(range(1, 10), k=dice.randrange(1, 8)) for _ in range(2))
        p = t_to_p(english, dice.randrange(1, 12))
        assert p_to_t(counts, p) == oracle_t(counts, p)


def test_of_two_equally_near_shares_the_first_is_taken():
    assert p_to_t([1, 2, 1], 0.5) == 1  # F = 1/4, 2/4, 4/4
    assert p_to_t([3, 1], Fraction(5, 8)) == 1  # F = 1/4, 4/4: both 3/8 away
    assert p_to_t([3, 1], Fraction(5, 8) + Fraction(1, 10**30)) == 3


def test_shares_closer_than_floats_can_tell_are_told_apart():
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
    with pytest.raises(ValueError, match="no entry was seen"):
        p_to_t(counts, 0.5)
    with pytest.raises(ValueError, match="no entry was seen"):
        t_to_p(counts, 5)


def test_thresholds_follow_the_english_share_and_english_keeps_its_own():
    table = thresholds(counts_of(fr=[1, 3, 6, 10], en=[1, 2, 7, 10], xx=[0, 0]), t_en=5)
    assert table.schema == SCHEMAS["thresholds"]
    assert table.to_pylist() == [
        {"lang": "en", "t": 5, "p": 0.15, "matches": 20, "entries_seen": 4},
        {"lang": "fr", "t": 3, "p": 0.15, "matches": 20, "entries_seen": 4},
    ]


@pytest.mark.parametrize("knob", ["tail_share", "p"])
def test_a_given_share_holds_for_every_language(knob):
    counts = counts_of(fr=[1, 3, 6, 10], en=[1, 2, 7, 10], ja=[0, 0, 0, 5000, 4000])
    table = thresholds(counts, **{knob: 0.06})
    assert column(table, "t") == {"en": 1, "fr": 1, "ja": 4000}
    assert set(table["p"].to_pylist()) == {0.06}
    assert column(table, "entries_seen") == {"en": 4, "fr": 4, "ja": 2}


@given(count_tables, st.integers(1, 12))
def test_thresholds_are_those_of_the_oracle(rows, t_en):
    english = [count for lang, _, count in rows if lang == "en"]
    if not any(english):
        with pytest.raises(UsageError, match="no English matches"):
            thresholds(counts_table(*rows), t_en=t_en)
        return
    table = thresholds(counts_table(*rows), t_en=t_en)
    p = t_to_p(english, t_en)
    seen = {lang: [n for key, _, n in rows if key == lang] for lang, _, count in sorted(rows) if count}
    assert column(table, "t") == {lang: t_en if lang == "en" else oracle_t(counts, p) for lang, counts in seen.items()}
    assert column(table, "matches") == {lang: sum(counts) for lang, counts in seen.items()}
    assert table["lang"].to_pylist() == sorted(seen)


def test_fixed_gives_every_language_the_english_t():
    counts = counts_of(fr=[1, 3, 6, 10], en=[1, 2, 7, 10])
    table = thresholds(counts, "fixed", t_en=5)
    assert column(table, "t") == {"en": 5, "fr": 5}
    assert column(table, "p") == {"en": 0.15, "fr": 0.2}
    assert column(thresholds(counts, "fixed", p=0.5), "t") == {"en": 7, "fr": 7}
    assert column(thresholds(counts_of(fr=[1, 3]), "fixed", t_en=2), "t") == {"fr": 2}


def test_none_keeps_every_matched_pair():
    counts = counts_of(fr=[1, 3, 6, 10], de=[5])
    table = thresholds(counts, "none", tail_share=0.06)
    assert column(table, "t") == {"de": 5, "fr": 10}
    assert set(table["p"].to_pylist()) == {1.0}
    keep = KeepModel(table, counts).keep(["fr", "de"], pa.array([[3], [0]], pa.list_(pa.int32())))
    assert keep.tolist() == [1.0, 1.0]


def test_no_counts_at_all_give_no_thresholds():
    assert thresholds(counts_table(), p=0.1).num_rows == 0
    assert thresholds(counts_table(), "none").num_rows == 0


@pytest.mark.parametrize(
    ("policy", "knobs", "message"),
    [
        ("median", {"p": 0.1}, r"balance\.policy: unknown policy 'median', use one of: tail_proportion, fixed, none"),
        ("tail_proportion", {}, r"exactly one of tail_share, t_en and p \(given: none\)"),
        ("fixed", {"p": 0.1, "t_en": 3}, r"exactly one .* \(given: balance\.t_en and balance\.p\)"),
        ("tail_proportion", {"t_en": 0}, r"balance\.t_en: 0 is not a count"),
        ("tail_proportion", {"t_en": 2.5}, r"balance\.t_en: 2\.5 is not a count"),
        ("tail_proportion", {"tail_share": -0.1}, r"balance\.tail_share: -0\.1 is not a share"),
        ("tail_proportion", {"p": 1.5}, r"balance\.p: 1\.5 is not a share"),
        ("tail_proportion", {"p": math.nan}, r"balance\.p: nan is not a share"),
        ("tail_proportion", {"tail_share": 0.06}, r"no English matches .*; set balance\.p"),
        ("tail_proportion", {"t_en": 20}, r"no English matches .*; set balance\.p"),
        ("fixed", {"p": 0.06}, r"no English matches"),
    ],
)
def test_impossible_settings_are_refused(policy, knobs, message):
    with pytest.raises(UsageError, match=message):
        thresholds(counts_of(fr=[1, 2]), policy, **knobs)


@pytest.mark.parametrize(
    ("knobs", "warning"),
    [
        ({"t_en": 100}, "p = 1: every matched pair is kept"),
        ({"p": 0.6}, "p = 0.6000: more than half"),
        ({"t_en": 1}, "p = 0: t is the smallest count"),
        ({"p": 0.5}, ""),
        ({"tail_share": 0.06}, ""),
    ],
)
def test_extreme_shares_are_warned_of(knobs, warning, caplog):
    with caplog.at_level(logging.WARNING):
        thresholds(counts_of(en=[1, 2, 7, 10]), **knobs)
    assert bool(caplog.messages) == bool(warning)
    assert warning in " ".join(caplog.messages)


@given(st.integers(1, 10**12), st.integers(1, 10**12))
def test_entry_probability_is_one_in_the_tail_and_falls_in_the_head(count, t):
    q = entry_probability(count, t)
    assert q == (1.0 if count <= t else float(Fraction(t, count)))


def test_a_text_without_entries_is_never_kept():
    assert keep_probability([]) == 0.0


texts_of_ids = st.lists(
    st.tuples(
        st.sampled_from(["en", "de", "zh_yue", "other", "unseen"]),
        st.lists(st.integers(0, 8), unique=True, max_size=8).map(sorted),
    ),
    max_size=12,
)


@settings(max_examples=300)
@given(count_tables, texts_of_ids, st.floats(0.01, 1))
def test_keep_probabilities_of_a_batch_are_the_scalar_ones_bit_by_bit(rows, texts, p):
    table = thresholds(counts_table(*rows), p=p)
    model = KeepModel(table, counts_table(*rows))
    count_of, t_of = {row[:2]: row[2] for row in rows}, column(table, "t")
    expected = [
        keep_probability([entry_probability(count_of.get((lang, i), 0), t_of[lang]) for i in ids])
        if lang in t_of
        else 0.0
        for lang, ids in texts
    ]
    ids = pa.array([[], *(ids for _, ids in texts)], pa.list_(pa.int32())).slice(1)
    assert model.keep([lang for lang, _ in texts], ids).tolist() == expected


def test_keep_probabilities_multiply_left_to_right():
    counts = [int(count) for count in np.random.default_rng(5).integers(1, 10**6, 400)]
    table = counts_of(en=counts)
    limits = thresholds(table, t_en=7)
    ids = list(range(400))
    [keep] = KeepModel(limits, table).keep(["en"], pa.array([ids], pa.list_(pa.int32())))
    assert keep == keep_probability([entry_probability(count, 7) for count in counts])
    assert 0 < keep < 1


def matches_batch(rows):
    """Rows of (image_id, [(text, lang, entry ids)])."""
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


def oracle_draw(rows, keep_of, seed):
    kept = []
    for image_id, texts in rows:
        matched = [text for text in texts if text[2]]
        if matched:
            chosen = min(matched, key=lambda text: hashing.text_hash(seed, image_id, text[0]))
            if hashing.draw(seed, image_id, chosen[0]) < keep_of(chosen):
                kept.append((image_id, *chosen, keep_of(chosen), [text[0] for text in matched]))
    return kept


def as_tuples(table):
    return [
        (
            row["image_id"],
            row["text"],
            row["lang"],
            row["entry_ids"],
            row["keep_probability"],
            [text["text"] for text in row["texts"]],
        )
        for row in table.to_pylist()
    ]


COUNTS = counts_of(en=[2, 5, 40, 900], ja=[1, 30])
LIMITS = thresholds(COUNTS, t_en=5)
T_OF = column(LIMITS, "t")
COUNT_OF = {(row["lang"], row["entry_id"]): row["count"] for row in COUNTS.to_pylist()}

image_rows = st.lists(
    st.tuples(
        st.text("abc", min_size=1, max_size=3),
        st.lists(
            st.tuples(
                st.text("xyzé猫", max_size=2),
                st.just("en"),
                st.lists(st.integers(0, 3), unique=True, max_size=3).map(sorted),
            ),
            max_size=4,
        ),
    ),
    max_size=8,
    unique_by=lambda row: row[0],
)


def keep_of(text):
    return keep_probability([entry_probability(COUNT_OF[text[1], i], T_OF[text[1]]) for i in text[2]])


@settings(max_examples=200)
@given(image_rows, st.integers(0, 99))
def test_choice_and_draw_are_those_of_the_oracle(rows, seed):
    # A text says what it matches: equal texts of an image, from two sources, have equal entries.
    seen = {}
    rows = [(image, [seen.setdefault((image, text[0]), text) for text in texts]) for image, texts in rows]
    batch = matches_batch([("before", [("w", "en", [0])]), *rows]).slice(1)
    table = choose_and_draw(batch, KeepModel(LIMITS, COUNTS), seed)
    assert table.schema == SCHEMAS["curated"]
    assert as_tuples(table) == oracle_draw(rows, keep_of, seed)
    everything = choose_and_draw(batch, KeepModel(LIMITS, COUNTS), seed, "all")
    assert as_tuples(everything) == [
        (*row[:4], keep_of(row[1:4]), row[5]) for row in oracle_draw(rows, lambda _: 1.0, seed)
    ]


def test_the_row_is_that_of_the_chosen_text():
    batch = matches_batch([("i", [("a", "en", [0]), ("b", "ja", [0]), ("c", "en", [])])])
    [row] = choose_and_draw(batch, KeepModel(LIMITS, COUNTS), 3, "all").to_pylist()
    assert (row["image_url"], row["source"]) == ("http://h/i.png", "alt")
    assert (row["text"], row["lang"]) in (("a", "en"), ("b", "ja"))
    assert [(text["text"], text["lang_score"]) for text in row["texts"]] == [("a", 0.5), ("b", 0.5)]


def test_an_unknown_selection_is_refused():
    with pytest.raises(UsageError, match=r"balance\.selection: unknown value 'some', use one of: drawn, all"):
        choose_and_draw(matches_batch([]), KeepModel(LIMITS, COUNTS), 0, "some")


def many_images(texts=("a", "b", "c")):
    return matches_batch([(f"image{i}", [(text, "en", [2]) for text in texts]) for i in range(IMAGES)])


def test_a_larger_t_only_adds_pairs_and_another_seed_changes_them():
    drawn = []
    for t in (1, 5, 20, 39, 40):
        table = choose_and_draw(many_images(), KeepModel(thresholds(COUNTS, "fixed", t_en=t), COUNTS), 7)
        drawn.append(set(zip(table["image_id"].to_pylist(), table["text"].to_pylist(), strict=True)))
    assert all(fewer < more for fewer, more in pairwise(drawn))
    assert len(drawn[-1]) == IMAGES
    other = choose_and_draw(many_images(), KeepModel(thresholds(COUNTS, "fixed", t_en=5), COUNTS), 8)
    assert set(other["image_id"].to_pylist()) != {image for image, _ in drawn[1]}


def test_pairs_are_kept_as_often_as_their_probability_says():
    # entry 2 has 40 matches: at t = 10 each pair is kept with probability 1/4
    model = KeepModel(thresholds(COUNTS, "fixed", t_en=10), COUNTS)
    kept = choose_and_draw(many_images(), model, 0).num_rows
    deviation = math.sqrt(IMAGES * 0.25 * 0.75)
    assert abs(kept - IMAGES * 0.25) < 4 * deviation


def test_each_text_of_an_image_is_chosen_equally_often():
    table = choose_and_draw(many_images(), KeepModel(LIMITS, COUNTS), 0, "all")
    chosen = Counter(table["text"].to_pylist())
    deviation = math.sqrt(IMAGES * (1 / 3) * (2 / 3))
    assert all(abs(chosen[text] - IMAGES / 3) < 4 * deviation for text in "abc")


def test_a_new_text_never_reshuffles_choices_among_the_old():
    model = KeepModel(LIMITS, COUNTS)
    before = column_by_image(choose_and_draw(many_images("ab"), model, 0, "all"))
    after = column_by_image(choose_and_draw(many_images("abc"), model, 0, "all"))
    assert all(after[image] in (before[image], "c") for image in before)
    assert before != after


def column_by_image(table):
    return dict(zip(table["image_id"].to_pylist(), table["text"].to_pylist(), strict=True))


@given(st.lists(count_tables, max_size=4))
def test_counts_add_up_in_any_order_and_grouping(parts):
    tables = [counts_table(*rows) for rows in parts]
    total = Counter()
    for rows in parts:
        for lang, entry_id, count in rows:
            total[lang, entry_id] += count
    summed = sum_counts(tables)
    assert summed.schema == SCHEMAS["counts"]
    assert [(r["lang"], r["entry_id"], r["count"]) for r in summed.to_pylist()] == [
        (*key, count)
        for key, count in sorted(total.items())
        if key in {(lang, i) for rows in parts for lang, i, _ in rows}
    ]
    assert sum_counts(reversed(tables)).equals(summed)
    assert sum_counts([sum_counts(tables[:2]), *tables[2:]]).equals(summed)


def test_counts_add_up_exactly_beyond_float_precision():
    big = counts_table(("en", 1, 2**53))
    assert sum_counts([big, counts_table(("en", 1, 1))])["count"].to_pylist() == [2**53 + 1]
