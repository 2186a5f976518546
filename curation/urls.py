"""Resolves and normalizes image URLs, and hashes them to image ids.

The id of an image is a hash of its normalized URL, so these rules must never change: another rule would change ids.
They are implemented here because `urllib.parse.urljoin` differs between Python versions and drops empty path segments.
"""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import sha224
from typing import NamedTuple
from urllib.parse import quote

from curation.text import valid_unicode

DEFAULT_PORTS = {"http": 80, "https": 443}

# Most URLs on the web are already in normal form: lower-case scheme and host, no port, visible ASCII.
_normal = re.compile(r'https?://[a-z0-9._-]+(?:[/?][!"$-~]*)?').fullmatch
_normal_start = re.compile(r"https?://[a-z0-9._-]+(?:[/?]|\Z)").match
# RFC 3986, appendix B, with the scheme characters of section 3.1; the fragment is removed before.
_split = re.compile(r"(?:([a-zA-Z][a-zA-Z0-9+.-]*):)?(?://([^/?]*))?([^?]*)(?:\?(.*))?", re.DOTALL).fullmatch
_split_host = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]]*)(?::([0-9]{0,9}))?").fullmatch
_forbidden_in_host = re.compile(r"[\x00-\x20#/:<>?@\[\\\]^|\x7f]").search  # WHATWG URL, section 3.5
_non_ascii = re.compile(r"[^\x00-\x7f]+")
_removed = str.maketrans("", "", "\t\r\n ")


class UrlError(ValueError):
    """A reference that cannot be turned into an image URL.

    `reason` is `data_uri`, `scheme` (neither http nor https) or `unresolvable` (relative without a base, or without a
    valid host).
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class _Parts(NamedTuple):
    scheme: str | None
    authority: str | None
    path: str
    query: str | None


def image_id(reference: str) -> str:
    """Return the id of an image: the first 24 hex digits of the SHA-224 of its normalized URL (or image reference)."""
    return sha224(reference.encode()).hexdigest()[:24]


def normalize_url(url: str, base: str | None) -> str:
    """Return the normal form of an image URL; normalizing is idempotent.

    The URL is stripped, its fragment, tabs, line breaks and spaces are removed, and it is resolved against the absolute
    URL `base` (RFC 3986, section 5.2, with `http:x` taken as relative, as in browsers). Dot segments are removed from
    relative paths only. The scheme and host are lowercased, the host is converted to IDNA, the default port is removed,
    and non-ASCII characters are percent-encoded as UTF-8. Raises UrlError.
    """
    if plain := _normalize_plain(url, base):
        return plain
    if url[:64].lstrip()[:5].lower() == "data:":  # may be megabytes long
        raise UrlError("data_uri")
    scheme, authority, path, query = _resolve(_parse(url), base)
    if scheme not in DEFAULT_PORTS:
        raise UrlError("scheme")
    rest = path if query is None else f"{path}?{query}"
    return f"{scheme}://{_normal_authority(authority or '', DEFAULT_PORTS[scheme])}{_percent_encoded(rest)}"


def _normalize_plain(url: str, base: str | None) -> str | None:
    """Return the normal form of a URL that needs no parsing, as most need none; None for the others."""
    if not url.isascii() or "#" in url or url.split(None, 1) != [url]:  # non-ASCII, a fragment or white space
        return None
    if url[0] != "/" and _normal_start(url):
        return url
    if roots := _roots(base):
        if url[:2] == "//":
            if _normal_start(absolute := roots[0].partition("//")[0] + url):
                return absolute
        elif "/." not in url and (url[0] == "/" or (url[0] not in ".?" and ":" not in url)):
            return roots[url[0] != "/"] + url
    return None


def effective_base(page: str, href: str | None) -> str | None:
    """Return the base of a page's relative references: its `<base href>`, resolved against its own URL.

    As in browsers, a `<base>` that does not give an http(s) URL is ignored. None if the page's own URL gives none
    either.
    """
    for url, base in ((href, page), (page, None)):
        if url:
            try:
                return normalize_url(url, base)
            except UrlError:
                continue
    return None


def host(url: str) -> str:
    """Return the host of a normalized URL, without user and port."""
    authority = re.split("[/?]", url.partition("://")[2], maxsplit=1)[0].rpartition("@")[2]
    match = _split_host(authority)
    return str(match[1]) if match else ""


def _parse(url: str) -> _Parts:
    url = valid_unicode(url.partition("#")[0]).strip()
    if " " in url or not url.isprintable():
        url = url.translate(_removed)
    match = _split(url)
    assert match is not None, "the pattern matches every string"
    scheme, authority, path, query = match.groups()
    return _Parts(scheme and scheme.lower(), authority, path, query)


_parse_base = lru_cache(maxsize=256)(_parse)


@lru_cache(maxsize=256)
def _roots(base_url: str | None) -> tuple[str, str] | None:
    """Return the prefixes of absolute and of relative plain paths; None if paths must be resolved in full."""
    if not base_url:
        return None
    if _normal(base_url):
        whole = base_url.partition("?")[0]
        start = whole.find("/", 8)
        if start < 0:
            return whole, f"{whole}/"
        return None if "/." in whole[start:] else (whole[:start], whole[: whole.rfind("/") + 1])
    base = _parse_base(base_url)
    if base.scheme not in DEFAULT_PORTS or "/." in base.path:
        return None
    try:
        origin = f"{base.scheme}://{_normal_authority(base.authority or '', DEFAULT_PORTS[base.scheme])}"
    except UrlError:
        return None
    return origin, f"{origin}{_percent_encoded(base.path.rpartition('/')[0])}/"


def _resolve(reference: _Parts, base_url: str | None) -> _Parts:
    """Resolve a reference (RFC 3986, section 5.2.2). Raises UrlError if it needs a base and has none."""
    scheme, authority, path, query = reference
    if scheme not in (None, *DEFAULT_PORTS) or (scheme and authority is not None):
        return reference
    base = _parse_base(base_url) if base_url else None
    if base is None or base.scheme not in DEFAULT_PORTS or (scheme or base.scheme) != base.scheme:
        raise UrlError("unresolvable")
    if authority is not None:
        return reference._replace(scheme=base.scheme)
    if not path:
        return base if query is None else base._replace(query=query)
    if not path.startswith("/"):
        path = f"{base.path.rpartition('/')[0]}/{path}"
    return _Parts(base.scheme, base.authority, _without_dots(path), query)


def _without_dots(path: str) -> str:
    """Remove the segments `.` and `..` from an absolute path (RFC 3986, section 5.2.4)."""
    if "/." not in path:
        return path
    resolved: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            del resolved[-1:]
        elif segment != ".":
            resolved.append(segment)
    if segments[-1] in (".", ".."):
        resolved.append("")
    return "/" + "/".join(resolved)


@lru_cache(maxsize=4096)
def _normal_authority(authority: str, default_port: int) -> str:
    """Return `user@host:port` with a normal host and without the default port. Raises UrlError."""
    user, at, host_port = authority.rpartition("@")
    match = _split_host(host_port)
    if not host_port or match is None:
        raise UrlError("unresolvable")
    name, port = match.groups()
    name = name.lower()
    if not name.isascii():
        try:
            name = name.encode("idna").decode("ascii").lower()
        except UnicodeError:
            raise UrlError("unresolvable") from None
    if (not name.startswith("[") and _forbidden_in_host(name)) or int(port or 0) > 65535:
        raise UrlError("unresolvable")
    suffix = f":{port}" if port and int(port) != default_port else ""
    return f"{_percent_encoded(user)}{at}{name}{suffix}"


def _percent_encoded(part: str) -> str:
    return part if part.isascii() else _non_ascii.sub(lambda match: quote(match[0], safe=""), part)
