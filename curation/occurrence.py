"""Occurrences of a text with an image, the rows that ingest reads, and counters that account for each of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from curation.errors import OutputError

SAMPLES = 3  # image references shown per drop reason
SAMPLE_LENGTH = 200

if TYPE_CHECKING:
    Tally = Counter[str]
else:
    Tally = dict[str, int]  # the type msgspec decodes; `Counters` makes it a Counter


class Occurrence(Struct, frozen=True, gc=False):
    """One text seen with one image: a usable row of the input.

    `image_url` is normalized. `image_ref`, a path or `path#member-or-row`, names image bytes that need no download. One
    of the two may be null, and `page_url` is null if the page is unknown. `source` is the attribute or column of the
    text.
    """

    image_url: str | None
    page_url: str | None
    image_ref: str | None
    source: str
    text: str

    @property
    def reference(self) -> str:
        """The string that the image id is a hash of: the URL or, without one, the `image_ref`."""
        return self.image_url or self.image_ref or ""


@dataclass
class Counters:
    """Counts that account for every occurrence: `read = kept + duplicates + over_cap + dropped`, `drops` by reason.

    If an image keeps a text, one occurrence of it is kept and the others are duplicates. If the image does not keep it,
    all its occurrences are over the cap. With these definitions the sums do not depend on how the input was split.
    `notes` counts everything that is not an occurrence: pages, images, images without text, broken records. `samples`
    lists a few image references per reason, the smallest ones, so that they do not depend on the split either.

    Counters can be added, and so can differences between counters, whose counts may be negative. msgspec encodes them
    as a plain object and decodes the type `Counters`.
    """

    read: int = 0
    kept: int = 0
    duplicates: int = 0
    over_cap: int = 0
    drops: Tally = field(default_factory=Counter)
    notes: Tally = field(default_factory=Counter)
    samples: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.drops, self.notes = Counter(self.drops), Counter(self.notes)

    def drop(self, reason: str, references: Sequence[object]) -> None:
        """Count one dropped occurrence per image reference, and sample the smallest references."""
        if not references:
            return
        self.drops[reason] += len(references)
        self._sample(reason, references)

    def _sample(self, reason: str, references: Sequence[Any]) -> None:
        sampled = self.samples.get(reason, [])
        try:
            smallest = min(references)
        except TypeError:  # some are not strings
            references = [str(reference) for reference in references]
            smallest = min(references)
        if len(sampled) < SAMPLES or not isinstance(smallest, str) or smallest < sampled[-1]:  # soon a rare case
            new = {str(reference)[:SAMPLE_LENGTH] for reference in references}
            self.samples[reason] = sorted({*sampled, *new})[:SAMPLES]

    def __add__(self, other: Counters) -> Counters:
        drops, notes = self.drops.copy(), self.notes.copy()
        drops.update(other.drops)
        notes.update(other.notes)
        total = Counters(
            self.read + other.read,
            self.kept + other.kept,
            self.duplicates + other.duplicates,
            self.over_cap + other.over_cap,
            drops,
            notes,
            {reason: list(references) for reason, references in self.samples.items()},
        )
        for reason, references in other.samples.items():
            total._sample(reason, references)
        return total

    def check(self) -> None:
        """Raise OutputError unless the counts add up and none is negative."""
        parts = [self.kept, self.duplicates, self.over_cap, *self.drops.values()]
        if self.read != sum(parts) or min(parts) < 0:
            raise OutputError(
                f"counts do not add up: read {self.read}, kept {self.kept} + duplicates {self.duplicates}"
                f" + over the cap {self.over_cap} + dropped {dict(sorted(self.drops.items()))}"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the counters as plain data, with keys in a fixed order."""
        return {
            "read": self.read,
            "kept": self.kept,
            "duplicates": self.duplicates,
            "over_cap": self.over_cap,
            "drops": dict(sorted(self.drops.items())),
            "notes": dict(sorted(self.notes.items())),
            "samples": dict(sorted(self.samples.items())),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Counters:
        """Return the counters that `to_dict` wrote."""
        return cls(**data)
