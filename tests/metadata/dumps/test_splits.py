from __future__ import annotations

import bz2
import gzip
import io
import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.errors import InputError
from metadata.dumps import splits
from metadata.dumps.splits import Split, find_splits, iter_split_pages
from metadata.dumps.xml import iter_pages
from support.dumps import dump, page

RANDOM = random.Random(0)
PAGES = [
    page(f"T{n}", "".join(RANDOM.choices("abcdefgh é<>&\n", k=RANDOM.choice([0, 50, 9_000]))), ns=f"<ns>{n % 3}</ns>")
    for n in range(120)
]
XML = dump(*PAGES).encode()
MANY = b"".join(bz2.compress(part) for part in (dump().encode()[:-12], *(p.encode() for p in PAGES), b"</mediawiki>"))
FORMS = {"plain": XML, "bz2": bz2.compress(XML, 1), "multistream": MANY}


def whole(data):
    return list(iter_pages(io.BytesIO(data), "d"))


def read_split(data, split):
    return list(iter_split_pages(io.BytesIO(data), "d", split))


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(sorted(FORMS)), st.lists(st.floats(0, 1), max_size=5), st.sampled_from([64, 4096, 1 << 18]))
def test_every_page_is_in_exactly_one_split(form, cuts, block):
    data = FORMS[form]
    edges = sorted({0, len(data), *(int(cut * len(data)) for cut in cuts)})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(splits, "BLOCK", block)
        found = [found for start, end in pairwise(edges) for found in read_split(data, Split(start, end))]
    assert found == whole(data)


def test_a_split_may_end_at_any_byte():
    data = dump(page("A", "a"), page("B", "b" * 40), page("C", "")).encode()
    for edge in range(len(data) + 1):
        both = read_split(data, Split(0, edge)) + read_split(data, Split(edge, len(data)))
        assert both == whole(data), edge


@pytest.mark.parametrize(
    "data",
    [
        XML.decode().encode("utf-16"),
        ('<?xml version="1.0" encoding="iso-8859-1"?>' + dump(page("é", "ü"))).encode("latin-1"),
        gzip.compress(XML),
        bz2.compress(XML.decode().encode("utf-16")),
        dump().encode(),
    ],
)
def test_the_first_split_of_a_file_that_cannot_be_split_is_the_whole_file(data):
    half = len(data) // 2
    assert read_split(data, Split(0, half)) == whole(data)
    assert read_split(data, Split(half, len(data))) == []


def test_splits_are_equal_and_without_gaps():
    found = find_splits("enwiki-pages-articles.xml.bz2", 1001, 100)
    assert (found[0].start, found[-1].end, len(found)) == (0, 1001, 11)
    assert all(one.end == other.start for one, other in pairwise(found))
    assert max(split.end - split.start for split in found) <= 100
    assert len(find_splits("enwiki_content-20260830-00000.json.bz2", 1001, 100)) == 11
    for name in ("a.xml.gz", "a-cirrussearch-content.json.gz"):
        assert find_splits(name, 1001, 100) == [Split(0, 1001)]
    assert find_splits("empty", 0, 100) == [Split(0, 0)]


@pytest.mark.parametrize("form", sorted(FORMS))
def test_damage_does_not_affect_the_pages_before_it(form):
    data = FORMS[form][: len(FORMS[form]) * 2 // 3]
    thirds = [Split(len(data) * n // 3, len(data) * (n + 1) // 3) for n in range(3)]
    found, errors = [], []
    for split in thirds:
        try:
            found.extend(iter_split_pages(io.BytesIO(data), "d", split))
        except InputError as error:
            errors.append(str(error))
    assert errors
    assert all(error.startswith(("d is not a complete XML export", "cannot read d to its end")) for error in errors)
    assert found == whole(FORMS[form])[: len(found)]
    assert len(found) > 40


def test_broken_xml_inside_a_split_is_refused_with_the_file_name():
    data = dump(page("A", "a"), "<page><title></ns></page>", page("B", "b")).encode()
    found = []
    with pytest.raises(InputError, match="d is not a complete XML export: mismatched tag"):
        found.extend(iter_split_pages(io.BytesIO(data), "d", Split(0, len(data))))
    assert [each.title for each in found] == ["A"]


def test_a_page_without_an_end_is_not_buffered_forever(monkeypatch):
    monkeypatch.setattr(splits, "MAX_TEXT", 1 << 17)
    data = dump(page("A", "a")).encode()[:-12] + b"<page>" + b"x" * (1 << 20)
    with pytest.raises(InputError, match="d has a page of more than 524288 bytes, or one without an end"):
        read_split(data, Split(0, len(data)))
