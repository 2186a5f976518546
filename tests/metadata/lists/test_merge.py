from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.lake.schemas import SCHEMAS
from curation.lake.shuffle import spread
from curation.matching.rules import normalize_entry
from metadata.limits import Limits
from metadata.lists.merge import (
    NUMBERS,
    Entry,
    clean,
    entries_table,
    entry_forms,
    list_digest,
    merge_entry_forms,
    merge_lists,
    merge_sources,
    metadata_version,
    version_from_digests,
)

TEXTS = st.sampled_from(
    ["a", "b", "B", "é", "e\u0301", "a b", "a  b", "!", "...", "", " ", "St. Louis", "St . Louis"]
) | st.text("ab.'’", max_size=3)
SCORED = st.lists(st.tuples(TEXTS, st.floats(0.5, 9)), max_size=8)
CAPS = st.integers(0, 5)


def oracle_sources(numbers, wordnet, unigrams, bigrams, titles, limits):
    """Add the sources in order to a plain list."""
    found, added = [], {}
    sources = [
        ("number", [(n, None) for n in numbers], None),
        ("wordnet", [(w, None) for w in wordnet], limits.wordnet_cap),
    ]
    sources += [
        ("unigram", unigrams, limits.unigram_cap),
        ("bigram", bigrams, None),
        ("title", titles, limits.title_cap),
    ]
    for origin, candidates, cap in sources:
        if origin == "bigram":
            cap = min(limits.bigram_cap, int(limits.bigram_share * added["unigram"]))
        added[origin] = 0
        for text, score in candidates:
            text = " ".join(unicodedata.normalize("NFC", text).split())
            only_marks = all(unicodedata.category(c).startswith("P") or c in "$+<=>^`|~ " for c in text)
            if (cap is not None and added[origin] >= cap) or only_marks or len(text) > 256:
                continue
            if text not in [entry.entry for entry in found]:
                found.append(Entry(text, origin, score))
                added[origin] += 1
    return found


@settings(max_examples=150, deadline=None)
@given(st.lists(TEXTS, max_size=8), SCORED, SCORED, SCORED, st.none() | CAPS, CAPS, CAPS, CAPS)
def test_first_occurrence_wins_and_caps_count_additions_only(
    wordnet, unigrams, bigrams, titles, cap0, cap1, cap2, cap3
):
    limits = Limits(wordnet_cap=cap0, unigram_cap=cap1, bigram_cap=cap2, title_cap=cap3)
    sources = (["0", "1"], wordnet, unigrams, bigrams, titles, limits)
    assert merge_sources(*sources) == oracle_sources(*sources)


def test_numbers_come_first_and_a_cap_of_zero_adds_none():
    limits = Limits(wordnet_cap=0, unigram_cap=0, bigram_cap=0, title_cap=0)
    entries = merge_sources(NUMBERS, ["7", "dog"], [("cat", 3)], [("a b", 1)], [("Dog", 2)], limits)
    assert [entry.entry for entry in entries] == [str(n) for n in range(100)]
    assert {entry.origin for entry in entries} == {"number"}


@pytest.mark.parametrize(
    ("text", "entry"),
    [
        ("dog", "dog"), (" hot \u00a0dog\n", "hot dog"), ("cafe\u0301", "café"), ("a" * 256, "a" * 256),
        ("a" * 257, None), ("", None), ("...", None), ("¿—。", None), ("$ +", None), ("C++", "C++"), ("€", "€"),
        ("😀", "😀"), ("文", "文"), ("\u200b", None), ("\ufeff-\u200d", None), ("\u0301", None), ("\u3164", None),
        ("x\0y", None), ("n\x9cud", None), ("نمی\u200cدانم", "نمی\u200cدانم"),
    ],
)  # fmt: skip
def test_entries_have_1_to_256_characters_of_which_some_show_and_are_not_punctuation(text, entry):
    assert clean(text) == entry


ENTRIES = st.lists(
    st.builds(Entry, TEXTS.filter(bool), st.sampled_from(["unigram", "title"]), st.floats(0, 9)), max_size=8
)


@settings(max_examples=150, deadline=None)
@given(st.lists(ENTRIES, max_size=4))
def test_merged_lists_are_sorted_and_have_one_entry_per_form_with_aliases(lists):
    merged = merge_lists(lists)
    first = {}
    for entry in (entry for entries in lists for entry in entries):
        first.setdefault(entry.entry, entry)
    forms = {}
    for name in first:
        if normalize_entry(name):
            forms.setdefault(normalize_entry(name), set()).add(name)
    expected = []
    for names in forms.values():
        kept, *aliases = sorted(names)
        expected.append(Entry(kept, first[kept].origin, first[kept].score, tuple(aliases)))
    assert merged == sorted(expected, key=lambda entry: entry.entry)


def test_spellings_with_the_same_form_are_one_entry():
    merged = merge_lists(
        [[Entry("St. Louis", "title", 9.0)], [Entry("St . Louis", "bigram", 1.0), Entry("\u200b", "title", 1.0)]]
    )
    assert merged == [Entry("St . Louis", "bigram", 1.0, ("St. Louis",))]


@given(st.lists(ENTRIES, min_size=1, max_size=3), st.randoms())
def test_entries_do_not_depend_on_the_order_of_lists(lists, random):
    shuffled = random.sample(lists, len(lists))
    assert [(e.entry, e.aliases) for e in merge_lists(lists)] == [(e.entry, e.aliases) for e in merge_lists(shuffled)]


@settings(max_examples=150, deadline=None)
@given(st.lists(ENTRIES, max_size=4), st.integers(1, 5))
def test_merging_in_buckets_of_forms_gives_the_same_list(lists, buckets):
    cut = zip(*(spread(entry_forms(entries), "form", buckets) for entries in lists), strict=True)
    merged = [entry for tables in cut for entry in merge_entry_forms(tables)]
    assert sorted(merged, key=lambda entry: entry.entry) == merge_lists(lists)


def test_the_id_of_an_entry_is_its_position_in_the_table():
    entries = [Entry("0", "number"), Entry("a b", "bigram", 1.5, ("a  b",))]
    table = entries_table(entries)
    assert table.schema == SCHEMAS["entries"]
    assert table.to_pylist() == [
        {"entry_id": 0, "entry": "0", "origin": "number", "score": None, "aliases": []},
        {"entry_id": 1, "entry": "a b", "origin": "bigram", "score": 1.5, "aliases": ["a  b"]},
    ]
    assert entries_table([]).schema == SCHEMAS["entries"]
    assert entries_table(entries[1:], 1).equals(table.slice(1))


def test_the_version_depends_on_languages_entries_and_their_order():
    def version(**lists):
        return metadata_version({lang: [Entry(name, "title") for name in names] for lang, names in lists.items()})

    base = version(en=["a", "b"], de=["c"])
    assert len(base) == 16
    assert int(base, 16) >= 0
    assert version(de=["c"], en=["a", "b"]) == base, "the order of languages does not matter"
    others = [version(en=["b", "a"], de=["c"]), version(en=["a"], de=["b", "c"]), version(en=["a", "b"], fr=["c"])]
    others += [version(en=["a", "b"]), version(en=["a", "b"], de=["c"], fr=[]), version(en=["ab"], de=["c"])]
    assert len({base, *others}) == 7


def test_digests_computed_separately_give_the_same_version():
    lists = {"en": [Entry("a", "title")], "de": [Entry("b", "title")]}
    assert version_from_digests({lang: list_digest(entries) for lang, entries in lists.items()}) == metadata_version(
        lists
    )
