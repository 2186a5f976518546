from __future__ import annotations

from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.balance.keep_model import KeepProbabilities, write_keep_probabilities
from curation.balance.thresholds import entry_probability, keep_probability, thresholds
from curation.errors import InputError
from curation.io.storage import Storage
from support.tables import column, counts_of, counts_table, ids_array, languages, model_of, seen

count_tables = st.lists(
    st.tuples(st.sampled_from(["en", "de", "zh_yue", "other"]), st.integers(0, 6), st.integers(0, 9)),
    max_size=20,
    unique_by=lambda row: row[:2],
)

texts_of_ids = st.lists(
    st.tuples(
        st.sampled_from(["en", "de", "zh_yue", "other", "unseen"]),
        st.lists(st.integers(0, 8), unique=True, max_size=8).map(sorted),
    ),
    max_size=12,
)


@settings(max_examples=300)
@given(count_tables, texts_of_ids, st.floats(0.01, 1))
def test_keep_probabilities_of_a_batch_equal_the_scalar_ones_bit_by_bit(rows, texts, p):
    table = thresholds(seen(counts_table(*rows)), p=p)
    model = model_of(table, counts_table(*rows))
    count_of, t_of = {row[:2]: row[2] for row in rows}, column(table, "t")
    expected = [
        keep_probability([entry_probability(count_of.get((lang, i), 0), t_of[lang]) for i in ids])
        if lang in t_of
        else 0.0
        for lang, ids in texts
    ]
    ids = pa.array([[], *(ids for _, ids in texts)], pa.list_(pa.int32())).slice(1)
    assert model.keep(pa.array([lang for lang, _ in texts], pa.string()), ids).tolist() == expected


def test_keep_probabilities_multiply_left_to_right():
    counts = [int(count) for count in np.random.default_rng(5).integers(1, 10**6, 400)]
    table = counts_of(en=counts)
    limits = thresholds(seen(table), t_en=7)
    ids = list(range(400))
    [keep] = model_of(limits, table).keep(pa.array(["en"]), ids_array(ids))
    assert keep == keep_probability([entry_probability(count, 7) for count in counts])
    assert 0 < keep < 1


SKEWED = counts_of(en=[1, 1, 2, 9, 10**6, 10**9], ja=[7], de=[0, 3], other=[5] * 40)


def test_probabilities_are_within_1e_12_of_exact_fractions_on_skewed_tiny_and_single_entry_languages():
    limits = thresholds(seen(SKEWED), p=0.05)
    t_of, count_of = column(limits, "t"), {(r["lang"], r["entry_id"]): r["count"] for r in SKEWED.to_pylist()}
    texts = [("en", [4, 5]), ("en", [0, 5]), ("en", [3, 4, 5]), ("ja", [0]), ("de", [0, 1]), ("other", list(range(40)))]
    model = model_of(limits, SKEWED)
    found = model.keep(pa.array([lang for lang, _ in texts]), ids_array(*(ids for _, ids in texts)))
    for (lang, ids), keep in zip(texts, found, strict=True):
        product = Fraction(1)
        for i in ids:
            product *= 1 - Fraction(t_of[lang], max(count_of[lang, i], t_of[lang]))
        assert abs(Fraction(float(keep)) - (1 - product)) < Fraction(1, 10**12)


def test_a_file_gives_the_same_probabilities_as_a_model_in_memory(tmp_path):
    limits = thresholds(seen(SKEWED), p=0.05)
    path = tmp_path / "models" / "keep.model"
    write_keep_probabilities(Storage(), str(path), limits, languages(SKEWED))
    langs, ids = pa.array(["en", "xx", "de", "other"]), ids_array([3, 5], [0], [1, 900], [])
    assert KeepProbabilities.open(path).keep(langs, ids).tolist() == model_of(limits, SKEWED).keep(langs, ids).tolist()
    assert path.stat().st_size < 8 * (6 + 1 + 2 + 40 + 4 + 1) + 200


def test_a_model_without_languages_keeps_nothing():
    model = KeepProbabilities.build(thresholds({}, p=0.1), [])
    assert model.keep(pa.array(["en"]), ids_array([3])).tolist() == [0.0]
    assert model.keep(pa.array([], pa.string()), ids_array()).tolist() == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:-1],
        lambda data: data[:5],
        lambda data: b"x" + data[1:],
        lambda data: data[:8] + data[16:],
        lambda data: data[:-8] + b"\xff" * 8,
        lambda data: data[:8] + b"\0" * 8 + data[8:],
    ],
)
def test_a_damaged_model_file_is_named(tmp_path, damage):
    path = tmp_path / "keep.model"
    write_keep_probabilities(Storage(), str(path), thresholds(seen(SKEWED), p=0.05), languages(SKEWED))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=r"keep\.model"):
        KeepProbabilities.open(path)


def test_a_missing_model_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"cannot read .*keep\.model"):
        KeepProbabilities.open(tmp_path / "keep.model")
