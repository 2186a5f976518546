"""Images that must no longer be used: takedowns, late duplicates, decontamination.

A row of the table `tombstones` names an image id or a host, with a reason and a date. Match, balance, fetch_images and
the trainer skip rows with a tombstone, in all later batches too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.lake.lake import Lake
from curation.lake.schemas import SCHEMAS
from curation.urls import host


@dataclass(frozen=True)
class Tombstones:
    """The set of image ids and hosts to skip."""

    image_ids: frozenset[str]
    hosts: frozenset[str]

    @classmethod
    def read(cls, lake: Lake) -> Tombstones:
        """Read the lake's tombstones."""
        rows = lake.rows("tombstones")
        ids, hosts = (frozenset(rows[key].drop_null().to_pylist()) for key in ("image_id", "host"))
        return cls(ids, hosts)

    @property
    def digest(self) -> str:
        """Hash of the set, part of the fingerprint of the stages that apply it."""
        names = [
            *(f"id|{name}" for name in sorted(self.image_ids)),
            *(f"host|{name}" for name in sorted(self.hosts)),
        ]
        return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]

    def keep_mask(self, images: pa.Table | pa.RecordBatch) -> pa.BooleanArray:
        """Return which rows, given their image_id and image_url, may still be used."""
        keep = np.ones(images.num_rows, dtype=bool)
        if self.image_ids:
            removed = pc.is_in(images["image_id"], pa.array(sorted(self.image_ids), pa.string()))
            keep &= ~removed.to_numpy(zero_copy_only=False) if isinstance(removed, pa.Array) else ~removed.to_numpy()
        if self.hosts:
            hosts = (host(url or "") for url in images["image_url"].to_pylist())
            keep &= np.fromiter((name not in self.hosts for name in hosts), bool, images.num_rows)
        return pa.array(keep)


def add_tombstones(lake: Lake, *, image_ids: Sequence[str] = (), hosts: Sequence[str] = (), reason: str) -> None:
    """Add tombstones dated today."""
    today = datetime.now(UTC).date()
    rows = [{"image_id": name, "host": None, "reason": reason, "date": today} for name in image_ids]
    rows += [{"image_id": None, "host": name.lower(), "reason": reason, "date": today} for name in hosts]
    lake.append("tombstones", pa.Table.from_pylist(rows, schema=SCHEMAS["tombstones"]))
