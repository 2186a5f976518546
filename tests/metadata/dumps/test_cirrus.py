from __future__ import annotations

import bz2
import gzip
import io
import json
import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.errors import InputError
from metadata.dumps.cirrus import is_cirrus, iter_documents
from metadata.dumps.decompress import read_lines
from metadata.dumps.splits import Split
from metadata.lists.build import DumpCounters, article_texts

PACKS = [bytes, gzip.compress, bz2.compress]
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


def document(title, text, namespace=0):
    return json.dumps({"title": title, "namespace": namespace, "text": text, "wiki": "dewiki"}, ensure_ascii=False)


def dump(*documents):
    return "".join(f'{{"index":{{"_type":"_doc","_id":"{n}"}}}}\n{line}\n' for n, line in enumerate(documents)).encode()


def texts_of(data, split=None):
    counters = DumpCounters()
    found = list(article_texts("d.json", lambda _: io.BytesIO(data), counters, split))
    return found, counters


@settings(deadline=None)
@given(st.lists(st.tuples(TEXTS, TEXTS, st.integers(0, 2)), max_size=5), st.sampled_from(PACKS))
def test_documents_are_read_and_action_lines_are_skipped(documents, pack):
    data = pack(dump(*(document(*fields) for fields in documents)))
    assert [tuple(found) for found in iter_documents(read_lines(io.BytesIO(data), "d"))] == [
        (title, namespace, text) for title, text, namespace in documents
    ]


@pytest.mark.parametrize("pack", PACKS)
def test_articles_are_kept_and_everything_else_is_counted_as_dropped(pack):
    broken = ["{", "[1]", '{"title": "no text", "namespace": 0}', document("Talk", "x", 1), "\xff"]
    found, counters = texts_of(pack(dump(document("A", "one [[two]]"), *broken, document("B", "three"))))
    assert found == ["one [[two]]", "three"], "the text is plain: brackets are kept"
    assert (counters.read, counters.kept) == (7, 2)
    assert counters.drops == {"malformed": 4, "other_namespace": 1}
    assert counters.error is None


def test_a_truncated_dump_gives_the_documents_before_its_end():
    data = gzip.compress(dump(*(document(str(n), str(n) * 50) for n in range(5000))))
    found, counters = texts_of(data[: len(data) // 2])
    assert found == [str(n) * 50 for n in range(len(found))]
    assert len(found) > 1000
    assert counters.error.startswith("cannot read d.json to its end")


@pytest.mark.parametrize("data", [b"{\n", b'{"a": 1}\n{"b": 2}\n'])
def test_a_file_without_documents_is_refused(data):
    found, counters = texts_of(data)
    assert (found, counters.error) == ([], "d.json has no document of a search index")


def test_json_is_distinguished_from_xml_by_its_first_character():
    data = dump(document("A", "a"))
    assert is_cirrus(io.BytesIO(data), "d")
    assert is_cirrus(io.BytesIO(gzip.compress(b"\n" + data)), "d")
    assert not is_cirrus(io.BytesIO(b"<mediawiki/>"), "d")
    assert not is_cirrus(io.BytesIO(b""), "d")
    assert not is_cirrus(io.BytesIO(b"BZh9broken"), "d")


LONG = "".join(random.Random(0).choices("abcdefghijklmnop é", k=400_000))  # more than a block, and incompressible
DOCUMENTS = [document(str(n), LONG[: 400_000 if n % 7 == 3 else 9 * n]) for n in range(40)]
FORMS = {
    "plain": dump(*DOCUMENTS),
    "bz2": bz2.compress(dump(*DOCUMENTS), 1),
    "many streams": b"".join(bz2.compress(dump(line)) for line in DOCUMENTS),
    "gzip": gzip.compress(dump(*DOCUMENTS)),
}


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(sorted(FORMS)), st.lists(st.floats(0, 1), max_size=5))
def test_every_document_is_in_exactly_one_split(form, cuts):
    data = FORMS[form]
    edges = sorted({0, len(data), *(int(cut * len(data)) for cut in cuts)})
    found, read = [], 0
    for split in (Split(start, end) for start, end in pairwise(edges)):
        texts, counters = texts_of(data, split)
        assert counters.error is None
        found, read = found + texts, read + counters.read
    assert (found, read) == (texts_of(data)[0], len(DOCUMENTS))


def test_a_split_may_end_at_any_byte():
    data = dump(document("A", "a"), document("B", ""), document("C", "c" * 9))
    for edge in range(len(data) + 1):
        both = [text for split in (Split(0, edge), Split(edge, len(data))) for text in texts_of(data, split)[0]]
        assert both == ["a", "", "c" * 9], edge


def test_damage_does_not_affect_the_documents_before_it():
    data = FORMS["bz2"][: len(FORMS["bz2"]) * 2 // 3]
    half = len(data) // 2
    first, second = (texts_of(data, split) for split in (Split(0, half), Split(half, len(data))))
    assert first[1].error is None
    assert second[1].error.startswith("cannot read d.json to its end: the block at byte ")
    both = first[0] + second[0]
    assert both == texts_of(FORMS["plain"])[0][: len(both)]
    assert len(both) > 15


def test_a_line_without_an_end_is_not_buffered_forever(monkeypatch):
    monkeypatch.setattr("metadata.dumps.decompress.LONGEST_LINE", 1 << 20)
    found, counters = texts_of(dump(document("A", "a")) + b"{" + b"x" * (1 << 21))
    assert (found, counters.error) == (["a"], "d.json has a line of more than 1048576 bytes")


NAMES = {
    "query": {
        "namespaces": {"-1": {"id": -1, "*": "Spezial", "canonical": "Special"}, "0": {"id": 0, "*": ""}},
        "namespacealiases": [{"id": 6, "*": "Bild"}],
    }
}


@pytest.mark.parametrize("pack", PACKS)
def test_a_file_next_to_the_dumps_names_the_namespaces(pack):
    counters = DumpCounters()
    path = "dewiki-20240501-siteinfo-namespaces.json.gz"
    assert list(article_texts(path, lambda _: io.BytesIO(pack(json.dumps(NAMES).encode())), counters)) == []
    assert (counters.namespaces, counters.read, counters.error) == ({"spezial", "bild"}, 0, None)


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b'{"query": {"namespaces": [1]}}', b'{"query": {"namespaces": {"1": {}}}}']
)
def test_a_file_that_does_not_name_namespaces_is_refused(data):
    counters = DumpCounters()
    assert list(article_texts("siteinfo-namespaces.json", lambda _: io.BytesIO(data), counters)) == []
    assert counters.error == "siteinfo-namespaces.json does not name a wiki's namespaces"


def test_a_missing_file_is_recorded_as_an_error():
    def missing(path):
        raise InputError(f"cannot read {path}: missing")

    counters = DumpCounters()
    assert list(article_texts("gone", missing, counters)) == []
    assert counters.error == "cannot read gone: missing"
