from __future__ import annotations

import gzip
import io
import json
import random
import zlib
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import astuple

from curation.errors import InputError
from curation.readers import wat
from curation.readers.file_report import FileReport
from curation.readers.wat import read_wat
from support.slow_wat import slow_read


def read(data):
    report = FileReport("x.wat")
    return list(read_wat(io.BytesIO(data), report)), report


def record(body, kind="metadata"):
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    return f"WARC/1.0\r\nWARC-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body + b"\r\n\r\n"


def page(*images, uri="http://a.example/dir/", base=None, links=None):
    links = [{"path": "IMG@/src", **image} for image in images] if links is None else links
    head = {} if base is None else {"Base": base}
    return {
        "Envelope": {
            "WARC-Header-Metadata": {"WARC-Target-URI": uri},
            "Payload-Metadata": {
                "HTTP-Response-Metadata": {"HTML-Metadata": {"Head": head, "Links": links}},
            },
        }
    }


GOOD = record(page({"url": "good.png", "alt": "good"}))


def texts(data):
    occurrences, report = read(data)
    assert report.status == "ok"
    return [occurrence.text for occurrence in occurrences]


def test_real_files_give_the_images_texts_and_drops_of_an_independent_reader(shared_data):
    urls, counts = set(), Counter()
    for path in sorted(shared_data.glob("crawl/*.warc.wat.gz")):
        data = path.read_bytes()
        occurrences, report = read(data)
        expected, drops, counted = slow_read(data)
        assert [(o.image_url, o.page_url, o.source, o.text) for o in occurrences] == expected
        assert report.counters.drops == drops
        assert report.counters.read == len(expected) + drops.total()
        assert report.counters.notes["images"] == counted["images"]
        assert report.counters.notes["images_without_text"] == counted["without text"]
        assert report.status == "ok"
        urls.update(o.image_url for o in occurrences)
        counts += counted
    # The numbers in the description of the data, which also counts one blank title and 25 blank data-image-titles.
    assert (counts["images"], counts["data"]) == (14_549, 1947)
    assert (counts["alt"], counts["title"], counts["data-image-title"]) == (8354, 2232 - 1, 207 - 25)
    # The description counts 7594 and 5930 by RFC 3986: 12 of them are no URLs, 7 name the page itself, and 1 is new.
    assert (counts["usable"], len(urls)) == (7594 - 12 - 7 + 1, 5927)


# Occurrences of a page


def test_an_image_gives_one_occurrence_per_text():
    image = {"url": "a.png", "alt": " an  alt ", "title": "a title", "data-image-title": "cafe\u0301", "width": "3"}
    occurrences, report = read(record(page(image)))
    assert [(o.source, o.text) for o in occurrences] == [
        ("alt", "an alt"),
        ("title", "a title"),
        ("data-image-title", "café"),
    ]
    assert {o.image_url for o in occurrences} == {"http://a.example/dir/a.png"}
    assert {o.page_url for o in occurrences} == {"http://a.example/dir/"}
    assert len({o.reference for o in occurrences}) == 1
    assert (report.counters.read, report.counters.drops) == (3, Counter())


def test_every_text_is_counted_and_every_drop_has_a_reason():
    document = page(
        {"url": "a.png", "alt": "", "title": "\u00a0"},
        {"url": "data:image/png;base64,AA", "alt": "x", "title": ""},
        {"url": "ftp://a.example/", "alt": "x"},
        {"url": "http://[", "alt": "x", "title": "y"},
        {"alt": "x"},
        {"url": "b.png", "alt": 5, "title": None},
        {"url": "c.png"},
    )
    occurrences, report = read(record(document))
    assert occurrences == []
    assert report.counters.read == 9
    assert report.counters.drops == {
        "empty_text": 3, "data_uri": 1, "scheme": 1, "unresolvable": 2, "no_reference": 1, "not_text": 1,
    }  # fmt: skip
    assert report.counters.notes["images_without_text"] == 1
    report.counters.check()


@pytest.mark.parametrize(
    ("uri", "base", "url"),
    [
        ("http://a.example/dir/", None, "http://a.example/dir/i.png"),
        (" http://a.example/dir/x \n", None, "http://a.example/dir/i.png"),
        ("http://a.example/dir/", "/", "http://a.example/i.png"),
        ("http://a.example/dir/", "https://b.example/x/y", "https://b.example/x/i.png"),
        ("hard::a.html", "https://b.example/", "https://b.example/i.png"),
        ("hard::a.html", None, None),
        (None, None, None),
    ],
)
def test_relative_urls_are_resolved_against_the_base(uri, base, url):
    occurrences, report = read(record(page({"url": "i.png", "alt": "x"}, uri=uri, base=base)))
    assert [o.image_url for o in occurrences] == ([url] if url else [])
    assert report.counters.drops["unresolvable"] == (0 if url else 1)


def test_image_urls_follow_the_url_standard_and_html():
    uri = "https://page.example/dir/p.html"
    placeholder = "data:image/gif;base64,R0lGOD"
    images = [
        ({"url": "my photo.jpg"}, "https://page.example/dir/my%20photo.jpg"),
        ({"url": "x.php?a=1&amp;b=2"}, "https://page.example/dir/x.php?a=1&b=2"),
        ({"url": "", "data-src": "lazy1.jpg"}, "https://page.example/dir/lazy1.jpg"),
        ({"url": "#", "data-src": "lazy2.jpg"}, "https://page.example/dir/lazy2.jpg"),
        ({"url": "about:blank", "data-src": "lazy3.jpg"}, "https://page.example/dir/lazy3.jpg"),
        ({"url": f" {placeholder}", "data-src": "lazy4.jpg"}, "https://page.example/dir/lazy4.jpg"),
        ({"url": placeholder, "srcset": "small.jpg 320w,\n   big.jpg 1280w"}, "https://page.example/dir/big.jpg"),
        ({"url": placeholder, "srcset": "one.jpg,\n   two.jpg 2x"}, "https://page.example/dir/two.jpg"),
        ({"url": ""}, None),
        ({"url": "p.html?#x"}, None),
        ({"url": "https://straße.example/x.jpg"}, "https://xn--strae-oqa.example/x.jpg"),
        ({"url": "\\img\\back.jpg"}, "https://page.example/img/back.jpg"),
    ]
    document = page(*({**image, "alt": f"image {n}"} for n, (image, _) in enumerate(images)), uri=uri)
    occurrences, report = read(record(document))
    found = {occurrence.text: occurrence.image_url for occurrence in occurrences}
    assert [found.get(f"image {n}") for n in range(len(images))] == [url for _, url in images]
    assert report.counters.drops == {"no_reference": 2}


def test_a_base_with_character_references_is_decoded():
    document = page({"url": "i.png", "alt": "x"}, base="https://b.example/?a&amp;b/../x&#47;")
    assert [o.image_url for o in read(record(document))[0]] == ["https://b.example/i.png"]
    document = page({"url": "?", "alt": "x"}, base="https://b.example/a&amp;b")
    assert [o.image_url for o in read(record(document))[0]] == ["https://b.example/a&b?"]


def test_absolute_urls_of_pages_without_a_web_address_are_kept():
    (occurrence,) = read(record(page({"url": "http://b.example/i.png", "alt": "x"}, uri="hard::a")))[0]
    assert (occurrence.page_url, occurrence.image_url) == ("hard::a", "http://b.example/i.png")


def test_only_images_of_metadata_records_are_read():
    links = [{"path": "A@/href", "url": "x", "alt": "no"}, {"path": "IMG@/src", "url": "x", "alt": "yes"}]
    data = record(b"", "warcinfo") + record(page({"url": "x", "alt": "no"}), "response")
    data += record({"Envelope": {"Payload-Metadata": {"HTTP-Request-Metadata": {}}}}) + record(page(links=links))
    assert texts(data) == ["yes"]


def test_pages_with_an_honored_robots_directive_are_dropped_and_counted():
    page_with_directive = page({"url": "a", "alt": "b", "title": ""}, {"url": "c", "alt": "d"})
    html = page_with_directive["Envelope"]["Payload-Metadata"]["HTTP-Response-Metadata"]["HTML-Metadata"]
    html["Head"]["Metas"] = [{"name": "robots", "content": "noindex, noimageai"}]
    occurrences, report = read(record(page_with_directive) + GOOD)
    assert [o.text for o in occurrences] == ["good"]
    assert report.counters.drops == {"noimageai": 3}
    assert (report.counters.notes["page_noimageai"], report.counters.notes["page_noindex"]) == (1, 1)
    for honored, drops in ((["noindex"], {"noindex": 3}), ([], {"empty_text": 1})):
        report = FileReport("x.wat")
        list(read_wat(io.BytesIO(record(page_with_directive)), report, honored))
        assert report.counters.drops == drops
        assert report.counters.notes["page_noindex"] == 1


def test_a_page_with_a_robots_directive_but_no_texts_is_noted():
    page_with_directive = page({"url": "a"})
    response = page_with_directive["Envelope"]["Payload-Metadata"]["HTTP-Response-Metadata"]
    response["Headers"] = {"X-Robots-Tag": "noai"}
    occurrences, report = read(record(page_with_directive) + GOOD)
    assert [o.text for o in occurrences] == ["good"]
    assert report.counters.drops == {}
    assert report.counters.notes["page_noai"] == 1


# Broken records


@pytest.mark.parametrize("body", [b"{", b"", b"[]", b"null", b"{}", b'{"Envelope":5}', b"[" * 100_000, b"\xff"])
def test_a_broken_record_is_noted_and_skipped(body):
    occurrences, report = read(GOOD + record(body) + GOOD)
    assert [o.text for o in occurrences] == ["good", "good"]
    assert report.counters.notes["broken_record"] == 1
    assert report.status == "ok"


def test_the_parser_says_nothing_on_stderr_about_odd_records(capfd, shared_data):
    odd = GOOD.replace(b"WARC-Type: metadata", b"WARC-Type: metadata\r\nWARC-Target-URI: http://a b/\r\nX: \xff")
    assert len(read(odd + GOOD + odd[:-9])[0]) == 2
    read((shared_data / "crawl" / "dev-00004.warc.wat.gz").read_bytes())
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("spoilt", [b"WARC-Type: metadatb", b"WARC-Tipe: metadata", b"WARC-Type: "])
def test_a_record_without_a_known_type_is_noted_as_broken(spoilt):
    occurrences, report = read(GOOD + GOOD.replace(b"WARC-Type: metadata", spoilt) + GOOD)
    assert [o.text for o in occurrences] == ["good", "good"]
    assert (report.counters.notes["records"], report.counters.notes["broken_record"]) == (3, 1)


def test_invalid_utf8_is_replaced_and_noted():
    occurrences, report = read(record(json.dumps(page({"url": "a", "alt": "a?b"})).encode().replace(b"?", b"\xff")))
    assert [o.text for o in occurrences] == ["a\ufffdb"]
    assert report.counters.notes["invalid_utf8"] == 1


def test_lone_surrogates_are_replaced():
    document = page({"url": "a\ud83d", "alt": "a\udc00b"}, uri="http://a/\ud83d")
    (occurrence,) = read(record(document))[0]
    assert astuple(occurrence) == ("http://a/a%EF%BF%BD", "http://a/\ufffd", None, "alt", "a\ufffdb")


def test_a_record_that_is_too_large_is_noted_and_skipped(monkeypatch):
    monkeypatch.setattr(wat, "MAX_RECORD", 2000)
    occurrences, report = read(GOOD + record(b" " * 2001) + GOOD)
    assert [o.text for o in occurrences] == ["good", "good"]
    assert report.counters.notes["oversized_record"] == 1
    occurrences, report = read(GOOD + record(b" " * 2001).replace(b": 2001", b": 99999") + GOOD)
    assert ([o.text for o in occurrences], report.status) == (["good"], "partial")


junk = st.recursive(
    st.none() | st.integers() | st.text(max_size=3) | st.sampled_from(["IMG@/src", "http://a/b", "data:x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["path", "url", "alt", "title", "Links", "Base"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(junk, st.sampled_from(["Envelope", "Payload-Metadata", "HTML-Metadata", "Head", "Base", "Links", "url", "alt"]))
def test_records_of_any_shape_are_read_and_counted(value, key):
    def with_value(document):
        if isinstance(document, dict):
            return {k: value if k == key else with_value(v) for k, v in document.items()}
        return [with_value(item) for item in document] if isinstance(document, list) else document

    data = record(with_value(page({"url": "a", "alt": "b"}, base="/"))) + GOOD
    occurrences, report = read(data)
    assert occurrences[-1].text == "good"
    assert report.counters.read == len(occurrences) + report.counters.drops.total()


# Damaged files


def test_a_truncated_file_is_read_up_to_its_end_and_reported_as_partial():
    records = [record(page({"url": f"{i}.png", "alt": f"text {i}"})) for i in range(3)]
    plain = b"".join(records)
    members = b"".join(gzip.compress(r) for r in records)
    for data, parts in ((plain, records), (members, [gzip.compress(r) for r in records]), (gzip.compress(plain), [])):
        whole = 0
        ends = [sum(map(len, parts[: i + 1])) for i in range(len(parts))]
        for cut in range(1, len(data)):
            occurrences, report = read(data[:cut])
            assert [o.text for o in occurrences] == [f"text {i}" for i in range(len(occurrences))]
            assert len(occurrences) >= sum(end <= cut for end in ends)
            if report.status == "ok":
                whole += 1
                assert cut in ends
            else:
                assert report.error
        assert whole == max(0, len(parts) - 1)  # a cut between two records cannot be detected
    assert len(read(gzip.compress(plain)[:-1])[0]) == 3


def test_a_truncated_record_makes_the_file_partial_and_is_not_a_broken_record():
    for data in (GOOD + GOOD[:-20], gzip.compress(GOOD) + gzip.compress(GOOD)[:-20]):
        occurrences, report = read(data)
        assert ([o.text for o in occurrences], report.status) == (["good"], "partial")
        assert not report.counters.notes["broken_record"]


def test_damaged_files_lose_nothing_before_the_damage_and_give_no_false_occurrence(shared_data):
    data = (shared_data / "crawl" / "dev-00004.warc.wat.gz").read_bytes()
    members = []
    while data and len(members) < 14:
        inflater = zlib.decompressobj(31)
        inflater.decompress(data)
        members.append(data[: len(data) - len(inflater.unused_data)])
        data = inflater.unused_data
    data = b"".join(members)
    clean, _ = read(data)
    until = [len(read(b"".join(members[:i]))[0]) for i in range(len(members) + 1)]
    starts = [len(b"".join(members[:i])) for i in range(len(members))]
    rng = random.Random(7)
    partial = 0
    for case in range(300):
        where = rng.randrange(1, len(data))
        damaged = bytearray(data)
        if case % 4 == 0:
            del damaged[where:]
        elif case % 4 == 1:
            damaged[where] ^= 1 << rng.randrange(8)
        elif case % 4 == 2:
            damaged[where : where + 50] = rng.randbytes(50)
        else:
            damaged[where:where] = rng.randbytes(rng.randrange(1, 9))
        occurrences, report = read(bytes(damaged))
        assert occurrences == clean[: len(occurrences)]
        assert len(occurrences) >= until[max(i for i, start in enumerate(starts) if start <= where)]
        partial += report.status == "partial"
        assert report.counters.read == len(occurrences) + report.counters.drops.total()
    assert partial > 290


def test_no_bytes_raise_an_unexpected_error():
    rng = random.Random(3)
    plain = GOOD + record(page({"url": "a", "alt": "b"}), "response") + GOOD
    for _ in range(400):
        damaged = bytearray(plain)
        for _ in range(rng.randrange(1, 9)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        occurrences, report = read(bytes(damaged))
        assert report.counters.read == len(occurrences) + report.counters.drops.total()
    for data in (b"\x00", b"no warc\n" * 9, b"\x1f\x8b\x08", gzip.compress(b"no warc")):
        assert read(data)[1].status == "partial"


def test_an_empty_file_has_no_occurrences():
    for data in (b"", gzip.compress(b"")):
        occurrences, report = read(data)
        assert (occurrences, report.status, report.counters.read) == ([], "ok", 0)


class Failing(io.BytesIO):
    """A file whose reads fail after the first `good` ones."""

    def __init__(self, data, good):
        super().__init__(data)
        self.good = good

    def read(self, size=-1):
        if self.good == 0:
            raise OSError("connection reset")
        self.good -= 1
        return super().read(size)


def test_a_file_that_cannot_be_read_at_all_is_an_input_error():
    with pytest.raises(InputError, match=r"cannot read x\.wat: connection reset"):
        list(read_wat(Failing(GOOD, 0), FileReport("x.wat")))


def test_rows_before_a_lost_connection_are_read(monkeypatch):
    monkeypatch.setattr("curation.io.gzip_stream.BLOCK", len(GOOD) + 10)
    report = FileReport("x.wat")
    occurrences = list(read_wat(Failing(GOOD * 3, 1), report))
    assert [o.text for o in occurrences] == ["good"]
    assert (report.status, report.error) == ("partial", "connection reset")


def test_a_file_is_read_lazily():
    blocks = 0

    class Counting(io.BytesIO):
        def read(self, size=-1):
            nonlocal blocks
            blocks += 1
            return super().read(size)

    padding = record({"Envelope": {"x": random.Random(0).randbytes(500_000).hex()}})
    occurrences = read_wat(Counting(GOOD + padding * 10 + GOOD), FileReport("x.wat"))
    next(occurrences)
    before = blocks
    assert len(list(occurrences)) == 1
    assert before < blocks
