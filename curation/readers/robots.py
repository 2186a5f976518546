"""Parses robots directives of a page: `X-Robots-Tag` headers and `robots` metas.

Only directives for every robot count; a directive for one robot (`googlebot: noindex`) is ignored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from curation.readers.lenient_json import parse_json
from curation.robots import DEFAULT, DIRECTIVES, directives_in

__all__ = ["DEFAULT", "DIRECTIVES", "directives"]

NOTHING: Final[frozenset[str]] = frozenset()
_NAMES: Final = frozenset({"robots", "x-robots-tag"})


class _Meta(msgspec.Struct, gc=False):
    name: str | None = None
    http_equiv: str | None = msgspec.field(default=None, name="http-equiv")
    content: str | None = None


_decode_meta = msgspec.json.Decoder(_Meta).decode


def directives(metas: object, headers: object) -> frozenset[str]:
    """Return the `DIRECTIVES` that a page gives, from the metas and headers of its WAT record, raw JSON or decoded.

    `none` counts as `noindex`. Values of unexpected types are ignored.
    """
    return NOTHING.union(*map(directives_in, _meta_contents(metas)), *map(directives_in, _header_values(headers)))


def _meta_contents(metas: object) -> Iterable[str]:
    """Return the contents of robots metas."""
    if isinstance(metas, msgspec.Raw):
        try:
            return [meta.content for meta in _robots_metas(bytes(metas)) if meta.content]
        except ValueError:
            metas = _decoded(metas)
    dicts = [meta for meta in metas if isinstance(meta, dict)] if isinstance(metas, list) else []
    contents = [
        meta.get("content") for meta in dicts if _is_robots(meta.get("name")) or _is_robots(meta.get("http-equiv"))
    ]
    return [content for value in contents for content in _strings(value)]


def _robots_metas(text: bytes) -> Iterator[_Meta]:
    """Yield the robots metas of a JSON list of metas, without decoding the others.

    Raises ValueError if braces inside strings hide where a meta starts or ends: a slice that starts or ends inside a
    string is not a JSON object.
    """
    lower = text.lower()
    end = 0
    while (index := lower.find(b"robots", end)) >= 0:
        end = text.find(b"}", index) + 1
        meta = _decode_meta(text[text.rfind(b"{", 0, index) : end])
        if _is_robots(meta.name) or _is_robots(meta.http_equiv):
            yield meta


def _header_values(headers: object) -> Iterable[str]:
    """Return the values of X-Robots-Tag headers."""
    if isinstance(headers, msgspec.Raw):
        headers = _decoded(headers) if b"robots" in bytes(headers).lower() else None
    values = [value for name, value in headers.items() if _is_robots(name)] if isinstance(headers, dict) else []
    return [content for value in values for content in _strings(value)]


def _decoded(raw: msgspec.Raw) -> object:
    """Return the value of JSON that was skipped undecoded; None if it is invalid."""
    try:
        return parse_json(bytes(raw), Counter())
    except ValueError:
        return None


def _is_robots(name: object) -> bool:
    return isinstance(name, str) and name.strip().lower() in _NAMES


def _strings(value: object) -> Iterable[str]:
    """Return the strings of a list (a header sent several times) or the value itself, if it is a string."""
    return [item for item in (value if isinstance(value, list) else [value]) if isinstance(item, str)]
