"""Turns the raw values of a page or row into occurrences; shared by all readers."""

from __future__ import annotations

from collections.abc import Sequence

from curation.occurrence import Counters, Occurrence
from curation.text import clean_all, valid_unicode
from curation.urls import UrlError, normalize_url

# One value that may be a text: the URL of its image, its source (attribute or column), and the value.
RawValue = tuple[object, str, object]


def occurrences_of(
    counters: Counters,
    values: Sequence[RawValue],
    *,
    base: str | None,
    page_url: str | None,
    image_ref: str | None = None,
    refused: str | None = None,
) -> list[Occurrence]:
    """Return the usable occurrences among the values of a page or row, and count all of them.

    The values of one image must be adjacent. Values are dropped for these reasons, in this order:

    - `refused`, if given, drops everything under that reason;
    - `not_text`: the value is not a string;
    - `empty_text`: the text is empty after cleaning;
    - `no_reference`, or the reason of a `UrlError`: the image has neither a usable URL nor an `image_ref`.

    `image_ref` belongs to the only image of a row. With an `image_ref`, an unusable URL is left out and noted
    (`bad_url`).
    """
    counters.read += len(values)
    if refused:
        counters.drop(refused, [url or image_ref for url, _, _ in values])
        return []
    usable: list[Occurrence] = []
    dropped: dict[str, list[object]] = {"empty_text": []}
    empty = dropped["empty_text"]
    resolved: dict[str, tuple[str | None, str]] = {}  # pages often repeat an image
    for (url, source, _), text in zip(values, clean_all([value[2] for value in values]), strict=True):
        if not text:
            (empty if text is not None else dropped.setdefault("not_text", [])).append(url or image_ref)
            continue
        if isinstance(url, str):
            result = resolved.get(url)
            if result is None:
                result = resolved[url] = _image_url(url, base)
            image_url, reason = result
        else:
            image_url, reason = None, "no_reference" if url is None else "unresolvable"
        if image_url is None and image_ref is None:
            dropped.setdefault(reason, []).append(url)
        else:
            usable.append(Occurrence(image_url, page_url, image_ref, source, text))
    if usable and image_ref is not None and image_url is None and url is not None:
        counters.notes["bad_url"] += 1
    for reason, references in dropped.items():
        counters.drop(reason, references)
    return usable


def note_images(counters: Counters, images: int, without_text: int) -> None:
    """Note how many images a page or row has, and how many have no text and so give no occurrence."""
    counters.notes["images"] += images
    if without_text:
        counters.notes["images_without_text"] += without_text


def _image_url(url: str, base: str | None) -> tuple[str | None, str]:
    """Return the normal form of an image URL and "", or None and the reason why it has none."""
    if url.startswith("data:"):  # common, and an exception is slower
        return None, "data_uri"
    try:
        return normalize_url(url, base), ""
    except UrlError as error:
        return None, error.reason


def clean_reference(value: object) -> str | None:
    """Return a page URL or image reference as it is stored: stripped, valid UTF-8; None if it is empty."""
    return valid_unicode(value).strip() or None if isinstance(value, str) else None
