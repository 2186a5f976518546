"""Keys that tell which rows of a batch belong together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from curation.hashing import u64


@dataclass(frozen=True)
class KeyTransform:
    """Reads the key of a row: equal values of a column have equal keys.

    Attributes:
        column: a column of the shards.
    """

    column: Literal["image_id", "text"]

    def key(self, value: str) -> int:
        """Return the key of a value, as an int64; two different values have equal keys with a chance of 2^-64."""
        return u64(0, "view-key", value) - (1 << 63)
