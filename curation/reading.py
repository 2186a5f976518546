"""From the values of an input to occurrences: what every reader shares."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from curation.occurrences import Books, Occurrence
from curation.text import clean, valid_unicode
from curation.urls import UrlError, image_id, normalise_url


@dataclass
class Reading:
    """What became of one input file: its books, and the error that cut it short, if any.

    Readers count into it as they go: `read` and `drops` of the books, the rest is `group`'s. `name` is the file's,
    for messages.
    """

    name: str
    books: Books = field(default_factory=Books)
    error: str | None = None

    @property
    def status(self) -> str:
        """`ok`, or `partial` when only the rows before `error` could be read."""
        return "ok" if self.error is None else "partial"


def occurrences_of(
    books: Books,
    texts: Iterable[tuple[str, object]],
    *,
    url: object,
    base: str | None,
    page_url: str | None,
    image_ref: str | None = None,
) -> list[Occurrence]:
    """Return the usable occurrences of one image reference with its (source, text) values; count all of them.

    An image without any text (null is none) is no occurrence and goes to the notes. Dropped are, in this order: a
    value that is no string (`not_text`), a text empty after cleaning (`empty_text`), then all texts of an image that
    has neither a usable URL nor an `image_ref`: `no_reference`, or a reason of `UrlError`. Where there is an
    `image_ref`, an unusable URL is left out and noted (`bad_url`).
    """
    read = 0
    usable = []
    for source, value in texts:
        if value is None:
            continue
        read += 1
        if not isinstance(value, str):
            books.drop("not_text", url or image_ref)
        elif text := clean(value):
            usable.append((source, text))
        else:
            books.drop("empty_text", url or image_ref)
    books.read += read
    books.notes["images"] += 1
    if not read:
        books.notes["images_without_text"] += 1
    if not usable:
        return []
    image_url, reason = _image_url(url, base)
    if image_url is None and image_ref is None:
        books.drop(reason, url, len(usable))
        return []
    if image_url is None and url is not None:
        books.notes["bad_url"] += 1
    identity = image_id(image_url or image_ref or "")
    return [Occurrence(identity, image_url, page_url, image_ref, source, text) for source, text in usable]


def _image_url(url: object, base: str | None) -> tuple[str | None, str]:
    """Return the normal form of an image URL, or None and the reason why there is none."""
    if url is None:
        return None, "no_reference"
    if not isinstance(url, str):
        return None, "unresolvable"
    try:
        return normalise_url(url, base), ""
    except UrlError as error:
        return None, error.reason


def name_of(value: object) -> str | None:
    """Return a page URL or image reference as stored: stripped, valid UTF-8; None when there is none."""
    return valid_unicode(value).strip() or None if isinstance(value, str) else None
