"""Decodes the parts of a WAT record that ingest needs directly into structs; the rest is validated and skipped.

Most of a record is links to pages and scripts. The decoder recognizes them by their `path` and skips their other
fields. It knows common paths and learns new ones when a record contains them. A record with values of unexpected types,
or one that a strict JSON parser rejects, is decoded generically.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, Generic, TypeVar, Union

import msgspec

from curation.readers.extract import ImageUrls
from curation.readers.html_attributes import srcset_urls, unescape
from curation.readers.lenient_json import parse_json
from curation.text import valid_unicode

IMAGE_PATH = "IMG@/src"
KNOWN_PATHS = ("A@/href", "AREA@/href", "FORM@/action", "IFRAME@/src", "INPUT@/src", "LINK@/href", "SCRIPT@/src")
MOST_PATHS = 500  # every tag with a background or data-href adds one

L = TypeVar("L")


class Link(msgspec.Struct, gc=False, tag_field="path", tag=IMAGE_PATH):
    """An image of a page with its texts. The last four fields hold the image's URL if `url` is a placeholder."""

    url: str | None = None
    alt: str | None = None
    title: str | None = None
    data_image_title: str | None = msgspec.field(default=None, name="data-image-title")
    data_src: str | None = msgspec.field(default=None, name="data-src")
    data_original: str | None = msgspec.field(default=None, name="data-original")
    data_lazy_src: str | None = msgspec.field(default=None, name="data-lazy-src")
    srcset: str | None = None


class Head(msgspec.Struct, gc=False):
    """The head of a page. Its `Metas` remain JSON because they are rarely needed."""

    base: str | None = msgspec.field(default=None, name="Base")
    metas: msgspec.Raw = msgspec.field(default=msgspec.Raw(), name="Metas")


class Html(msgspec.Struct, Generic[L], gc=False):
    """The head and links that the crawler extracted from a page."""

    head: Head | None = msgspec.field(default=None, name="Head")
    links: list[L] | None = msgspec.field(default=None, name="Links")


class Response(msgspec.Struct, Generic[L], gc=False):
    """An HTTP response."""

    html: Html[L] | None = msgspec.field(default=None, name="HTML-Metadata")
    headers: msgspec.Raw = msgspec.field(default=msgspec.Raw(), name="Headers")


class Payload(msgspec.Struct, Generic[L], gc=False):
    """The payload of the record that a WAT record describes."""

    response: Response[L] | None = msgspec.field(default=None, name="HTTP-Response-Metadata")


class Header(msgspec.Struct, gc=False):
    """The WARC header of the record that a WAT record describes."""

    uri: str | None = msgspec.field(default=None, name="WARC-Target-URI")


class Envelope(msgspec.Struct, Generic[L], gc=False):
    """The envelope of a WAT record."""

    header: Header | None = msgspec.field(default=None, name="WARC-Header-Metadata")
    payload: Payload[L] | None = msgspec.field(default=None, name="Payload-Metadata")


class Record(msgspec.Struct, Generic[L], gc=False):
    """A WAT record."""

    envelope: Envelope[L] | None = msgspec.field(default=None, name="Envelope")


class _Decoder:
    """Decodes records of the usual shape whose links have known paths. Known paths affect speed only, not results."""

    def __init__(self) -> None:
        self._others: dict[str, type] = {}
        self.learn(KNOWN_PATHS)

    def learn(self, paths: Iterable[str]) -> None:
        """Add link paths to skip."""
        new = {path for path in paths if path != IMAGE_PATH and path == valid_unicode(path)} - self._others.keys()
        if new and len(self._others) + len(new) <= MOST_PATHS:
            for path in new:
                self._others[path] = msgspec.defstruct("Other", [], tag_field="path", tag=path, gc=False)
            links: Any = Union[(Link, *self._others.values())]
            self._decode = msgspec.json.Decoder(Record[links]).decode

    def decode(self, body: bytes) -> Envelope[Any] | None:
        """Return the envelope; None if the record has another shape or is not an envelope at all."""
        try:
            envelope = self._decode(body).envelope
        except (ValueError, RecursionError):
            return None
        # without either part, the generic decoder decides whether it is an envelope
        return envelope if envelope and (envelope.header or envelope.payload) else None


_decoder = _Decoder()


def decode_envelope(body: bytes, notes: Counter[str]) -> Envelope[Any] | None:
    """Return the envelope of a WAT record; None if the record is not JSON or not a WAT record.

    A value whose type differs from the struct's is kept unchanged. Invalid UTF-8 is noted in the parts that are
    decoded, not in those that are skipped.
    """
    return _decoder.decode(body) or _decode_any(body, notes)


def _decode_any(body: bytes, notes: Counter[str]) -> Envelope[Any] | None:
    """Return the envelope of a record that may be any JSON."""
    try:
        document = parse_json(body, notes)
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
    page = Html(Head(head.get("Base"), head.get("Metas")), links)  # type: ignore[arg-type]  # decoded, not raw
    return Envelope(
        Header(_dig(envelope, "WARC-Header-Metadata").get("WARC-Target-URI")),
        Payload(Response(page, response.get("Headers"))),  # type: ignore[arg-type]  # likewise
    )


def _image(link: dict[str, Any]) -> Link:
    return Link(*(link.get(name) for name in Link.__struct_encode_fields__))


def _dig(value: Any, *keys: str) -> dict[str, Any]:
    """Return the object at a path of keys; an empty one if that path has none."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def images_of(links: list[Any], urls: ImageUrls) -> list[Link]:
    """Return the images among the links of a page, each with its URL.

    The URL is the first that names an image: `url`, `data-src`, `data-original`, `data-lazy-src`, or the largest of
    `srcset`. If none does, `url` stays, for the reason of the drop. Character references are decoded.
    """
    images = [link for link in links if type(link) is Link]
    for link in images:
        if isinstance(link.url, str) and "&" in link.url:
            link.url = unescape(link.url)
        if link.srcset is None and link.data_src is None and link.data_original is None and link.data_lazy_src is None:
            continue
        lazy = _lazy_urls(link)
        given = link.url if link.url is not None else next(iter(lazy), None)
        link.url = next((url for url in (link.url, *lazy) if urls(url)[0]), given)
    return images


def _lazy_urls(link: Link) -> list[str]:
    """Return the URLs of a lazily loaded image, in the order in which they are tried."""
    attributes = [
        unescape(value) if isinstance(value, str) else ""
        for value in (link.data_src, link.data_original, link.data_lazy_src, link.srcset)
    ]
    return [*filter(None, attributes[:-1]), *srcset_urls(attributes[-1])]
