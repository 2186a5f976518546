from __future__ import annotations

import bz2
import gzip
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.errors import InputError
from metadata.dumps import xml as dumps
from metadata.dumps.xml import iter_pages
from support.dumps import dump, page

# Characters that XML 1.0 can represent; it turns \r into \n.
XML_TEXT = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff") | st.sampled_from("\n\t"),
    max_size=60,
)


def read(data: bytes):
    return [tuple(page[:4]) for page in iter_pages(io.BytesIO(data), "dump.xml")]


def pages_before_error(data: bytes):
    """Return the titles yielded before the InputError, and its message."""
    found = []
    with pytest.raises(InputError, match=r"dump\.xml") as caught:
        found.extend(page.title for page in iter_pages(io.BytesIO(data), "dump.xml"))
    return found, str(caught.value)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(XML_TEXT, XML_TEXT, st.integers(0, 15), st.booleans()), max_size=5),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    st.sampled_from([bytes, bz2.compress, gzip.compress]),
)
def test_a_dump_is_read_in_every_encoding_and_compression(pages, encoding, pack):
    xml = dump(*(page(title, text, ns=f"<ns>{ns}</ns>", redirect=redirect) for title, text, ns, redirect in pages))
    expected = [
        (title, ns, redirect or text.lstrip()[:9].upper() == "#REDIRECT", text) for title, text, ns, redirect in pages
    ]
    assert read(pack(xml.encode(encoding))) == expected


def test_the_last_revision_is_read():
    assert read(dump(page("A", "new", revisions=("old", "older", "new"))).encode()) == [("A", 0, False, "new")]


def test_namespace_names_come_from_the_siteinfo_and_may_be_missing():
    (one,) = iter_pages(io.BytesIO(dump(page("A", "x")).encode()))
    assert one.namespaces == {0: "", 6: "Datei", 10: "Vorlage"}
    (one,) = iter_pages(io.BytesIO(dump(page("A", "x"), siteinfo="").encode()))
    assert one.namespaces == {}


def test_old_exports_name_namespace_and_redirect_in_title_and_text():
    pages = [page("Vorlage:X", "x", ns=""), page("Star Wars: IV", "x", ns=""), page("R", "#Redirect [[A]]", ns="")]
    assert [found[1:3] for found in read(dump(*pages).encode())] == [(10, False), (0, False), (0, True)]


def test_concatenated_bzip2_streams_are_one_dump():
    xml = dump(page("A", "a"), page("B", "b")).encode()
    assert [title for title, *_ in read(bz2.compress(xml[:200]) + bz2.compress(xml[200:]))] == ["A", "B"]


@pytest.mark.parametrize("cut", [1, 30, 400])
def test_pages_before_broken_xml_are_yielded_and_then_the_file_is_named(cut):
    titles = [f"T{n}" for n in range(20)]
    xml = dump(*(page(title, "text " * 40) for title in titles)).encode()
    found, _ = pages_before_error(xml[:-cut])
    assert found == titles[: len(found)]
    assert len(found) == xml[:-cut].count(b"</page>")


def test_pages_before_broken_xml_in_the_same_block_are_yielded():
    xml = dump(page("A", "a"), page("B", "b"), "<page></title>", page("C", "c"))
    titles, error = pages_before_error(xml.encode())
    assert titles == ["A", "B"]
    assert "mismatched tag" in error


def test_pages_before_the_end_of_a_truncated_bzip2_are_yielded():
    # Incompressible pages, so that several bzip2 blocks of 100 kB precede the cut.
    titles = [f"T{n}" for n in range(300)]
    xml = dump(*(page(title, "".join(map(str, range(n * 999, n * 999 + 900)))) for n, title in enumerate(titles)))
    packed = bz2.compress(xml.encode(), 1)
    cut = packed[: len(packed) // 2]
    found, error = pages_before_error(cut)
    assert "cannot read" in error
    assert found == titles[: bz2.BZ2Decompressor().decompress(cut).count(b"</page>")]
    assert 50 < len(found) < 300


def test_corrupt_bzip2_and_gzip_are_refused_with_the_file_name():
    for pack in (bz2.compress, gzip.compress):
        packed = bytearray(pack(dump(page("A", "a" * 999)).encode()))
        packed[len(packed) // 2] ^= 0xFF
        assert pages_before_error(bytes(packed))[0] == []


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a complete XML export"),
        (b"not xml", "not a complete XML export"),
        (b"<html></html>", "root element is <html>"),
        (b"<!DOCTYPE x [<!ENTITY a 'b'>]><mediawiki/>", "document type"),
        (b"<mediawiki><page><title>\xff</title></page></mediawiki>", "not a complete XML export"),
    ],
)
def test_files_that_are_not_exports_are_refused_with_the_file_name(data, message):
    found, error = pages_before_error(data)
    assert not found
    assert message in error


def test_a_page_that_is_too_long_is_marked_and_the_others_are_read(monkeypatch):
    monkeypatch.setattr(dumps, "MAX_TEXT", 1000)
    data = dump(page("A", "a"), page("B", "b" * 300_000), page("C", "c")).encode()
    found = list(iter_pages(io.BytesIO(data)))
    assert [(page.title, page.text, page.is_whole) for page in found] == [
        ("A", "a", True), ("B", "", False), ("C", "c", True),
    ]  # fmt: skip


def test_entities_are_never_expanded():
    bomb = (
        b'<!DOCTYPE m [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><mediawiki><page><title>&b;</title></page></mediawiki>'
    )
    assert pages_before_error(bomb) == ([], "dump.xml declares a document type, which no MediaWiki export does")


@pytest.mark.parametrize(
    ("path", "pages", "articles", "redirects", "names"),
    [
        ("wiki-dumpster/tests/smallwiki-latest-pages-articles.xml", 2004, 1050, 195, 25),
        ("wiki-gensim/enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2", 206, 205, 100, 35),
        ("wiki-gensim/bgwiki-latest-pages-articles-shortened.xml.bz2", 3, 1, 0, 27),
        ("wiki-gensim/enwiki-table-markup.xml.bz2", 5, 5, 0, 0),
    ],
)
def test_real_dumps_are_read_completely(fixtures_dir, path, pages, articles, redirects, names):
    with (fixtures_dir / path).open("rb") as stream:
        found = list(iter_pages(stream, path))
    assert len(found) == pages
    assert sum(page.namespace == 0 for page in found) == articles
    assert sum(page.is_redirect for page in found) == redirects
    assert len(found[0].namespaces) == names
    assert all(page.title for page in found)


def test_every_minidump_is_read(fixtures_dir):
    files = sorted(fixtures_dir.glob("wiki-minidumps/dump/src/test/resources/minidumps/*/wiki.xml.bz2"))
    counts = {}
    for file in files:
        with file.open("rb") as stream:
            counts[file.parent.name] = sum(bool(page.text) for page in iter_pages(stream, str(file)))
    assert len(counts) > 100
    assert counts["en"] == 27
    assert [name for name, count in counts.items() if not count] == ["wikidata.org"]
