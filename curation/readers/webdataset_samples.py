"""Groups the members of a WebDataset tar into samples, as WebDataset does, and notes the members that are left over.

The key of a member is its name up to the first dot of its last part, and the rest is its extension; adjacent members
with the same key are a sample. Extensions with a dot are told apart: in `3.jpg`, `3.txt`, `3.mask.png`, the mask is
left over. But `v1.5 photo.png` and `v1.5 photo.txt`, an image and a text with the same name up to their last dot, are a
sample of their own.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

IMAGES = frozenset({"jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "avif"})
TEXTS = ("txt", "text", "transcript")
JSONS = frozenset({"json", "jsn"})

# macOS's copies of attributes, pax headers that an older program unpacked, WebDataset's own `__name__` members
_HIDDEN_FOLDER = re.compile(r"__MACOSX|@?PaxHeaders?(\.\d+)?|@LongLink|__[^/]*__")
_HIDDEN_FILES = frozenset({"thumbs.db", "desktop.ini"})


@dataclass(frozen=True)
class Part:
    """A member of a sample.

    Attributes:
        member: its name.
        key: the name up to the first dot.
        prefix: the part of the extension before its last dot; usually empty.
        kind: what it holds.
        source: the extension without the prefix, or the text column that has this name.
        value: a text, or the columns of a JSON object.
    """

    member: str
    key: str
    prefix: str
    kind: Literal["image", "text", "json"]
    source: str
    value: Any = None


@dataclass
class Sample:
    """The image of a sample (the name of its member), its texts with their sources, and the columns of its JSON."""

    image: str | None = None
    texts: list[tuple[str, str]] = field(default_factory=list)
    columns: dict[str, Any] = field(default_factory=dict)


class PartKinds:
    """Tells the part of a sample that a member is by its extension, which may also be the name of a text column."""

    def __init__(self, text_columns: Iterable[str]) -> None:
        self._texts = {**{name.lower(): name for name in text_columns}, **{name: name for name in TEXTS}}

    def part(self, name: str) -> Part | None:
        """Return the part, still without its value; None if it has no known extension."""
        folder, slash, base = name.rpartition("/")
        stem, _, extension = base.partition(".")
        extension = extension.lower()
        key = f"{folder}{slash}{stem}"
        if extension in self._texts:
            return Part(name, key, "", "text", self._texts[extension])
        prefix, _, last = extension.rpartition(".")
        if last in IMAGES:
            return Part(name, key, prefix, "image", last)
        if last in JSONS:
            return Part(name, key, prefix, "json", last)
        if last in self._texts:
            return Part(name, key, prefix, "text", self._texts[last])
        return None


def is_hidden(name: str) -> bool:
    """Return whether a member is none of the user's files, but was added by a program."""
    *folders, base = name.split("/")
    return base.startswith(".") or base.lower() in _HIDDEN_FILES or any(map(_HIDDEN_FOLDER.fullmatch, [*folders, base]))


class Samples:
    """Collects the parts of an archive, in its order, into samples; `unused_member` notes those that are left over."""

    def __init__(self, notes: Counter[str]) -> None:
        self._notes = notes
        self._samples: list[Sample] = []
        self._group: dict[tuple[str, str], Part] = {}  # by prefix and source; all have the same key
        self._key: str | None = None

    def add(self, part: Part) -> None:
        """Add the next part. Another key, or a part that the sample already has, starts a new sample."""
        if part.key != self._key or (part.prefix, part.source) in self._group:
            self._close()
            self._key = part.key
        self._group[part.prefix, part.source] = part

    def finish(self) -> list[Sample]:
        """Return all samples."""
        self._close()
        return self._samples

    def _close(self) -> None:
        by_prefix: dict[str, list[Part]] = {}
        for part in self._group.values():
            by_prefix.setdefault(part.prefix, []).append(part)
        self._group = {}
        for prefix, parts in by_prefix.items():
            if prefix and len({part.kind == "image" for part in parts}) < 2:  # not both an image and a text
                self._notes["unused_member"] += len(parts)
            else:
                self._samples.append(self._sample(parts))

    def _sample(self, parts: Iterable[Part]) -> Sample:
        """Return the sample of some parts: the first image, all texts, the first JSON object."""
        sample, kinds = Sample(), set()
        for part in parts:
            if part.kind == "text":
                sample.texts.append((part.source, part.value))
            elif part.kind in kinds:
                self._notes["unused_member"] += 1
            elif part.kind == "image":
                sample.image = part.member
            else:
                sample.columns = part.value
            kinds.add(part.kind)
        return sample
