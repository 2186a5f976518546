"""From the values of an input to occurrences: what every reader shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from curation.occurrence import Counters, Occurrence
from curation.text import clean_all, valid_unicode
from curation.urls import UrlError, normalize_url


@dataclass
class FileReport:
    """What became of one input file: its books, and the error that cut it short, if any.

    Readers count into it as they go: `read` and `drops` of the books, the rest is `group`'s. `name` is the file's,
    for messages.
    """

    name: str
    counters: Counters = field(default_factory=Counters)
    error: str | None = None

    @property
    def status(self) -> str:
        """`ok`, or `partial` when only the rows before `error` could be read."""
        return "ok" if self.error is None else "partial"


# One value: the URL of its image, where the value stood, and the value.
Cell = tuple[object, str, object]


def occurrences_of(
    counters: Counters,
    cells: Sequence[Cell],
    *,
    base: str | None,
    page_url: str | None,
    image_ref: str | None = None,
    refused: str | None = None,
) -> list[Occurrence]:
    """Return the usable occurrences among the values of a page or row, an image's side by side; count all of them.

    Dropped are, in this order: everything when it is `refused`, under the reason given there; a value that is no string
    (`not_text`), a text empty after cleaning (`empty_text`), then a text whose image has neither a usable URL nor an
    `image_ref`, that of a row's one image: `no_reference`, or a reason of `UrlError`. Where there is an `image_ref`, an
    unusable URL is left out and noted (`bad_url`).
    """
    counters.read += len(cells)
    if refused:
        counters.drop(refused, [url or image_ref for url, _, _ in cells])
        return []
    found: list[Occurrence] = []
    dropped: dict[str, list[object]] = {"empty_text": []}
    empty = dropped["empty_text"]
    known: dict[str, tuple[str | None, str]] = {}  # a page shows many an image again
    for (url, source, _), text in zip(cells, clean_all([cell[2] for cell in cells]), strict=True):
        if not text:
            (empty if text is not None else dropped.setdefault("not_text", [])).append(url or image_ref)
            continue
        if isinstance(url, str):
            pair = known.get(url)
            if pair is None:
                pair = known[url] = _image_url(url, base)
            image_url, reason = pair
        else:
            image_url, reason = None, "no_reference" if url is None else "unresolvable"
        if image_url is None and image_ref is None:
            dropped.setdefault(reason, []).append(url)
        else:
            found.append(Occurrence(image_url, page_url, image_ref, source, text))
    if found and image_ref is not None and image_url is None and url is not None:
        counters.notes["bad_url"] += 1
    for why, examples in dropped.items():
        counters.drop(why, examples)
    return found


def note_images(counters: Counters, images: int, without_text: int) -> None:
    """Note how many images a page or row has, and how many of them have no text: those are no occurrences."""
    counters.notes["images"] += images
    if without_text:
        counters.notes["images_without_text"] += without_text


def _image_url(url: str, base: str | None) -> tuple[str | None, str]:
    """Return the normal form of an image URL, or None and the reason why there is none."""
    if url.startswith("data:"):  # as many are: raising takes longer
        return None, "data_uri"
    try:
        return normalize_url(url, base), ""
    except UrlError as error:
        return None, error.reason


def name_of(value: object) -> str | None:
    """Return a page URL or image reference as stored: stripped, valid UTF-8; None when there is none."""
    return valid_unicode(value).strip() or None if isinstance(value, str) else None
