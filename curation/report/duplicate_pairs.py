"""The examples of duplicates on the page of a batch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PairedPicture:
    """A picture of a pair: its URL or reference, or else its id, and a thumbnail as a `data:` URI, or nothing."""

    name: str
    source: str = ""


@dataclass(frozen=True)
class DuplicatePair:
    """A removed picture and the kept one that it duplicates.

    Attributes:
        reason: why it was removed: exact, near or benchmark.
        distance: bits in which their perceptual hashes differ.
        removed: the removed picture.
        kept: the kept one, of this batch or an earlier one, or a picture of a hash list.
    """

    reason: str
    distance: int
    removed: PairedPicture
    kept: PairedPicture
