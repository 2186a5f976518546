"""Intervals cover the truth, differences are paired, and verdicts follow the rule."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proof.settings import Bootstrap, Claim
from proof.statistics import Interval, bootstrap, concept_accuracies, judge, thirds

SETTINGS = Bootstrap(resamples=400, level=0.95, seed=0, min_seeds=3)
CLAIM = Claim(name="", better="a", worse="b", measure="english")


@pytest.mark.parametrize(
    ("interval", "margin", "seeds", "verdict"),
    [
        ((0.02, 0.001, 0.04), 0.0, 3, "reproduced"),
        ((0.02, -0.001, 0.04), 0.0, 3, "inconclusive"),
        ((-0.02, -0.04, -0.001), 0.0, 3, "not reproduced"),
        ((0.02, 0.001, 0.04), 0.0, 2, "inconclusive"),
        ((-0.005, -0.009, -0.001), -0.01, 3, "reproduced"),
        ((-0.02, -0.03, -0.011), -0.01, 3, "not reproduced"),
    ],
)
def test_a_verdict_needs_the_whole_interval_on_one_side_of_the_margin_and_enough_seeds(
    interval, margin, seeds, verdict
):
    assert judge(Interval(*interval), CLAIM.model_copy(update={"margin": margin}), seeds, SETTINGS) == verdict


def test_about_95_percent_of_the_intervals_contain_the_mean():
    rng, inside = np.random.default_rng(0), 0
    for _ in range(100):
        interval = bootstrap(rng.normal(1.0, 1.0, (3, 200)), SETTINGS)
        inside += interval.low <= 1.0 <= interval.high
    assert inside >= 90  # resampling both is conservative where seeds do not differ


def test_seeds_that_differ_widen_the_interval():
    rng = np.random.default_rng(0)
    same = rng.normal(0, 0.1, (3, 300))
    differing = same + np.array([[-1.0], [0.0], [1.0]])
    narrow, wide = bootstrap(same, SETTINGS), bootstrap(differing, SETTINGS)
    assert wide.high - wide.low > 5 * (narrow.high - narrow.low)


def test_a_constant_has_no_spread_and_unmeasured_concepts_are_left_out():
    values = np.full((2, 5), 0.25)
    values[0, 3] = np.nan
    assert bootstrap(values, SETTINGS) == Interval(0.25, 0.25, 0.25)


rows = st.lists(
    st.tuples(st.sampled_from(["en", "de", "ja"]), st.sampled_from("abc"), st.integers(1, 3), st.integers(0, 3)),
    unique_by=lambda row: row[:2],
    min_size=1,
)


@given(rows)
def test_accuracies_equal_those_of_plain_loops(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("concepts") / "concepts.parquet"
    columns = zip(*((lang, concept, n, min(n, k)) for lang, concept, n, k in rows), strict=True)
    pq.write_table(
        pa.table(dict(zip(("lang", "concept", "pictures", "correct"), map(list, columns), strict=True))), path
    )
    for measure in ("macro", "english"):
        found = concept_accuracies(path, measure, ["a", "b", "c"])
        for concept, value in zip("abc", found, strict=True):
            shares = [min(n, k) / n for lang, c, n, k in rows if c == concept and (measure == "macro" or lang == "en")]
            assert (np.isnan(value) and not shares) or value == pytest.approx(sum(shares) / len(shares))


@given(st.dictionaries(st.sampled_from("abcdefghij"), st.integers(0, 5)))
def test_thirds_hold_every_concept_once_and_no_tail_concept_is_more_frequent_than_a_head_concept(counts):
    concepts = list("abcdefghij")
    parts = thirds(counts, concepts)
    assert sorted(number for part in parts.values() for number in part) == list(range(10))
    assert min(counts.get(concepts[number], 0) for number in parts["head"]) >= max(
        counts.get(concepts[number], 0) for number in parts["tail"]
    )
