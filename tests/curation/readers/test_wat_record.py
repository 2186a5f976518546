"""Decoding only the needed parts of a WAT record gives the same values as decoding all of it."""

from __future__ import annotations

import io
import json
from collections import Counter

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.readers import wat_record
from curation.readers.extract import ImageUrls
from curation.readers.file_report import FileReport
from curation.readers.robots import directives
from curation.readers.wat import read_wat
from curation.readers.wat_record import decode_envelope, images_of

PAGE = "https://page.example/dir/p.html"
URLS = ImageUrls("https://page.example/dir/p.html", PAGE)

values = st.none() | st.sampled_from(
    ["", "x", 'a "quoted" {brace}', "é\u3042", "IMG@/src", "noindex, noai", "\ud83d", "b.jpg ²x, c.jpg ٣x"]
)
odd = values | st.integers() | st.lists(st.integers(), max_size=2)
attributes = ["url", "alt", "title", "data-image-title", "data-src", "data-original", "srcset", "other"]


def links(value):
    paths = st.sampled_from(["IMG@/src", "A@/href", "SCRIPT@/src", "TD@/background", "X@/data-href", "\ud83d"])
    return st.builds(
        lambda path, more: {"path": path, **more}, paths, st.dictionaries(st.sampled_from(attributes), value)
    )


def records(value):
    metas = st.lists(
        st.builds(
            lambda name, content: {**name, "content": content},
            st.sampled_from([{"name": "robots"}, {"name": "ROBOTS "}, {"http-equiv": "X-Robots-Tag"}, {"name": "x"}]),
            value,
        ),
        max_size=3,
    )
    return st.builds(
        lambda uri, base, metas, links, tag: {
            "Container": {"Filename": "x"},
            "Envelope": {
                "WARC-Header-Metadata": {"WARC-Target-URI": uri},
                "Payload-Metadata": {
                    "HTTP-Response-Metadata": {
                        "Headers": {"x-robots-tag": tag},
                        "HTML-Metadata": {"Head": {"Base": base, "Metas": metas}, "Links": links},
                    }
                },
            },
        },
        value,
        value,
        metas,
        st.lists(links(value), max_size=5),
        value,
    )


def seen(found):
    response = found.payload.response
    head = response.html.head
    images = [msgspec.structs.astuple(link) for link in images_of(response.html.links, URLS)]
    return found.header.uri, head.base, images, directives(head.metas, response.headers)


@settings(deadline=None)
@given(st.lists(records(values) | records(odd), max_size=3))
def test_every_value_of_a_record_is_read_or_counted_as_dropped(several):
    head = "WARC/1.0\r\nWARC-Type: metadata\r\nContent-Length: %d\r\n\r\n"
    bodies = [json.dumps(record).encode() for record in several]
    data = b"".join((head % len(body)).encode() + body + b"\r\n\r\n" for body in bodies)
    report = FileReport("x.wat")
    found = list(read_wat(io.BytesIO(data), report))
    assert report.error is None
    assert report.counters.notes["records"] == len(several)
    assert report.counters.read == len(found) + report.counters.drops.total()


@settings(deadline=None)
@given(records(values) | records(odd), st.sampled_from([(",", ":"), (", ", ": ")]), st.booleans())
def test_the_fast_and_the_generic_decoder_give_the_same_values(record, separators, ascii_only):
    body = json.dumps(record, separators=separators, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    general = wat_record._decode_any(body, Counter())
    assert seen(decode_envelope(body, Counter())) == seen(general)


def test_new_paths_are_learned_and_affect_only_speed():
    decoder = wat_record._Decoder()
    link = {"path": "TD@/background", "url": "x"}
    image = {"path": "IMG@/src", "url": "y", "alt": "z"}
    record = {"Envelope": {"Payload-Metadata": {"HTTP-Response-Metadata": {"HTML-Metadata": {"Links": [link, image]}}}}}
    body = json.dumps(record).encode()
    assert decoder.decode(body) is None
    decoder.learn(["TD@/background"])
    assert images_of(decoder.decode(body).payload.response.html.links, URLS) == [wat_record.Link("y", "z")]
    decoder.learn(f"T{number}@/x" for number in range(wat_record.MOST_PATHS + 1))
    assert len(decoder._others) < 20


@pytest.mark.parametrize(
    ("attributes", "url"),
    [
        ({"url": "a.png", "data-src": "b.png"}, "a.png"),
        ({"data-lazy-src": "b.png"}, "b.png"),
        ({"url": "data:x", "data-src": "data:y", "data-original": "c.png"}, "c.png"),
        ({"url": "data:x", "data-src": "#", "srcset": "data:y 3x, d.png 2x"}, "d.png"),
        ({"url": "data:x", "srcset": "s.png 480w, l.png 1024w, m.png 800w"}, "l.png"),
        ({"url": "data:x", "srcset": "a,b.png 2x,  c.png"}, "a,b.png"),
        ({"url": "data:x", "srcset": "small.jpg 320w,\n   big.jpg 1280w"}, "big.jpg"),
        ({"url": "data:x", "srcset": "one.jpg,\n   two.jpg 2x"}, "two.jpg"),
        ({"url": "data:x", "srcset": "s.jpg?a&amp;b 1x, l.jpg?a&amp;b 2x"}, "l.jpg?a&b"),
        ({"url": "data:x", "srcset": " , "}, "data:x"),
        ({"url": "data:x"}, "data:x"),
        ({"url": "", "data-src": "http://["}, ""),
        ({"data-src": "http://["}, "http://["),
        ({"url": {"a": 1}, "data-src": "b.png"}, "b.png"),
        ({"url": "a.php?a&amp;b"}, "a.php?a&b"),
        ({"alt": "x"}, None),
    ],
)
def test_the_url_of_a_lazily_loaded_image_is_taken_from_other_attributes(attributes, url):
    (image,) = images_of([wat_record._image(attributes)], URLS)
    assert image.url == url


def any_case(text):
    return st.tuples(*(st.sampled_from([char.lower(), char.upper()]) for char in text)).map("".join)


spaces = st.text(st.sampled_from(" \t\n\r\f\x00"), max_size=2)
nothing = st.one_of(
    st.just(""),
    st.sampled_from(["#", "#top", "?".join([PAGE, ""]), PAGE, "p.html", "p.html#a", "./p.html", "P%2Ehtml/../p.html"]),
    any_case("about:blank"),
    any_case("about:").map("{}srcdoc".format),
)
inline = any_case("data:").map("{}image/gif;base64,R0lGOD".format)
unfetchable = st.sampled_from(["javascript:void(0)", "blob:https://page.example/1", "//:0", "http://", "file:///a.png"])
placeholders = st.builds("{}{}{}".format, spaces, nothing | inline | unfetchable, spaces)
lazy_attributes = ["data-src", "data-original", "data-lazy-src", "srcset"]


@settings(deadline=None)
@given(st.none() | placeholders, st.dictionaries(st.sampled_from(lazy_attributes), placeholders), st.data())
def test_a_placeholder_gives_way_to_the_first_attribute_that_names_an_image(url, lazy, data):
    name = data.draw(st.sampled_from(lazy_attributes))
    lazy = {key: value for key, value in lazy.items() if lazy_attributes.index(key) < lazy_attributes.index(name)}
    value = "small.jpg 1x,\n\tlazy.jpg 2x" if name == "srcset" else "lazy.jpg"
    (image,) = images_of([wat_record._image({"url": url, **lazy, name: value})], URLS)
    assert URLS(image.url) == ("https://page.example/dir/lazy.jpg", "")


@settings(deadline=None)
@given(
    st.builds("{}{}{}".format, spaces, nothing, spaces), st.dictionaries(st.sampled_from(lazy_attributes), placeholders)
)
def test_a_reference_to_nothing_or_to_the_page_itself_is_no_reference(url, lazy):
    lazy = {key: value for key, value in lazy.items() if key != "srcset"}
    (image,) = images_of([wat_record._image({"url": url, **lazy})], URLS)
    assert URLS(image.url) == (None, "no_reference")


def test_a_page_that_is_the_base_document_of_another_address_is_still_not_its_image():
    urls = ImageUrls("https://cdn.example/x/", "https://page.example/?")
    assert urls("https://page.example") == (None, "no_reference")
    assert urls("https://PAGE.example/#a") == (None, "no_reference")
    assert urls("") == urls("#x") == urls("about:blank") == urls(None) == (None, "no_reference")
    assert urls("https://page.example/a") == ("https://page.example/a", "")
