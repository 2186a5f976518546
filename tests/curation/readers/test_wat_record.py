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
from curation.readers.file_report import FileReport
from curation.readers.robots import directives
from curation.readers.wat import read_wat
from curation.readers.wat_record import decode_envelope, images_of

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
    images = [msgspec.structs.astuple(link) for link in images_of(response.html.links)]
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
    assert images_of(decoder.decode(body).payload.response.html.links) == [wat_record.Link("y", "z")]
    decoder.learn(f"T{number}@/x" for number in range(wat_record.MOST_PATHS + 1))
    assert len(decoder._others) < 20


@pytest.mark.parametrize(
    ("attributes", "url"),
    [
        ({"url": "a.png", "data-src": "b.png"}, "a.png"),
        ({"url": "data:image/gif;base64,R0", "data-src": "b.png"}, "b.png"),
        ({"data-lazy-src": "b.png"}, "b.png"),
        ({"url": "data:x", "data-src": "data:y", "data-original": "c.png"}, "c.png"),
        ({"url": "data:x", "srcset": "s.png 480w, l.png 1024w, m.png 800w"}, "l.png"),
        ({"url": "data:x", "srcset": "s.png, l.png 1.5x"}, "l.png"),
        ({"url": "data:x", "srcset": "a,b.png 2x,  c.png"}, "a,b.png"),
        ({"url": "data:x", "srcset": " , "}, "data:x"),
        ({"url": "data:x"}, "data:x"),
        ({"alt": "x"}, None),
    ],
)
def test_the_url_of_a_lazily_loaded_image_is_taken_from_other_attributes(attributes, url):
    (image,) = images_of([wat_record._image(attributes)])
    assert image.url == url
