"""Named steps between reading and grouping, which drop occurrences or change their texts.

A step processes a batch of occurrences at a time. It counts the dropped ones under a reason and notes the changed ones.
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

BATCH_SIZE = 1024  # occurrences


class Step(Protocol):
    """A step that maps a batch of occurrences to the remaining ones."""

    def __call__(self, batch: Sequence[Occurrence], counters: Counters) -> Sequence[Occurrence]:
        """Return the remaining occurrences of a batch, and count the others."""


def apply(occurrences: Iterator[Occurrence], steps: Sequence[Step], counters: Counters) -> Iterator[Occurrence]:
    """Yield the occurrences that remain after all steps, applied in order."""
    while batch := list(islice(occurrences, BATCH_SIZE)):
        remaining: Sequence[Occurrence] = batch
        for step in steps:
            remaining = step(remaining, counters)
        yield from remaining


@dataclass(frozen=True)
class Keep:
    """Keeps the occurrences that satisfy `predicate` and drops the others under `reason`."""

    reason: str
    predicate: Callable[[Occurrence], bool]

    def __call__(self, batch: Sequence[Occurrence], counters: Counters) -> Sequence[Occurrence]:
        """Return the occurrences that satisfy the predicate."""
        kept: list[Occurrence] = []
        dropped: list[Occurrence] = []
        for occurrence in batch:
            (kept if self.predicate(occurrence) else dropped).append(occurrence)
        drop(counters, self.reason, dropped)
        return kept


@dataclass(frozen=True)
class Rewrite:
    """Changes texts and notes under `name` how many; a text that becomes empty is dropped (`empty_text`)."""

    name: str
    change: Callable[[str], str]

    def __call__(self, batch: Sequence[Occurrence], counters: Counters) -> Sequence[Occurrence]:
        """Return the occurrences with their new texts."""
        kept: list[Occurrence] = []
        dropped: list[Occurrence] = []
        for occurrence in batch:
            text = self.change(occurrence.text)
            if text == occurrence.text:
                kept.append(occurrence)
                continue
            counters.notes[self.name] += 1
            text = clean(text)
            (kept if text else dropped).append(replace(occurrence, text=text))
        drop(counters, "empty_text", dropped)
        return kept


@dataclass(frozen=True)
class Note:
    """Notes under `name` how many texts satisfy `predicate`, and keeps all."""

    name: str
    predicate: Callable[[str], bool]

    def __call__(self, batch: Sequence[Occurrence], counters: Counters) -> Sequence[Occurrence]:
        """Return the whole batch."""
        if count := sum(self.predicate(occurrence.text) for occurrence in batch):
            counters.notes[self.name] += count
        return batch


def drop(counters: Counters, reason: str, dropped: Sequence[Occurrence]) -> None:
    """Count dropped occurrences, with their image references as samples."""
    if dropped:
        counters.drop(reason, [occurrence.reference for occurrence in dropped])


def sample_of_images(share: float, seed: int) -> Keep:
    """Return a step that keeps a share of the images, by a hash of their ids; a larger share includes a smaller one."""
    return Keep("not_sampled", lambda o: uniform(u64(seed, "sample", image_id(o.reference))) < share)
