"""Held-out pairs are measured together and per language, without pictures that cannot be read."""

from __future__ import annotations

from support.encoders import stub_encoder
from support.shards import draw
from training.evaluation.captioned_images import CaptionedImage
from training.evaluation.embed import StoredImage
from training.evaluation.held_out import MIN_PAIRS, HeldOutPair, held_out_retrieval
from training.evaluation.retrieval import embed_captioned, retrieval

LANGUAGES = ["en", "he", "th"]
PAIRS = [
    HeldOutPair(draw(number)[0], f"text {number // 2} {number % 3}", LANGUAGES[number % 3])
    for number in range(3 * MIN_PAIRS - 1)  # one too few in th
]


def test_results_of_a_language_are_those_of_its_pairs_alone():
    found = held_out_retrieval(stub_encoder(), PAIRS)
    assert [result["language"] for result in found.results] == ["en", "he"]
    for result in found.results:
        own = [pair for pair in PAIRS if pair.language == result["language"]]
        samples = [CaptionedImage(StoredImage("", pair.image), {pair.language: [pair.text]}) for pair in own]
        [expected] = retrieval(stub_encoder(), embed_captioned(stub_encoder(), samples), equal_captions=True)
        assert result == {"task": "retrieval"} | expected
    assert {example.language for example in found.examples} == {"en", "he"}
    assert found.figures["held_out_pairs"] == len(PAIRS), "the figures over all pairs include small languages"


def test_unreadable_pictures_are_counted_and_change_nothing_else():
    bad = HeldOutPair(b"no picture", "text", "en")
    found = held_out_retrieval(stub_encoder(), [bad, *PAIRS[:30], bad, *PAIRS[30:]])
    clean = held_out_retrieval(stub_encoder(), PAIRS)
    assert found.figures == clean.figures | {"held_out_unreadable": 2}
    assert (found.results, found.examples) == (clean.results, clean.examples)
    assert held_out_retrieval(stub_encoder(), [bad]) == ({"held_out_pairs": 0, "held_out_unreadable": 1}, [], [])
