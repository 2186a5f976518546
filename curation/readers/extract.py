"""Turns the raw values of a page or row into occurrences; shared by all readers."""

from __future__ import annotations

import re
from collections.abc import Sequence

from curation.io.paths import folder_of
from curation.occurrence import Counters, Occurrence
from curation.text import clean_all, valid_unicode
from curation.urls import UrlError, normalize_url

# One value that may be a text: the URL of its image, its source (attribute or column), and the value.
RawValue = tuple[object, str, object]

# White space and controls that URL parsers strip, and line breaks and tabs that they drop, may surround all of these.
_names_nothing = re.compile(r"[\x00-\x20]*(?:#|\Z)").match
_is_about = re.compile(r"[\x00-\x20]*" + r"[\t\n\r]*".join("about:"), re.IGNORECASE).match


class ImageUrls:
    """Resolves the references of a page's images, each only once, because pages often repeat an image.

    Args:
        base: what references are relative to: a normalized URL, or None.
        page: the normalized URL of an HTML page, which is not an image of itself; None for rows of tables.
    """

    def __init__(self, base: str | None, page: str | None = None) -> None:
        self._base = base
        self._pages = frozenset((page.removesuffix("?"), page.removesuffix("?") + "?") if page else ())
        self._resolved: dict[str, tuple[str | None, str]] = {}

    def __call__(self, reference: object) -> tuple[str | None, str]:
        """Return the normalized URL of an image and "", or None and the reason why there is none."""
        if not isinstance(reference, str):
            return None, "no_reference" if reference is None else "unresolvable"
        result = self._resolved.get(reference)
        if result is None:
            result = self._resolved[reference] = self._resolve(reference)
        return result

    def _resolve(self, reference: str) -> tuple[str | None, str]:
        if reference.startswith("data:"):  # common, and an exception is slower
            return None, "data_uri"
        if reference[:1] <= "#" and _names_nothing(reference):
            return None, "no_reference"
        try:
            url = normalize_url(reference, self._base)
        except UrlError as error:
            return None, "no_reference" if error.reason == "scheme" and _is_about(reference) else error.reason
        return (None, "no_reference") if url in self._pages else (url, "")


def occurrences_of(
    counters: Counters,
    values: Sequence[RawValue],
    urls: ImageUrls,
    *,
    page_url: str | None,
    image_ref: str | None = None,
    refused: str | None = None,
) -> list[Occurrence]:
    """Return the usable occurrences among the values of a page or row, and count all of them.

    The values of one image must be adjacent. Values are dropped for these reasons, in this order:

    - `refused`, if given, drops everything under that reason;
    - `not_text`: the value is not a string;
    - `empty_text`: the text is empty after cleaning;
    - the image has neither a usable URL nor an `image_ref`: `no_reference` (the URL is missing, or it names the page
      itself or an empty document: ``""``, `#`, `about:blank`), or the reason of a `UrlError`.

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
    for (url, source, _), text in zip(values, clean_all([value[2] for value in values]), strict=True):
        if not text:
            (empty if text is not None else dropped.setdefault("not_text", [])).append(url or image_ref)
            continue
        image_url, reason = urls(url)
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


def image_reference(value: object, name: str) -> str | None:
    """Return the image reference of a row as it is stored; a relative path is below the folder of the file `name`."""
    reference, folder = clean_reference(value), folder_of(name)
    if reference is None or folder in (None, ".") or reference.startswith("/") or "://" in reference:
        return reference
    return f"{str(folder).rstrip('/')}/{reference}"


def clean_reference(value: object) -> str | None:
    """Return a page URL or image reference as it is stored: stripped, valid UTF-8; None if it is empty."""
    return valid_unicode(value).strip() or None if isinstance(value, str) else None
