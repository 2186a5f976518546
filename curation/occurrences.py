"""What ingest reads: (image reference, text) occurrences, and the books in which each is accounted for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from curation.errors import OutputError
from curation.text import clean, valid_unicode
from curation.urls import UrlError, image_id, normalise_url


class Occurrence(NamedTuple):
    """One text seen with one image: a usable row of the input."""

    image_id: str
    image_url: str | None
    page_url: str | None
    image_ref: str | None
    source: str
    text: str


@dataclass
class Books:
    """Where every occurrence went: `read = kept + duplicates + over_cap + dropped`, `drops` by reason.

    Duplicates are the further occurrences of a text that its image keeps; over the cap are all occurrences of a text
    that its image does not keep. So defined, the sums do not depend on how the input was split. `notes` counts what
    is no occurrence: pages, images, images without text, broken records. Books add up, and so do differences of
    books, whose figures may be negative.
    """

    read: int = 0
    kept: int = 0
    duplicates: int = 0
    over_cap: int = 0
    drops: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: Books) -> Books:
        drops, notes = self.drops.copy(), self.notes.copy()
        drops.update(other.drops)
        notes.update(other.notes)
        return Books(
            self.read + other.read,
            self.kept + other.kept,
            self.duplicates + other.duplicates,
            self.over_cap + other.over_cap,
            drops,
            notes,
        )

    def check(self) -> None:
        """Raise OutputError unless the books balance and no figure is negative."""
        parts = [self.kept, self.duplicates, self.over_cap, *self.drops.values()]
        if self.read != sum(parts) or min(parts) < 0:
            raise OutputError(
                f"the books do not balance: read {self.read} is not kept {self.kept} + duplicates {self.duplicates}"
                f" + over the cap {self.over_cap} + dropped {dict(sorted(self.drops.items()))}"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the books as plain data, keys in a fixed order."""
        return {
            "read": self.read,
            "kept": self.kept,
            "duplicates": self.duplicates,
            "over_cap": self.over_cap,
            "drops": dict(sorted(self.drops.items())),
            "notes": dict(sorted(self.notes.items())),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Books:
        """Return the books that `to_dict` wrote."""
        return cls(**{**data, "drops": Counter(data["drops"]), "notes": Counter(data["notes"])})


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
            books.drops["not_text"] += 1
        elif text := clean(value):
            usable.append((source, text))
        else:
            books.drops["empty_text"] += 1
    books.read += read
    books.notes["images"] += 1
    if not read:
        books.notes["images_without_text"] += 1
    if not usable:
        return []
    image_url, reason = _image_url(url, base)
    if image_url is None and image_ref is None:
        books.drops[reason] += len(usable)
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
