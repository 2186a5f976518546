"""The parts of a WAT record that matter here, decoded straight into structs: the rest is checked and passed over.

Most of a record is links to pages and scripts. Their `path` says so, and nothing else of them is decoded: the decoder
knows the paths that occur, and learns new ones as it meets them. A record whose values are of other types than these,
or that is no JSON to a strict reader, is decoded the general way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, Generic, TypeVar, Union

import msgspec

from curation.readers.lenient_json import loads
from curation.text import valid_unicode

IMAGE_PATH = "IMG@/src"
KNOWN_PATHS = ("A@/href", "AREA@/href", "FORM@/action", "IFRAME@/src", "INPUT@/src", "LINK@/href", "SCRIPT@/src")
MOST_PATHS = 500  # any tag with a background or data-href makes one more

L = TypeVar("L")


class Link(msgspec.Struct, gc=False, tag_field="path", tag=IMAGE_PATH):
    """An image of a page, with its texts. The last four name the picture where `url` holds a placeholder."""

    url: str | None = None
    alt: str | None = None
    title: str | None = None
    data_image_title: str | None = msgspec.field(default=None, name="data-image-title")
    data_src: str | None = msgspec.field(default=None, name="data-src")
    data_original: str | None = msgspec.field(default=None, name="data-original")
    data_lazy_src: str | None = msgspec.field(default=None, name="data-lazy-src")
    srcset: str | None = None


class Head(msgspec.Struct, gc=False):
    """The head of a page; its `Metas` stay JSON, for they are seldom needed."""

    base: str | None = msgspec.field(default=None, name="Base")
    metas: msgspec.Raw = msgspec.field(default=msgspec.Raw(), name="Metas")


class Html(msgspec.Struct, Generic[L], gc=False):
    """What the crawler found in a page."""

    head: Head | None = msgspec.field(default=None, name="Head")
    links: list[L] | None = msgspec.field(default=None, name="Links")


class Response(msgspec.Struct, Generic[L], gc=False):
    """An HTTP response."""

    html: Html[L] | None = msgspec.field(default=None, name="HTML-Metadata")
    headers: msgspec.Raw = msgspec.field(default=msgspec.Raw(), name="Headers")


class Payload(msgspec.Struct, Generic[L], gc=False):
    """The payload of the record that a WAT record is about."""

    response: Response[L] | None = msgspec.field(default=None, name="HTTP-Response-Metadata")


class Header(msgspec.Struct, gc=False):
    """The WARC header of the record that a WAT record is about."""

    uri: str | None = msgspec.field(default=None, name="WARC-Target-URI")


class Envelope(msgspec.Struct, Generic[L], gc=False):
    """What a WAT record says."""

    header: Header | None = msgspec.field(default=None, name="WARC-Header-Metadata")
    payload: Payload[L] | None = msgspec.field(default=None, name="Payload-Metadata")


class Record(msgspec.Struct, Generic[L], gc=False):
    """A WAT record."""

    envelope: Envelope[L] | None = msgspec.field(default=None, name="Envelope")


class _Decoder:
    """Decodes records of the usual shape whose links have known paths; what it knows changes its speed alone."""

    def __init__(self) -> None:
        self._others: dict[str, type] = {}
        self.learn(KNOWN_PATHS)

    def learn(self, paths: Iterable[str]) -> None:
        """Know these paths from now on."""
        new = {path for path in paths if path != IMAGE_PATH and path == valid_unicode(path)} - self._others.keys()
        if new and len(self._others) + len(new) <= MOST_PATHS:
            for path in new:
                self._others[path] = msgspec.defstruct("Other", [], tag_field="path", tag=path, gc=False)
            links: Any = Union[(Link, *self._others.values())]
            self._decode = msgspec.json.Decoder(Record[links]).decode

    def decode(self, body: bytes) -> Envelope[Any] | None:
        """Return the envelope; None when the record is another way or no envelope at all."""
        try:
            envelope = self._decode(body).envelope
        except (ValueError, RecursionError):
            return None
        # what has neither part may still be an envelope of other things
        return envelope if envelope and (envelope.header or envelope.payload) else None


_decoder = _Decoder()


def decode(body: bytes, notes: Counter[str]) -> Envelope[Any] | None:
    """Return the envelope of a WAT record, None when the record is no JSON or no WAT.

    Where a record has a value of another type than the structs say, the value stands there as it is. Invalid UTF-8 is
    noted where it is read, not where it is passed over.
    """
    return _decoder.decode(body) or _decode_any(body, notes)


def _decode_any(body: bytes, notes: Counter[str]) -> Envelope[Any] | None:
    """Return the envelope of whatever JSON a record holds."""
    try:
        document = loads(body, notes)
    except ValueError:
        return None
    envelope = _dig(document, "Envelope")
    if not envelope:
        return None
    response = _dig(envelope, "Payload-Metadata", "HTTP-Response-Metadata")
    html = _dig(response, "HTML-Metadata")
    head, links = _dig(html, "Head"), html.get("Links")
    if isinstance(links, list):
        links = [link for link in links if isinstance(link, dict)]
        _decoder.learn(path for link in links if isinstance(path := link.get("path"), str))
        links = [_image(link) for link in links if link.get("path") == IMAGE_PATH]
    else:
        links = None
    found = Html(Head(head.get("Base"), head.get("Metas")), links)  # type: ignore[arg-type]  # decoded, not raw
    return Envelope(
        Header(_dig(envelope, "WARC-Header-Metadata").get("WARC-Target-URI")),
        Payload(Response(found, response.get("Headers"))),  # type: ignore[arg-type]  # the same
    )


def _image(link: dict[str, Any]) -> Link:
    return Link(*(link.get(name) for name in Link.__struct_encode_fields__))


def _dig(value: Any, *keys: str) -> dict[str, Any]:
    """Return the object below a path of keys, an empty one where the path does not lead to an object."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def images_of(links: list[Any]) -> list[Link]:
    """Return the images among the links of a page, each with the URL of its picture.

    Where `url` is missing or a `data:` placeholder for a picture loaded later, `data-src`, `data-original`,
    `data-lazy-src` or the largest picture of `srcset` takes its place.
    """
    images = [link for link in links if type(link) is Link]
    for link in images:
        if link.srcset is None and link.data_src is None and link.data_original is None and link.data_lazy_src is None:
            continue
        if link.url is None or (isinstance(link.url, str) and link.url.startswith("data:")):
            others = (link.data_src, link.data_original, link.data_lazy_src, _largest(link.srcset))
            link.url = next((o for o in others if isinstance(o, str) and o and not o.startswith("data:")), link.url)
    return images


def _largest(srcset: object) -> str | None:
    """Return the URL of a srcset with the largest width or density; the first of equals."""
    candidates = [part.split() for part in srcset.split(", ")] if isinstance(srcset, str) else []
    return max((c for c in candidates if c), key=_size, default=[None])[0]


def _size(candidate: list[str]) -> float:
    descriptor = candidate[1].rstrip("wx,") if len(candidate) > 1 else "1"
    return float(descriptor) if descriptor.replace(".", "", 1).isdecimal() else 0.0
