from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation import hashing
from curation.balance.compare import RecipeStatsBuilder
from curation.balance.sampling import DrawKey, choose, choose_and_draw, draw_texts, held_out_mask, keep_mask
from curation.balance.thresholds import entry_probability, keep_probability, thresholds
from curation.errors import UsageError
from curation.lake.schemas import SCHEMAS
from support.tables import column, counts_of, matches_batch, model_of, seen

IMAGES = 2000


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
LIMITS = thresholds(seen(COUNTS), t_en=5)
MODEL = model_of(LIMITS, COUNTS)
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
    # Equal texts of an image, from two sources, match the same entries.
    seen = {}
    rows = [(image, [seen.setdefault((image, text[0]), text) for text in texts]) for image, texts in rows]
    batch = matches_batch([("before", [("w", "en", [0])]), *rows]).slice(1)
    table = choose_and_draw(batch, MODEL, seed)
    assert table.schema == SCHEMAS["curated"]
    assert as_tuples(table) == oracle_draw(rows, keep_of, seed)
    everything = choose_and_draw(batch, MODEL, seed, "all")
    assert as_tuples(everything) == [
        (*row[:4], keep_of(row[1:4]), row[5]) for row in oracle_draw(rows, lambda _: 1.0, seed)
    ]
    # with the job's key, the trainer draws the same pairs from all matched pairs as the job
    mask, texts, _ = draw_texts(DrawKey(seed), *(everything[name].combine_chunks() for name in ("image_id", "texts")))
    assert everything.filter(pa.array(mask)).equals(table)
    assert texts.equals(everything["text"].combine_chunks())
    for row in everything.to_pylist():
        assert [text["keep_probability"] for text in row["texts"]] == [
            keep_of(("", text["lang"], text["entry_ids"])) for text in row["texts"]
        ]


def test_the_row_is_that_of_the_chosen_text():
    batch = matches_batch([("i", [("a", "en", [0]), ("b", "ja", [0]), ("c", "en", [])])])
    [row] = choose_and_draw(batch, MODEL, 3, "all").to_pylist()
    assert (row["image_url"], row["source"]) == ("http://h/i.png", "alt")
    assert (row["text"], row["lang"]) in (("a", "en"), ("b", "ja"))
    assert [(text["text"], text["lang_score"]) for text in row["texts"]] == [("a", 0.5), ("b", 0.5)]


def test_an_unknown_selection_is_refused():
    with pytest.raises(UsageError, match=r"balance\.selection: unknown value 'some', use one of: drawn, all"):
        choose_and_draw(matches_batch([]), MODEL, 0, "some")


def many_images(texts=("a", "b", "c")):
    return matches_batch([(f"image{i}", [(text, "en", [2]) for text in texts]) for i in range(IMAGES)])


def test_a_larger_t_only_adds_pairs_and_another_seed_changes_them():
    drawn = []
    for t in (1, 5, 20, 39, 40):
        table = choose_and_draw(many_images(), model_of(thresholds(seen(COUNTS), "fixed", t_en=t), COUNTS), 7)
        drawn.append(set(zip(table["image_id"].to_pylist(), table["text"].to_pylist(), strict=True)))
    assert all(fewer < more for fewer, more in pairwise(drawn))
    assert len(drawn[-1]) == IMAGES
    other = choose_and_draw(many_images(), model_of(thresholds(seen(COUNTS), "fixed", t_en=5), COUNTS), 8)
    assert set(other["image_id"].to_pylist()) != {image for image, _ in drawn[1]}


def test_pairs_are_kept_as_often_as_their_probability_says():
    # entry 2 has 40 matches: at t = 10 each pair is kept with probability 1/4
    model = model_of(thresholds(seen(COUNTS), "fixed", t_en=10), COUNTS)
    kept = choose_and_draw(many_images(), model, 0).num_rows
    deviation = math.sqrt(IMAGES * 0.25 * 0.75)
    assert abs(kept - IMAGES * 0.25) < 4 * deviation


def test_each_text_of_an_image_is_chosen_equally_often():
    table = choose_and_draw(many_images(), MODEL, 0, "all")
    chosen = Counter(table["text"].to_pylist())
    deviation = math.sqrt(IMAGES * (1 / 3) * (2 / 3))
    assert all(abs(chosen[text] - IMAGES / 3) < 4 * deviation for text in "abc")


def test_a_new_text_never_reshuffles_choices_among_the_old():
    before = column_by_image(choose_and_draw(many_images("ab"), MODEL, 0, "all"))
    after = column_by_image(choose_and_draw(many_images("abc"), MODEL, 0, "all"))
    assert all(after[image] in (before[image], "c") for image in before)
    assert before != after


def column_by_image(table):
    return dict(zip(table["image_id"].to_pylist(), table["text"].to_pylist(), strict=True))


SEEDS = 1000


def test_over_a_thousand_seeds_the_share_kept_is_the_keep_probability():
    """Each seed is an independent coin for each pair.

    With n = 1000 seeds the share kept of one pair has the standard deviation √(p(1-p)/n); a bound of 5 deviations is
    passed by chance once in 1.7 million times, and here there are 40 pairs. The mean of all pairs is held to 5
    deviations as well, which is 40 times sharper a test in variance.
    """
    keep = np.tile([0.01, 0.06, 0.25, 0.5, 0.93], 8)
    images = pa.array([f"{n:024x}" for n in range(len(keep))])
    texts = pa.array([f"text {n}" for n in range(len(keep))])
    shares = np.mean([keep_mask(DrawKey(seed), images, texts, keep) for seed in range(SEEDS)], axis=0)
    variance = keep * (1 - keep) / SEEDS
    assert np.all(np.abs(shares - keep) < 5 * np.sqrt(variance))
    assert abs(shares.mean() - keep.mean()) < 5 * math.sqrt(variance.sum()) / len(keep)


def test_over_a_thousand_seeds_an_image_is_kept_as_often_as_its_texts_counts_say():
    """From counts and t to the kept rows, on images of one to three texts of very different probabilities.

    An image is a coin that falls as often as the mean of its texts' keep probabilities says, and the sum over images
    has the variance of their sum; bounds as above. That sum is what `jobs.compare` expects of an epoch.
    """
    table = counts_of(en=[2, 40, 400, 9000, 10**7], ja=[50])
    t_of = column(limits := thresholds(seen(table), "fixed", t_en=20), "t")
    model, texts = model_of(limits, table), [("en", [1]), ("en", [2, 3]), ("ja", [0]), ("en", [4]), ("en", [0, 4])]
    count_of = {(row["lang"], row["entry_id"]): row["count"] for row in table.to_pylist()}

    def chance(text):
        return 1 - math.prod(1 - t_of[text[0]] / max(count_of[text[0], i], t_of[text[0]]) for i in text[1])

    images = [[texts[(n + k) % 5] for k in range(1 + n % 3)] for n in range(30)]
    batch = matches_batch([(f"i{n}", [(f"text {k}", *t) for k, t in enumerate(own)]) for n, own in enumerate(images)])
    found = Counter(
        image for seed in range(SEEDS) for image in choose_and_draw(batch, model, seed)["image_id"].to_pylist()
    )
    shares = np.array([found[f"i{n}"] / SEEDS for n in range(30)])
    expected = np.array([np.mean([chance(text) for text in own]) for own in images])
    variance = expected * (1 - expected) / SEEDS
    assert 0 < expected.min() < 0.01
    assert expected.max() == 1
    assert np.all(np.abs(shares - expected) <= 5 * np.sqrt(variance))
    assert abs(shares.sum() - expected.sum()) < 5 * math.sqrt(variance.sum())

    pairs = RecipeStatsBuilder(["en", "ja"], "all")
    for rows in choose_and_draw(batch, model, 0, "all").to_batches():
        pairs.add(rows)
    stats = pairs.build("r", 30, t_of, "b", [])
    assert stats.kept == pytest.approx(expected.sum(), abs=1e-12)


def test_over_a_thousand_seeds_each_text_is_chosen_equally_often():
    images, texts = pa.array(["image"]), pa.array(["a", "b", "c", "d"])
    found = Counter(int(choose(DrawKey(seed), images, texts, np.array([0, 4]))[0]) for seed in range(SEEDS))
    deviation = math.sqrt(SEEDS * 0.25 * 0.75)
    assert all(abs(found[place] - SEEDS / 4) < 5 * deviation for place in range(4))


monotone = st.lists(st.integers(1, 10**6), min_size=4, max_size=4)


@settings(max_examples=60, deadline=None)
@given(monotone, st.integers(1, 10**6), st.integers(1, 10**6), image_rows, st.integers(0, 9))
def test_raising_t_never_removes_a_kept_pair(counts, one, other, rows, seed):
    table, batch = counts_of(en=counts), matches_batch(rows)
    fewer, more = (
        choose_and_draw(batch, model_of(thresholds(seen(table), "fixed", t_en=t), table), seed)
        for t in sorted((one, other))
    )
    assert {*zip(fewer["image_id"].to_pylist(), fewer["text"].to_pylist(), strict=True)} <= {
        *zip(more["image_id"].to_pylist(), more["text"].to_pylist(), strict=True)
    }


@pytest.mark.parametrize("texts", [[], [{"text": "a", "keep_probability": None}]])
def test_images_without_texts_or_probabilities_cannot_be_drawn(texts):
    kind = pa.list_(pa.struct([("text", pa.string()), ("keep_probability", pa.float64())]))
    with pytest.raises(ValueError, match="without texts"):
        draw_texts(DrawKey(0), pa.array(["i"]), pa.array([texts], kind))


def test_certain_pairs_are_kept_or_dropped_whatever_the_draw():
    images, texts = pa.array([f"{n}" for n in range(50)]), pa.array(["t"] * 50)
    assert keep_mask(DrawKey(0), images, texts, np.ones(50)).all()
    assert not keep_mask(DrawKey(0), images, texts, np.zeros(50)).any()


def test_epochs_draw_with_separate_hash_purposes():
    image, text = pa.array(["0123456789abcdef01234567"]), pa.array(["a dog"])
    assert DrawKey(0).draws(image, text).tolist() == [hashing.draw(0, image[0].as_py(), "a dog")]
    assert DrawKey(0).text_hashes(image, text).tolist() == [hashing.text_hash(0, image[0].as_py(), "a dog")]
    # coreutils: printf '%s' '7|epoch-draw|3|0123456789abcdef01234567|a dog' | b2sum -l 64
    assert DrawKey(7, 3).text_hashes(image, text).tolist() == [0x00B9CCD45D33830F]
    assert DrawKey(7, 3).draws(image, text).tolist() == [hashing.uniform(0x80827B99740EA6FD)]


@given(st.lists(st.text()), st.floats(0, 1), st.floats(0, 1))
def test_the_validation_split_is_a_hash_of_the_image_id_and_a_larger_share_only_adds(image_ids, one, other):
    small, large = (held_out_mask(pa.array(image_ids, pa.string()), share) for share in sorted((one, other)))
    expected = [hashing.uniform(hashing.u64(0, "validation", image)) < max(one, other) for image in image_ids]
    assert large.tolist() == expected
    assert not (small & ~large).any()
