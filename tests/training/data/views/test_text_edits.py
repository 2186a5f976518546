from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.data.views.text_edits import edit_text

WORDS = st.lists(st.text("abcdefgh", min_size=1, max_size=4), min_size=1, max_size=35)
SEEDS = st.integers(0, 2**64 - 1)


@given(words=WORDS, seed=SEEDS)
def test_swapping_keeps_the_words_and_moves_at_most_two_per_ten(words, seed):
    edited = edit_text(" ".join(words), ["swap"], seed).split(" ")
    assert Counter(edited) == Counter(words)
    moved = sum(before != after for before, after in zip(words, edited, strict=True))
    assert moved <= 2 * max(1, len(words) // 10)


@given(words=WORDS, seed=SEEDS)
def test_deleting_keeps_the_order_and_all_but_one_word_per_ten(words, seed):
    edited = edit_text(" ".join(words), ["delete"], seed).split(" ")
    left = iter(words)
    assert all(word in left for word in edited)
    deleted = max(1, len(words) // 10) if len(words) > 1 else 0
    assert len(edited) == len(words) - deleted


@given(words=WORDS, seed=SEEDS)
def test_synonyms_replace_words_that_have_some(words, seed):
    synonyms = {word: [word.upper() + "1", word.upper() + "2"] for word in words if "a" in word}
    edited = edit_text(" ".join(words), ["synonym"], seed, synonyms).split(" ")
    changed = [(before, after) for before, after in zip(words, edited, strict=True) if before != after]
    assert all(after in synonyms[before] for before, after in changed)
    replaceable = sum(word in synonyms for word in words)
    assert len(changed) == min(replaceable, max(1, len(words) // 10))


@pytest.mark.parametrize("text", ["fish", "  ", "", "紅い魚が岩の近くにいる"])
def test_a_text_of_one_word_stays_as_it_is(text):
    assert {edit_text(text, ["swap", "delete", "synonym"], seed) for seed in range(20)} == {text}


def test_edits_are_drawn_equally_among_those_that_can_change_the_text():
    texts = Counter(edit_text("red fish", ["swap", "delete", "synonym"], seed) for seed in range(3000))
    assert set(texts) == {"fish red", "red", "fish"}
    assert abs(texts["fish red"] / 3000 - 0.5) < 4 * (0.25 / 3000) ** 0.5


@given(words=WORDS, seed=SEEDS)
def test_equal_seeds_give_equal_edits(words, seed):
    text = " ".join(words)
    assert edit_text(text, ["swap", "delete"], seed) == edit_text(text, ["swap", "delete"], seed)
