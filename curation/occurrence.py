"""What ingest reads: occurrences of a text with an image, and the books in which each is accounted for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from msgspec import Struct

from curation.errors import OutputError

SAMPLES = 3
SAMPLE_LENGTH = 200


class Occurrence(Struct, frozen=True, gc=False):
    """One text seen with one image: a usable row of the input.

    `image_url` is normalised; `image_ref`, a path or `path#member-or-row`, names bytes at hand. One of the two may be
    null, and `page_url` where no page is known. `source` is the attribute or column that held the text.
    """

    image_url: str | None
    page_url: str | None
    image_ref: str | None
    source: str
    text: str

    @property
    def reference(self) -> str:
        """What names the image, and gives it its id: the URL, or where there is none the `image_ref`."""
        return self.image_url or self.image_ref or ""


@dataclass
class Counters:
    """Where every occurrence went: `read = kept + duplicates + over_cap + dropped`, `drops` by reason.

    Duplicates are the further occurrences of a text that its image keeps; over the cap are all occurrences of a text
    that its image does not keep. So defined, the sums do not depend on how the input was split. `notes` counts what
    is no occurrence: pages, images, images without text, broken records. Books add up, and so do differences of
    books, whose figures may be negative. `samples` shows a few image references of each reason, the smallest, so that
    they do not depend on the split either.
    """

    read: int = 0
    kept: int = 0
    duplicates: int = 0
    over_cap: int = 0
    drops: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    samples: dict[str, list[str]] = field(default_factory=dict)

    def drop(self, reason: str, examples: Sequence[object]) -> None:
        """Count an occurrence dropped for a reason for each of these image references, and show the smallest."""
        if not examples:
            return
        self.drops[reason] += len(examples)
        self._show(reason, examples)

    def _show(self, reason: str, examples: Sequence[Any]) -> None:
        shown = self.samples.get(reason, [])
        try:
            smallest = min(examples)
        except TypeError:  # some are no strings
            examples = [str(example) for example in examples]
            smallest = min(examples)
        if len(shown) < SAMPLES or not isinstance(smallest, str) or smallest < shown[-1]:  # rarely, after a while
            self.samples[reason] = sorted({*shown, *(str(example)[:SAMPLE_LENGTH] for example in examples)})[:SAMPLES]

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
            {reason: list(shown) for reason, shown in self.samples.items()},
        )
        for reason, examples in other.samples.items():
            total._show(reason, examples)
        return total

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
            "samples": dict(sorted(self.samples.items())),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Counters:
        """Return the books that `to_dict` wrote."""
        return cls(**{**data, "drops": Counter(data["drops"]), "notes": Counter(data["notes"])})
