from __future__ import annotations

import math
import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.errors import InputError
from support.vectors import expected, inputs
from training.data.sample_order import worker_positions
from training.data.views.seeds import view_seed
from training.data.views.text_choice import choose_text

EQUAL = {"published": 1.0, "rewrites": 1.0}
RULE, WANTED = inputs("laclip", "sampler_rule"), expected("laclip", "sampler_rule")


def seed_of(position: int) -> int:
    return view_seed(7, "source", "text", epoch=2, position=position)


def draws(captions, weights=EQUAL, *, short_words=0, count=4000) -> Counter:
    texts = {"published": captions[:1], "rewrites": captions[1:]}
    return Counter(choose_text(texts, weights, seed_of(n), short_words=short_words) for n in range(count))


def assert_frequency(found: int, count: int, probability: float) -> None:
    error = 4 * math.sqrt(probability * (1 - probability) / count)
    assert abs(found / count - probability) <= error


@pytest.mark.parametrize("number", range(3))
def test_short_draws_become_the_original_and_frequencies_are_those_of_the_vector(number):
    captions = RULE["captions"][number]
    counts = draws(captions, short_words=2)
    chosen = Counter(WANTED["chosen"][number])
    assert set(counts) == set(chosen)
    for text, times in chosen.items():
        assert_frequency(counts[text], counts.total(), times / chosen.total())
    if number != 1:  # its probability, 3/4, also counts the original as a short rewrite, unlike its formula
        assert chosen[captions[0]] / chosen.total() == WANTED["probability_of_original"][number]


@given(weights=st.tuples(*[st.integers(0, 3)] * 3).filter(any))
def test_every_text_is_drawn_with_the_weight_of_its_source(weights):
    texts = {"a": ["a1"], "b": ["b1", "b2"], "c": ["c1", "c2", "c3"]}
    by_source = dict(zip("abc", weights, strict=True))
    total = sum(weight * len(texts[source]) for source, weight in by_source.items())
    counts = Counter(choose_text(texts, by_source, seed_of(n)) for n in range(2000))
    for source, weight in by_source.items():
        for text in texts[source]:
            assert_frequency(counts[text], 2000, weight / total)


def test_sources_without_weight_or_texts_are_never_drawn():
    assert set(draws(["x", "y"], {"published": 1.0, "rewrites": 0.0})) == {"x"}
    assert choose_text({"rewrites": ["z"]}, EQUAL, 5) == "z"
    assert choose_text({"rewrites": ["z"]}, EQUAL, 5, short_words=2) == "z"


def test_a_row_without_a_text_of_the_sources_is_refused_in_one_line():
    message = "texts: the row has none of source paraphrases: choose other sources of the view"
    with pytest.raises(InputError, match=re.escape(message)):
        choose_text({"published": ["x"], "paraphrases": []}, {"paraphrases": 1.0}, 0)


@given(split=st.tuples(st.sampled_from([1, 2, 4]), st.sampled_from([1, 2, 3])))
def test_a_position_shows_the_same_text_for_any_number_of_ranks_and_workers(split):
    ranks, workers = split
    texts = {"published": ["p"], "rewrites": ["r1", "r2", "r3", "r4"]}
    alone = [choose_text(texts, EQUAL, seed_of(position)) for position in range(48)]
    shown = {}
    for start in range(0, 48, 24):
        for rank in range(ranks):
            for worker in range(workers):
                for position in worker_positions(
                    start, 24, rank=rank, world_size=ranks, worker=worker, workers=workers
                ):
                    shown[position] = choose_text(texts, EQUAL, seed_of(position))
    assert [shown[position] for position in range(48)] == alone


def test_seeds_differ_by_run_purpose_view_epoch_and_position():
    seeds = {
        view_seed(seed, purpose, view, epoch=epoch, position=position)
        for seed in (0, 1)
        for purpose in ("source", "edit")
        for view in ("text", "text_2")
        for epoch in (0, 11)
        for position in (1, 111)
    }
    assert len(seeds) == 32
