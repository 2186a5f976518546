"""The makers without weights: capitalized words, English texts, swapped words."""

from __future__ import annotations

from typing import get_args

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.annotations.capitalized import CapitalizedShare, capitalized_share
from curation.annotations.english_text import EnglishText
from curation.annotations.load import DEFAULTS, load_maker
from curation.annotations.swapped_words import SwappedWords, swap_words
from curation.annotations.word_replacement import replace
from curation.cli.annotate_config import AnnotateSection, Kind
from curation.errors import UsageError
from curation.lake.schemas import ANNOTATIONS

WORDS = st.lists(st.sampled_from(["a", "dog", "Dog", "red", "big red", "é", "犬", "(dog)", "dog,", ""]), max_size=12)


def test_the_kinds_of_the_config_are_those_of_the_table():
    assert get_args(Kind) == tuple(ANNOTATIONS)
    assert DEFAULTS.keys() == ANNOTATIONS.keys()


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("Anna Karenina in Moscow", 3 / 4),
        ("a dog", 0),
        ("Der Hund", 1),
        ("Élan vital", 1 / 2),
        ("12 3", None),
        ("", None),
        ("犬と猫", None),
        ("犬 Tokyo", 1 / 2),
    ],
)
def test_the_share_of_capitalized_words(text, share):
    assert capitalized_share(text) == share
    assert CapitalizedShare()(pa.table({"text": [text]}), 0) == [share]


def text(words: str, lang: str, entries: int = 1) -> dict:
    return {"source": "alt", "text": words, "lang": lang, "entry_ids": list(range(entries))}


def test_the_english_text_is_the_published_one_or_the_one_with_the_most_entries():
    rows = [
        {"text": "a dog", "lang": "en", "texts": [text("a big dog", "en", 3)]},
        {
            "text": "ein Hund",
            "lang": "de",
            "texts": [text("ein Hund", "de", 5), text("dog", "en"), text("a dog", "en", 2)],
        },
        {"text": "ein Hund", "lang": "de", "texts": [text("ein Hund", "de")]},
        {"text": "ein Hund", "lang": "de", "texts": None},
    ]
    assert EnglishText()(pa.Table.from_pylist(rows), 0) == ["a dog", "a dog", None, None]


@given(WORDS.map(" ".join), st.integers(1, 5), st.integers(0, 3))
def test_a_hard_text_has_the_words_of_the_text_in_another_order(text, count, seed):
    hard = swap_words(text, count, seed)
    assert len(hard) == len(set(hard)) <= count
    for each in hard:
        changed = [pair for pair in zip(text.split(" "), each.split(" "), strict=True) if pair[0] != pair[1]]
        assert len(changed) == 2
        assert changed[0] == changed[1][::-1]
    if len(set(text.split(" "))) == len(text.split(" ")) > 1:
        assert hard
    assert hard == swap_words(text, count, seed)


def test_a_hard_text_says_from_which_text_it_is():
    row = {"text": "a dog", "texts": [text("a cat", "en"), text("a dog", "en")]}
    [[made]] = SwappedWords()(pa.Table.from_pylist([row]), 0)
    assert made == {"text": "dog a", "style": "swapped_words", "of": 1}
    with pytest.raises(UsageError, match=r"annotate\.makers\.hard_texts: .* refuses its parameters .*count 0 must be"):
        load_maker(AnnotateSection(makers={"hard_texts": {"count": 0}}), "hard_texts")


def replace_slowly(words: str, entries: dict[str, str]) -> str:
    """Try the longest of up to three words at each place, without the punctuation around them."""
    parts, replaced = words.split(" "), []
    while parts:
        for size in (3, 2, 1):
            whole = " ".join(parts[:size])
            inner = whole.strip("(),")
            if len(parts) >= size and inner.count(" ") == size - 1 and inner.lower() in entries:
                new = entries[inner.lower()]
                start = whole.index(inner)
                new = new.capitalize() if inner[0].isupper() else new
                replaced.append(whole[:start] + new + whole[start + len(inner) :])
                parts = parts[size:]
                break
        else:
            replaced.append(parts.pop(0))
    return " ".join(replaced)


@given(WORDS.map(" ".join))
def test_the_longest_entry_at_each_place_is_replaced_and_all_else_stays(words):
    entries = {"dog": "cat", "red": "blue", "red dog": "pink cow"}
    assert replace(words, entries, lambda _, value: value) == replace_slowly(words, entries)
    assert replace(words, entries, lambda _, __: None) == words
    assert replace("Dog", entries, lambda _, value: value, keep_capitals=False) == "cat"
    assert replace("us at the US", {"US": "USA"}, lambda _, value: value) == "us at the USA"
