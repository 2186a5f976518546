"""Texts of languages without a list are matched against `other`, and are counted by name."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.lake.schemas import SCHEMAS
from curation.language_keys import MERGED, OTHER
from curation.matching.matcher import Matcher
from curation.matching.pairs import PairMatcher

WORDS = ["dog", "hund", "chien", "7"]
LANGS = ["en", "de", "fr", OTHER]
LISTS = st.dictionaries(st.sampled_from(LANGS), st.sets(st.sampled_from(WORDS), max_size=3).map(sorted), max_size=4)


class FirstWord:
    """Identifies the language that the first word of a text names."""

    def identify_column(self, texts):
        langs = [text.split()[0] for text in texts.to_pylist()]
        return pa.array(langs, pa.string()), pa.array([0.5] * len(langs), pa.float32())


def batch_of(images):
    rows = [
        {"image_id": f"{n:024x}", "image_url": "u", "texts": [{"source": "alt", "text": text} for text in texts]}
        for n, texts in enumerate(images)
    ]
    return pa.RecordBatch.from_pylist(rows, SCHEMAS["pairs"])


def match_all(lists, images):
    matcher = PairMatcher(
        FirstWord(),
        {lang: len(words) for lang, words in lists.items()},
        lambda lang: Matcher.build(lists[lang], "worldwide"),
    )
    rows = matcher.match(batch_of(images)).to_pylist()
    found = [(text["text"], text["lang"], text["entry_ids"]) for row in rows for text in row["texts"]]
    counts = {(row["lang"], row["entry_id"]): row["count"] for t in matcher.counts().values() for row in t.to_pylist()}
    return matcher, found, counts


TEXTS = st.builds(
    lambda lang, words: " ".join([lang, *words]), st.sampled_from(LANGS), st.lists(st.sampled_from(WORDS), max_size=3)
)


@settings(max_examples=60, deadline=None)
@given(LISTS, st.lists(st.lists(TEXTS, min_size=1, max_size=3), max_size=6))
def test_a_text_is_matched_in_its_list_or_else_in_other_and_no_language_is_lost(lists, images):
    matcher, found, counts = match_all(lists, images)
    expected, tally, unlisted = [], Counter(), Counter()
    for text in (text for texts in images for text in texts):
        lang, *words = text.split()
        if lang not in lists:
            unlisted[lang] += 1
        key = lang if lang in lists else OTHER if OTHER in lists else lang
        if ids := [n for n, entry in enumerate(lists.get(key, [])) if entry in words]:
            expected.append((text, key, ids))
            tally.update((key, n) for n in ids)
    assert found == expected
    assert counts == dict(tally)
    assert matcher.without_list == unlisted
    assert matcher.texts.total() == sum(map(len, images))
    assert matcher.matched == Counter(lang for _, lang, _ in expected)


def test_with_a_merged_list_no_language_is_without_a_list():
    matcher, found, _ = match_all({MERGED: ["dog"]}, [["de dog"], ["fr chien"]])
    assert found == [("de dog", "de", [0])]
    assert not matcher.without_list


@pytest.mark.parametrize("lists", [{"en": []}, {"en": [], OTHER: ["dog"]}])
def test_an_empty_list_is_a_list(lists):
    matcher, found, _ = match_all(lists, [["en dog"]])
    assert not found
    assert not matcher.without_list
