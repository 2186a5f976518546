from __future__ import annotations

import bz2
import gzip
import re
from collections import Counter
from pathlib import Path

import pytest
import yaml

from demo.words import KINDS, languages
from metadata.languages import LanguageTable
from metadata.limits import resolve_limits
from metadata.lists.build import DumpCounters, count_dump, count_views, read_lemmas, source_list
from metadata.lists.titles import ViewCounters, best_titles, sum_bucket
from metadata.ngrams.count import sum_grams
from metadata.ngrams.rank import rank_bigrams, rank_unigrams
from metadata.ngrams.tokens import joiner

TABLE = LanguageTable.load()


def open_binary(path):
    return Path(path).open("rb")


@pytest.fixture(scope="module")
def lemmas(world):
    return read_lemmas([str(path) for path in world.rglob("wordnet/**/*")], open_binary, TABLE)


@pytest.fixture(scope="module")
def views(world):
    read = []
    for path in sorted(world.glob("pageviews/*")):
        counters = ViewCounters()
        read.append((list(count_views(str(path), open_binary, TABLE, languages(), counters)), counters))
    return read


def dump_of(world, code):
    (path,) = world.glob(f"wikipedia/{code}wiki-*")
    return str(path)


def test_every_second_dump_is_compressed(world):
    suffixes = Counter(path.suffix for path in world.glob("wikipedia/*"))
    assert suffixes == {".bz2": 9, ".xml": 9}


@pytest.mark.parametrize("code", languages())
def test_every_noun_or_its_parts_become_entries(world, lemmas, views, code):
    counters = DumpCounters()
    grams = sum_grams(count_dump(dump_of(world, code), open_binary, TABLE.languages[code], counters))
    assert counters.error is None
    assert counters.drops == {"redirect": 1, "other_namespace": 2}
    limits = resolve_limits(code, code, yaml.safe_load((world / "config.yaml").read_text())["metadata"]["limits"])
    ranked = sum_bucket((table for tables, _ in views for table in tables), {code: counters.namespaces})[code]
    rows = zip(ranked["title"].to_pylist(), ranked["views"].to_pylist(), strict=True)
    titles = best_titles([rows], ranked.num_rows, limits)
    language_lemmas = lemmas.lemmas.get(code, ())
    separator = joiner(TABLE.languages[code])
    unigrams, bigrams = rank_unigrams(grams, limits), rank_bigrams(grams, limits, separator)
    entries = source_list(limits, lemmas=language_lemmas, unigrams=unigrams, bigrams=bigrams, titles=titles)
    entry_texts = {entry.entry for entry in entries}
    assert {entry.origin for entry in entries} >= {"number", "title"}
    for kind in KINDS:
        word = languages()[code].nouns[kind].word
        assert entry_texts & {word, *word.split()}, kind


def test_markup_does_not_reach_the_counts(world):
    grams = sum_grams(count_dump(dump_of(world, "en"), open_binary, TABLE.languages["en"], DumpCounters()))
    words = set(grams["first"].to_pylist())
    assert {"umbrella", "village", "word"} <= words
    assert not words & {"Infobox", "thumb", "wikitable", "boilerplate", "ref", "talk", "REDIRECT"}


def test_pageviews_have_other_projects_malformed_lines_and_mobile_counts(world, views):
    for _, counters in views:
        assert counters.error is None
        assert {"other_site", "no_title", "namespaced", "malformed"} <= set(counters.drops)
    lines = [line for path in world.glob("pageviews/*") for line in _lines(path)]
    assert any(line.startswith("en.m ") for line in lines)
    assert all(re.fullmatch(r"\S+ \S+ \d+ \d+", line) for line in lines if line != "broken")


def _lines(path):
    return gzip.decompress(path.read_bytes()).decode().splitlines()


def test_wordnets_name_every_kind_in_every_language_that_has_one(lemmas):
    assert not lemmas.errors
    assert not lemmas.unmapped
    with_wordnet = {lang.code for lang in languages().values() if lang.wordnet}
    assert set(lemmas.lemmas) == with_wordnet
    for code in with_wordnet:
        assert {noun.word for noun in languages()[code].nouns.values()} <= set(lemmas.lemmas[code])


def test_a_compressed_dump_decompresses_to_xml(world):
    text = bz2.decompress(open_binary(dump_of(world, "en")).read()).decode()
    assert text.count("<page>") == text.count("</page>") > 60
