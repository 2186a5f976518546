"""What a page says of its own use by machines: the directives of `X-Robots-Tag` headers and `robots` metas.

Only what is said to everyone counts; a directive for one robot (`googlebot: noindex`) is that robot's business.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final

import msgspec

from curation.readers.lenient_json import loads

DIRECTIVES: Final = ("noai", "noimageai", "noindex", "noimageindex")
DEFAULT: Final = ("noai", "noimageai")
NOTHING: Final[frozenset[str]] = frozenset()
_NAMES: Final = frozenset({"robots", "x-robots-tag"})
# Directives with a colon of their own; before any other colon stands a robot's name.
_VALUED: Final = frozenset({"max-snippet", "max-image-preview", "max-video-preview", "unavailable_after"})


class _Meta(msgspec.Struct, gc=False):
    name: str | None = None
    http_equiv: str | None = msgspec.field(default=None, name="http-equiv")
    content: str | None = None


_decode_meta = msgspec.json.Decoder(_Meta).decode


def directives(metas: object, headers: object) -> frozenset[str]:
    """Return which of `DIRECTIVES` a page gives, from the metas and headers of its WAT record, raw JSON or decoded.

    `none` is `noindex`. Values of other types than the format's say nothing.
    """
    return NOTHING.union(*map(_given, _of_metas(metas)), *map(_given, _of_headers(headers)))


def _of_metas(metas: object) -> Iterable[str]:
    """Return the contents of robots metas."""
    if isinstance(metas, msgspec.Raw):
        try:
            return [meta.content for meta in _robots_metas(bytes(metas)) if meta.content]
        except ValueError:
            metas = _decoded(metas)
    dicts = [meta for meta in metas if isinstance(meta, dict)] if isinstance(metas, list) else []
    named = [meta.get("content") for meta in dicts if _named(meta.get("name")) or _named(meta.get("http-equiv"))]
    return [content for value in named for content in _strings(value)]


def _robots_metas(text: bytes) -> Iterator[_Meta]:
    """Yield the robots metas of a JSON list of them, decoding nothing else.

    Raises ValueError where braces inside strings hide where a meta begins or ends: a piece that begins or ends inside a
    string is no JSON object.
    """
    lower = text.lower()
    end = 0
    while (found := lower.find(b"robots", end)) >= 0:
        end = text.find(b"}", found) + 1
        meta = _decode_meta(text[text.rfind(b"{", 0, found) : end])
        if _named(meta.name) or _named(meta.http_equiv):
            yield meta


def _of_headers(headers: object) -> Iterable[str]:
    """Return the values of X-Robots-Tag headers."""
    if isinstance(headers, msgspec.Raw):
        headers = _decoded(headers) if b"robots" in bytes(headers).lower() else None
    named = [value for name, value in headers.items() if _named(name)] if isinstance(headers, dict) else []
    return [content for value in named for content in _strings(value)]


def _decoded(raw: msgspec.Raw) -> object:
    """Return the value of JSON that a strict reader passed over; None where its strings are none."""
    try:
        return loads(bytes(raw), Counter())
    except ValueError:
        return None


def _named(name: object) -> bool:
    return isinstance(name, str) and name.strip().lower() in _NAMES


def _strings(value: object) -> Iterable[str]:
    """Return a value, or the values of a list (a header sent several times), as far as they are strings."""
    return [item for item in (value if isinstance(value, list) else [value]) if isinstance(item, str)]


@lru_cache(maxsize=256)  # the web says the same few things
def _given(value: str) -> frozenset[str]:
    """Return which of `DIRECTIVES` a comma-separated list gives to every robot."""
    return frozenset(_parse(value)).intersection(DIRECTIVES)


def _parse(value: str) -> Iterator[str]:
    """Yield the directives of a comma-separated list that are for every robot."""
    robot = "*"
    for part in value.lower().split(","):
        directive = part.strip()
        before, colon, after = directive.partition(":")
        if colon and before.strip() not in _VALUED:
            robot, directive = before.strip(), after.strip()
        if robot == "*":
            yield "noindex" if directive == "none" else directive
