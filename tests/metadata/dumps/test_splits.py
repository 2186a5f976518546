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
from metadata.dumps import splits as pieces
from metadata.dumps.splits import Piece, pages_of_piece, pieces_of
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


def read_piece(data, piece):
    return list(pages_of_piece(io.BytesIO(data), "d", piece))


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(sorted(FORMS)), st.lists(st.floats(0, 1), max_size=5), st.sampled_from([64, 4096, 1 << 18]))
def test_however_a_file_is_cut_every_page_is_in_one_piece(form, cuts, block):
    data = FORMS[form]
    edges = sorted({0, len(data), *(int(cut * len(data)) for cut in cuts)})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "BLOCK", block)
        found = [found for start, end in pairwise(edges) for found in read_piece(data, Piece(start, end))]
    assert found == whole(data)


def test_every_byte_of_a_small_file_may_be_an_edge():
    data = dump(page("A", "a"), page("B", "b" * 40), page("C", "")).encode()
    for edge in range(len(data) + 1):
        both = read_piece(data, Piece(0, edge)) + read_piece(data, Piece(edge, len(data)))
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
def test_of_what_cannot_be_cut_the_first_piece_is_the_whole(data):
    half = len(data) // 2
    assert read_piece(data, Piece(0, half)) == whole(data)
    assert read_piece(data, Piece(half, len(data))) == []


def test_files_are_cut_into_equal_pieces_without_gaps():
    cut = pieces_of("enwiki-pages-articles.xml.bz2", 1001, 100)
    assert (cut[0].start, cut[-1].end, len(cut)) == (0, 1001, 11)
    assert all(one.end == other.start for one, other in pairwise(cut))
    assert max(piece.end - piece.start for piece in cut) <= 100
    assert len(pieces_of("enwiki_content-20260830-00000.json.bz2", 1001, 100)) == 11
    for name in ("a.xml.gz", "a-cirrussearch-content.json.gz"):
        assert pieces_of(name, 1001, 100) == [Piece(0, 1001)]
    assert pieces_of("empty", 0, 100) == [Piece(0, 0)]


@pytest.mark.parametrize("form", sorted(FORMS))
def test_the_pages_before_a_damage_are_given_by_the_pieces_before_it(form):
    data = FORMS[form][: len(FORMS[form]) * 2 // 3]
    thirds = [Piece(len(data) * n // 3, len(data) * (n + 1) // 3) for n in range(3)]
    found, errors = [], []
    for piece in thirds:
        try:
            found.extend(pages_of_piece(io.BytesIO(data), "d", piece))
        except InputError as error:
            errors.append(str(error))
    assert errors
    assert all(error.startswith(("d is no whole XML export", "cannot read d to its end")) for error in errors)
    assert found == whole(FORMS[form])[: len(found)]
    assert len(found) > 40


def test_broken_xml_inside_a_piece_is_refused_by_name():
    data = dump(page("A", "a"), "<page><title></ns></page>", page("B", "b")).encode()
    found = []
    with pytest.raises(InputError, match="d is no whole XML export: mismatched tag"):
        found.extend(pages_of_piece(io.BytesIO(data), "d", Piece(0, len(data))))
    assert [each.title for each in found] == ["A"]


def test_a_page_without_an_end_is_not_gathered_for_ever(monkeypatch):
    monkeypatch.setattr(pieces, "MAX_TEXT", 1 << 17)
    data = dump(page("A", "a")).encode()[:-12] + b"<page>" + b"x" * (1 << 20)
    with pytest.raises(InputError, match="d holds a page of more than 524288 bytes, or one without an end"):
        read_piece(data, Piece(0, len(data)))
