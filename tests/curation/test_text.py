from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.text import clean, clean_all, valid_unicode

any_text = st.text(st.characters(exclude_categories=()))  # lone surrogates too
spaced_text = st.text(st.sampled_from(" \t\r\n\v\f\x1c\x85\xa0\u2003\u2028\u3000\u200babé\u0301カ\ud83d\ude00"))


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("", ""),
        (" \t\n ", ""),
        ("a", "a"),
        ("  a \t b\r\n", "a b"),
        ("a\u00a0\u3000b", "a b"),
        ("a\u200bb", "a\u200bb"),  # a zero-width space is not white space
        ("cafe\u0301", "café"),
        ("\u2126", "Ω"),
        ("ﬁ", "ﬁ"),  # NFC, not NFKC
        ("\ud83d\ude00", "😀"),
        ("a\ud83d", "a\ufffd"),
        ("\ude00\ud83d", "\ufffd\ufffd"),
        ("a\ud83db", "a\ufffdb"),
    ],
)
def test_texts_have_these_cleaned_forms(raw, cleaned):
    assert clean(raw) == cleaned


def slow_clean(text: str) -> str:
    out = ""
    for char in unicodedata.normalize("NFC", text):
        out += " " if char.isspace() else char
    while "  " in out:
        out = out.replace("  ", " ")
    return out.strip(" ")


@settings(deadline=None)
@given(st.text() | spaced_text.filter(lambda text: text == valid_unicode(text)))
def test_cleaning_gives_nfc_and_single_spaces(text):
    assert clean(text) == slow_clean(text)


@settings(deadline=None)
@given(any_text | spaced_text)
def test_cleaning_is_idempotent_and_the_result_is_valid_utf8(text):
    once = clean(text)
    assert clean(once) == once
    assert once.encode("utf-8").decode("utf-8") == once


@settings(deadline=None)
@given(st.lists(st.text(st.sampled_from("ab é"), max_size=4) | spaced_text | any_text | st.sampled_from([None, 0, ()])))
def test_cleaning_all_texts_of_a_page_equals_cleaning_each(values):
    assert clean_all(values) == [clean(value) if isinstance(value, str) else None for value in values]


@settings(deadline=None)
@given(any_text)
def test_only_surrogates_are_replaced(text):
    valid = valid_unicode(text)
    valid.encode("utf-8")
    if not any("\ud800" <= char <= "\udfff" for char in text):
        assert valid == text
