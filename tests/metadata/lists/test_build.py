from __future__ import annotations

import bz2
import io
from collections import Counter

import pytest

from curation.errors import InputError
from curation.io.storage import Storage
from metadata.dumps.wikitext import plain_text
from metadata.languages import LanguageTable
from metadata.limits import Limits, resolve_limits
from metadata.lists.build import DumpCounters, count_dump, count_views, read_lemmas, source_list
from metadata.lists.merge import Entry, merge_lists
from metadata.lists.titles import ViewCounters, best_titles, sum_bucket
from metadata.ngrams.count import NgramCounter, sum_grams
from metadata.ngrams.rank import rank_bigrams, rank_unigrams
from metadata.ngrams.tokens import joiner

LANGUAGES = LanguageTable.load()
SMALL = Limits(unigram_share=1.0, bigram_share=1.0, title_share=1.0)
DUMP = """<mediawiki><siteinfo><namespaces><namespace key="6">Fails</namespace><namespace key="-1">Spec</namespace>
</namespaces></siteinfo>
<page><title>A</title><ns>0</ns><revision><text>'''Dog''' house. [[Fails:X|y]] dog</text></revision></page>
<page><title>B</title><ns>0</ns><redirect title="A"/><revision><text>#REDIRECT [[A]]</text></revision></page>
<page><title>Fails:C</title><ns>6</ns><revision><text>file</text></revision></page>
<page><title>D</title><ns>0</ns><revision><text>Dog house</text></revision></page></mediawiki>"""


def opener(files):
    def open_binary(path):
        if path not in files:
            raise InputError(f"cannot read {path}: missing")
        return io.BytesIO(files[path])

    return open_binary


def dump_counts(data, code="ltg", **options):
    counters = DumpCounters()
    tables = list(count_dump("d.xml", opener({"d.xml": data}), LANGUAGES.languages[code], counters, **options))
    rows = sum_grams(tables).to_pylist()
    return tables, {" ".join(filter(None, (row["first"], row["second"]))): row["count"] for row in rows}, counters


def test_only_articles_are_read_and_every_page_is_counted():
    _, grams, counters = dump_counts(DUMP.encode())
    assert grams == {"Dog": 2, "house": 2, "dog": 1, "Dog house": 2}
    assert (counters.read, counters.kept, counters.drops) == (4, 2, {"redirect": 1, "other_namespace": 1})
    assert counters.namespaces == {"fails", "spec"}
    assert counters.error is None


def test_the_window_size_changes_only_the_number_of_tables():
    tables, grams, _ = dump_counts(DUMP.encode(), counter=NgramCounter(window=1))
    assert len(tables) == 3
    assert grams == dump_counts(DUMP.encode())[1]


def test_a_damaged_dump_gives_the_pages_before_the_damage_and_an_error():
    _, grams, counters = dump_counts(DUMP[:-60].encode())
    assert grams == {"Dog": 1, "house": 1, "dog": 1, "Dog house": 1}
    assert counters.read == 3
    assert counters.error is not None
    assert counters.error.startswith("d.xml")
    _, grams, counters = dump_counts(bz2.compress(DUMP.encode())[:-20])
    assert (grams, counters.read) == ({}, 0)
    assert counters.error is not None


def test_a_page_that_cannot_be_parsed_is_counted_and_the_others_are_read(monkeypatch):
    def parser(text, hidden):
        if text == "Dog house":
            raise RecursionError("too deep")
        return plain_text(text, hidden)

    monkeypatch.setattr("metadata.lists.build.plain_text", parser)
    _, grams, counters = dump_counts(DUMP.encode())
    assert grams == {"Dog": 1, "house": 1, "dog": 1, "Dog house": 1}
    assert (counters.read, counters.kept) == (4, 1)
    assert counters.drops == {"redirect": 1, "other_namespace": 1, "unparsable": 1}


def test_a_page_of_ten_megabytes_and_one_of_a_hundred_thousand_templates_are_read():
    long, nested = "dog house " * 1_000_000, "{{a|" * 100_000 + "x" + "}}" * 100_000 + "deep"
    pages = "".join(
        f"<page><title>t</title><ns>0</ns><revision><text>{t}</text></revision></page>" for t in (long, nested)
    )
    _, grams, counters = dump_counts(f"<mediawiki>{pages}</mediawiki>".encode())
    assert grams == {"dog": 10**6, "house": 10**6, "dog house": 10**6, "house dog": 10**6 - 1, "deep": 1}
    assert (counters.kept, counters.error) == (2, None)


def test_a_missing_file_is_recorded_as_an_error():
    counters = DumpCounters()
    (table,) = count_dump("gone", opener({}), LANGUAGES.languages["en"], counters)
    assert (table.num_rows, counters.error) == (0, "cannot read gone: missing")
    views = ViewCounters()
    assert list(count_views("gone", opener({}), LANGUAGES, ["en"], views)) == []
    assert (views.lines, views.error) == (0, "cannot read gone: missing")


def test_text_without_spaces_is_split_into_words():
    text = DUMP.replace("Dog house", "東京都に行く").encode()
    _, grams, counters = dump_counts(text, code="ja")
    assert {"東京": 1, "都": 1, "東京 都": 1, "Dog": 1}.items() <= grams.items()
    assert counters.kept == 2


def test_a_page_view_file_is_read_once_for_all_selected_wikipedias():
    lines = b"en Dog 1 0\nde Hund 2 0\nfr Chien 3 0\nbe-tarask.m A 4 0\n"
    counters = ViewCounters()
    (table,) = count_views("v", opener({"v": lines}), LANGUAGES, ["en", "de", "be_tarask"], counters)
    assert sorted(tuple(row.values()) for row in table.to_pylist()) == [
        ("be_tarask", "A", 4),
        ("de", "Hund", 2),
        ("en", "Dog", 1),
    ]
    assert counters.drops == {"other_site": 1}


def test_a_source_list_has_its_sources_in_order():
    tables, _, counters = dump_counts(DUMP.encode())
    grams = sum_grams(tables)
    views = count_views(
        "v", opener({"v": b"ltg Spec:X 9 0\nltg dog 8 0\nltg Suns 7 0\n"}), LANGUAGES, ["ltg"], ViewCounters()
    )
    ranked = sum_bucket(views, {"ltg": counters.namespaces})["ltg"]
    rows = zip(ranked["title"].to_pylist(), ranked["views"].to_pylist(), strict=True)
    lemmas = read_lemmas(
        ["wn-wikt-ltg.tab"], opener({"wn-wikt-ltg.tab": b"1-n\tltg:lemma\thouse"}), LANGUAGES, wiktionary=True
    ).lemmas["ltg"]
    entries = source_list(
        SMALL,
        unigrams=rank_unigrams(grams, SMALL),
        bigrams=rank_bigrams(grams, SMALL),
        titles=best_titles([rows], ranked.num_rows, SMALL),
        lemmas=lemmas,
    )
    assert [(entry.entry, entry.origin) for entry in entries[100:]] == [
        ("house", "wordnet"), ("Dog", "unigram"), ("dog", "unigram"), ("Suns", "title"),
    ]  # fmt: skip
    assert entries[101] == Entry("Dog", "unigram", 2.0)


def test_a_language_without_sources_has_the_numbers():
    assert len(source_list(SMALL)) == 100


@pytest.mark.parametrize(
    ("code", "path", "kept", "origins"),
    [
        ("ltg", "wiki-dumpster/tests/smallwiki-latest-pages-articles.xml", 903, {"number", "unigram", "bigram"}),
        (
            "bg",
            "wiki-gensim/bgwiki-latest-pages-articles-shortened.xml.bz2",
            1,
            {"number", "wordnet", "unigram", "bigram"},
        ),
        (
            "zh",
            "wiki-minidumps/dump/src/test/resources/minidumps/zh/wiki.xml.bz2",
            1,
            {"number", "wordnet", "unigram", "bigram"},
        ),
    ],
)
def test_real_dumps_become_lists(fixtures_dir, code, path, kept, origins):
    counters = DumpCounters()
    storage, language = Storage(), LANGUAGES.languages[code]
    grams = sum_grams(count_dump(str(fixtures_dir / path), storage.open_input, language, counters))
    assert (counters.kept, counters.error) == (kept, None)
    omw = [str(file) for file in fixtures_dir.glob("omw/[bc]*/*.tab")]
    lemmas = read_lemmas(omw, storage.open_input, LANGUAGES).lemmas.get(code, [])
    limits = resolve_limits(code, LANGUAGES.target(code))
    unigrams, bigrams = rank_unigrams(grams, limits), rank_bigrams(grams, limits, joiner(language))
    entries = source_list(limits, lemmas=lemmas, unigrams=unigrams, bigrams=bigrams)
    counts = Counter(entry.origin for entry in entries)
    assert set(counts) == origins
    assert counts["bigram"] <= counts["unigram"] * 0.4
    merged = merge_lists([entries])
    assert [entry.entry for entry in merged] == sorted(entry.entry for entry in merged)
    assert sum(1 + len(entry.aliases) for entry in merged) == len(entries)
