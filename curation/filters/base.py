"""Named steps between reading and grouping: each may change a text or drop an occurrence, and counts what it did.

A step looks at a batch of occurrences at a time. What it drops is counted under a reason, what it changes is noted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from msgspec.structs import replace

from curation.hashing import u64, uniform
from curation.occurrence import Counters, Occurrence
from curation.text import clean
from curation.urls import image_id

AT_ONCE = 1024


class Step(Protocol):
    """One step."""

    def __call__(self, batch: Sequence[Occurrence], counters: Counters) -> Sequence[Occurrence]:
        """Return what is left of a batch, and book the rest."""


def apply(occurrences: Iterator[Occurrence], steps: Sequence[Step], counters: Counters) -> Iterator[Occurrence]:
    """Yield what all steps, in their order, leave of the occurrences."""
    while batch := list(islice(occurrences, AT_ONCE)):
        left: Sequence[Occurrence] = batch
        for step in steps:
            left = step(left, counters)
        yield from left


@dataclass(frozen=True)
class Keep:
    """Drops occurrences under `reason` unless `wanted` says otherwise."""

    reason: str
    wanted: Callable[[Occurrence], bool]

    def __call__(self, batch: Sequence[Occurrence], counters: Counters) -> Sequence[Occurrence]:
        """Return the wanted ones."""
        left: list[Occurrence] = []
        gone: list[Occurrence] = []
        for occurrence in batch:
            (left if self.wanted(occurrence) else gone).append(occurrence)
        drop(counters, self.reason, gone)
        return left


@dataclass(frozen=True)
class Rewrite:
    """Changes texts, and notes under `name` how many; what nothing is left of is dropped as `empty_text`."""

    name: str
    change: Callable[[str], str]

    def __call__(self, batch: Sequence[Occurrence], counters: Counters) -> Sequence[Occurrence]:
        """Return the occurrences with their new texts."""
        left: list[Occurrence] = []
        gone: list[Occurrence] = []
        for occurrence in batch:
            text = self.change(occurrence.text)
            if text == occurrence.text:
                left.append(occurrence)
                continue
            counters.notes[self.name] += 1
            text = clean(text)
            (left if text else gone).append(replace(occurrence, text=text))
        drop(counters, "empty_text", gone)
        return left


@dataclass(frozen=True)
class Note:
    """Notes under `name` how many texts are so, and keeps all."""

    name: str
    is_so: Callable[[str], bool]

    def __call__(self, batch: Sequence[Occurrence], counters: Counters) -> Sequence[Occurrence]:
        """Return the batch."""
        if count := sum(self.is_so(occurrence.text) for occurrence in batch):
            counters.notes[self.name] += count
        return batch


def drop(counters: Counters, reason: str, gone: Sequence[Occurrence]) -> None:
    """Book dropped occurrences, with their image references as examples."""
    if gone:
        counters.drop(reason, [occurrence.reference for occurrence in gone])


def sample_of_images(share: float, seed: int) -> Keep:
    """Return a step that keeps a share of the images, by a hash of their ids: a larger share holds a smaller one."""
    return Keep("not_sampled", lambda o: uniform(u64(seed, "sample", image_id(o.reference))) < share)
