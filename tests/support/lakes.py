"""What a lake contains, without names and times."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from curation.lake.lake import Lake

TABLES = ("pairs", "matches", "counts", "totals", "thresholds", "curated", "images", "shards")


def digests(lake: Lake, tables: Sequence[str] = TABLES) -> dict[str, list[str]]:
    """The SHA-256 of every file, in row order; names, times and run ids aside."""
    return {
        name: [hashlib.sha256(Path(file.path).read_bytes()).hexdigest() for file in lake.snapshot(name).files]
        for name in tables
    }
