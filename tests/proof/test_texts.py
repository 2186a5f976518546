"""Texts are about the concept, and concepts are as frequent as their names."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from proof.frequencies import UNLISTED, concept_weights, frequent_words, phrase_frequency, word_frequencies
from proof.names import Name, read_names
from proof.settings import read_world
from proof.texts import Texts

WORLD = read_world()
NAMES = {"a": Name("cat", ("kitten", "pet")), "b": Name("dog face", ()), "1f5bc": Name("framed picture", ("art",))}


def english(**rates):
    size = WORLD.languages["en"]
    return Texts("en", size, NAMES, sorted(NAMES), WORLD.texts.model_copy(update=rates))


def test_a_phrase_is_as_frequent_as_wordfreq_says():
    listed = {"new": 0.5, "york": 0.25}
    assert phrase_frequency(["new"], listed) == 0.5
    assert phrase_frequency(["New", "York"], listed) == pytest.approx(1 / (1 / 0.5 + 1 / 0.25))
    assert phrase_frequency(["unlisted"], listed) == pytest.approx(UNLISTED)


def test_weights_sum_to_one_follow_frequencies_and_are_zero_without_a_name():
    weights = concept_weights("en", WORLD.languages["en"], NAMES, ["a", "b", "c"])
    assert sum(weights) == pytest.approx(1)
    assert min(weights[:2]) > weights[2] == 0
    frequencies = word_frequencies("en")
    assert weights[0] / weights[1] == pytest.approx(
        frequencies["cat"] * (1 / frequencies["dog"] + 1 / frequencies["face"])
    )


def test_drawn_concepts_have_their_weights():
    texts, rng = english(), Random(0)
    counts = Counter(texts.concept(rng) for _ in range(5000))
    weights = dict(zip(sorted(NAMES), concept_weights("en", WORLD.languages["en"], NAMES, sorted(NAMES)), strict=True))
    assert all(counts[concept] / 5000 == pytest.approx(weights[concept], abs=0.02) for concept in NAMES)


@pytest.mark.parametrize("code", ["en", "nl", "ja"])
def test_every_text_about_a_concept_contains_its_name(code):
    texts = Texts(code, WORLD.languages[code], NAMES, sorted(NAMES), WORLD.texts)
    rng = Random(0)
    drawn = {texts.about(rng, "b", "beach") for _ in range(200)}
    assert all("dog face" in text for text in drawn)
    assert len(drawn) > 5


def test_rates_of_one_kind_give_only_that_kind():
    rng = Random(0)
    none = {"file_name": 0.0, "generic": 0.0, "wrong": 0.0}
    assert english(**none, name=1.0).on_page(rng, "a", "beach") == ("cat", "about")
    assert english(**(none | {"generic": 1.0})).on_page(rng, "a", "beach") == ("framed picture", "generic")
    text, kind = english(**(none | {"file_name": 1.0})).on_page(rng, "a", "beach")
    assert (text.endswith(".jpg"), kind) == (True, "file_name")
    keywords, _ = english(**none, name=0.0, keywords=1.0).on_page(rng, "a", "beach")
    assert set(keywords.split(", ")) <= {"cat", "kitten", "pet"}
    sentence, _ = english(**none, name=0.0, keywords=0.0).on_page(rng, "a", "beach")
    assert "cat" in sentence
    assert "on the beach" in sentence


def test_frequent_words_come_in_order_and_have_letters():
    words, frequencies = frequent_words("en", WORLD.languages["en"], 500)
    assert len(words) == 500
    assert list(frequencies) == sorted(frequencies, reverse=True)
    assert all(any(map(str.isalpha, word)) for word in words)


def test_names_are_those_of_cldr_without_skin_tones(parameters):
    names = read_names(parameters)
    assert set(names) == {"en", "de"}
    assert names["de"]["1f408"] == Name("cat", ("cats", "thing"))
