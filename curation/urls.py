"""Resolves and normalizes image URLs by the WHATWG URL standard, as browsers do, and hashes them to image ids.

The parser is ada-url's. Our own policy is small: only http(s) URLs name images, and a URL has no fragment. The id of an
image is a hash of its normalized URL, so every change of a result must raise `ALGORITHM`.
"""

from __future__ import annotations

import re
from hashlib import sha224
from typing import Final

import ada_url

from curation.text import valid_unicode

ALGORITHM: Final = 2  # recorded by ingest: image ids of different numbers are never compared (1 followed RFC 3986)

# Most absolute URLs are already in normal form, and recognizing them takes a tenth of parsing: a host of lower-case
# letters, digits and hyphens whose last label is a word, and no character that the standard would encode or drop.
_is_normal = re.compile(r"https?://[a-z0-9.-]+\.[a-z]{2,}/[!$-;=@-Z[\]_a-z|~]*(?:\?[!$-&(-;=?-~]*)?").fullmatch
_host = re.compile(r"[a-z]+://(?:[^/?#]*@)?(\[[^\]]*\]|[^:/?#]*)").match


class UrlError(ValueError):
    """A reference that cannot be turned into an image URL.

    `reason` is `data_uri`, `scheme` (neither http nor https) or `unresolvable` (relative without a base, or not a valid
    URL).
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def image_id(reference: str) -> str:
    """Return the id of an image: the first 24 hex digits of the SHA-224 of its normalized URL (or image reference)."""
    return sha224(reference.encode()).hexdigest()[:24]


def normalize_url(url: str, base: str | None) -> str:
    """Return the normal form of an image URL; normalizing is idempotent.

    The URL is parsed against `base`, a normalized URL or None, and serialized as the WHATWG URL standard specifies, and
    its fragment is removed. Raises UrlError.
    """
    if _is_normal(url) and "/." not in url and "/%" not in url:  # a path without dot segments, however spelled
        return url
    if url[:64].lstrip()[:5].lower() == "data:":  # may be megabytes long
        raise UrlError("data_uri")
    url = valid_unicode(url)
    try:
        href = ada_url.join_url(base, url) if base else ada_url.normalize_url(url)
    except ValueError:
        raise UrlError("unresolvable") from None
    if not href.startswith(("http://", "https://")):
        raise UrlError("data_uri" if href.startswith("data:") else "scheme")
    return href.partition("#")[0]


def effective_base(page: str, href: str | None) -> str | None:
    """Return the base of a page's relative references: its `<base href>`, resolved against its own URL.

    As in browsers, a `<base>` that does not give an http(s) URL is ignored. None if the page's own URL gives none
    either.
    """
    own = _normal_or_none(page, None)
    return (_normal_or_none(href, own) if href else None) or own


def host(url: str) -> str:
    """Return the host of a normalized URL, without user and port."""
    match = _host(url)
    return str(match[1]) if match else ""


def normalize_host(name: str) -> str:
    """Return the normal form of a host, as in normalized URLs. Raises UrlError if the name is anything else."""
    url = normalize_url(f"http://{name}:1/", None)  # the port ends the host: anything else in the name would move it
    normal = host(url)
    if url != f"http://{normal}:1/":
        raise UrlError("unresolvable")
    return normal


def _normal_or_none(url: str, base: str | None) -> str | None:
    try:
        return normalize_url(url, base)
    except UrlError:
        return None
