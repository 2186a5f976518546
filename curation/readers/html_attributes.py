"""Reads the values of HTML attributes that hold image URLs, as the HTML standard does: references and `srcset`."""

from __future__ import annotations

import html
import re
from html.entities import html5
from typing import Final

_reference = re.compile(r"&(?:#(?:[0-9]+|[xX][0-9a-fA-F]+);?|([0-9A-Za-z]+)(;|(?!=)))")

# The grammar of `srcset` (HTML, section 4.8.4.2.2); its white space is ASCII. Brackets may hold commas.
_candidate = re.compile(r"[\t\n\f\r ,]*+([^\t\n\f\r ]+)")
_descriptors = re.compile(r"(?:[^,(]+|\([^)]*\)?)*+")
_descriptor = re.compile(r"[^\t\n\f\r ]+")
_width = re.compile(r"([0-9]+)w").fullmatch
_height = re.compile(r"([0-9]+)h").fullmatch
_density = re.compile(r"((?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)x").fullmatch
_INFINITE: Final = float("inf")


def unescape(value: str) -> str:
    """Return an attribute's value with its character references decoded once.

    A name without its semicolon is decoded only where HTML does it in attributes: `?a=1&copy` but not `?a=1&copy=2`.
    """
    return _reference.sub(_decoded, value) if "&" in value else value


def _decoded(match: re.Match[str]) -> str:
    name, end = match.groups()
    return html.unescape(match[0]) if name is None or f"{name}{end}" in html5 else match[0]


def srcset_urls(srcset: str) -> list[str]:
    """Return the URLs of a srcset, the largest width or density first, equal ones in their order.

    Candidates with invalid descriptors are left out.
    """
    sized: list[tuple[float, str]] = []
    position = 0
    while match := _candidate.match(srcset, position):
        url, position = match[1], match.end()
        size: float | None = 1.0
        if url.endswith(","):
            url = url.rstrip(",")
        elif descriptors := _descriptors.match(srcset, position):
            size, position = _size(_descriptor.findall(descriptors[0])), descriptors.end()
        if size is not None:
            sized.append((size, url))
    return [url for _, url in sorted(sized, key=lambda candidate: -candidate[0])]


def _size(descriptors: list[str]) -> float | None:
    """Return the width or density that a candidate's descriptors give, 1 without any; None if they are invalid."""
    sizes: dict[str, float] = {}
    for descriptor in descriptors:
        match = _width(descriptor) or _height(descriptor) or _density(descriptor)
        if not match or descriptor[-1] in sizes:
            return None
        size = sizes[descriptor[-1]] = float(match[1])
        if size == _INFINITE or (size == 0 and descriptor[-1] != "x"):
            return None
    valid = sizes.keys() in ({"w"}, {"w", "h"}, {"x"}, set())
    return sizes.get("w", sizes.get("x", 1.0)) if valid else None
