"""Images that must no longer be used: takedowns, late duplicates, decontamination.

A row of the table `tombstones` names an image id or a host, with a reason and a date. Match, balance, fetch_images and
the trainer skip rows with a tombstone, in all later batches too. The row of an image also has its URL, if known,
because the id of a URL changes with the URL algorithm; `rekey` then adds a row with the new id.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation.io.storage import Storage
from curation.lake.lake import Lake
from curation.lake.schemas import SCHEMAS
from curation.urls import UrlError, host, image_id, normalize_host, normalize_url


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
    def names(self) -> list[str]:
        """The images and hosts as strings: `id|…` and `host|…`, each kind sorted."""
        return [*(f"id|{name}" for name in sorted(self.image_ids)), *(f"host|{name}" for name in sorted(self.hosts))]

    @property
    def digest(self) -> str:
        """Hash of the set, part of the fingerprint of the stages that apply it."""
        return hashlib.sha256("\n".join(self.names).encode()).hexdigest()[:16]

    def without(self, names: Collection[str]) -> Tombstones:
        """Return the set without some of its `names`."""
        ids = frozenset(name for name in self.image_ids if f"id|{name}" not in names)
        return Tombstones(ids, frozenset(name for name in self.hosts if f"host|{name}" not in names))

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


def add_tombstones(
    lake: Lake,
    *,
    image_ids: Sequence[str] = (),
    image_urls: Sequence[str] = (),
    hosts: Sequence[str] = (),
    reason: str,
    day: date | None = None,
) -> None:
    """Add tombstones, dated today by default, of images by id or URL and of hosts. Raises UrlError for a bad one."""
    urls = [normalize_url(url, None) for url in image_urls]
    rows = [
        *({"image_id": name} for name in image_ids),
        *({"image_id": image_id(url), "image_url": url} for url in urls),
        *({"host": normalize_host(name)} for name in hosts),
    ]
    day = day or datetime.now(UTC).date()
    _append(lake, [{**row, "reason": reason, "date": day} for row in rows])


def rekey(lake: Lake, pairs: Iterable[str]) -> int:
    """Add a tombstone with the present id for every image whose id comes from another URL algorithm.

    A tombstone without a URL gets it from the files `pairs`, by its id. Existing rows stay, because partitions with
    their ids may still be in use. Repeating the call adds nothing. Returns how many rows were added.
    """
    rows = [row for row in lake.rows("tombstones").to_pylist() if row["image_id"]]
    known = {row["image_id"]: row["image_url"] for row in rows if row["image_url"]}
    unknown = {row["image_id"] for row in rows} - known.keys()
    known |= _urls_of(lake.storage, pairs, unknown)
    rekeyed = {name: _present_id(url) for name, url in known.items()}
    done = {row["image_id"] for row in rows if row["image_url"]}
    new = {}
    for row in rows:
        present = rekeyed.get(row["image_id"])
        if present and present not in done:
            url = normalize_url(known[row["image_id"]], None)
            new[present] = {**row, "image_id": present, "image_url": url}
    if new:
        _append(lake, list(new.values()))
    return len(new)


def _append(lake: Lake, rows: Sequence[Mapping[str, object]]) -> None:
    lake.append("tombstones", pa.Table.from_pylist(list(rows), schema=SCHEMAS["tombstones"]))


def _present_id(url: str) -> str | None:
    """Return the id that a stored URL has now; None if it is not a URL any more, so that no image can have it."""
    try:
        return image_id(normalize_url(url, None))
    except UrlError:
        return None


def _urls_of(storage: Storage, pairs: Iterable[str], image_ids: set[str]) -> dict[str, str]:
    """Return the URLs of images in files of pairs."""
    urls: dict[str, str] = {}
    sought = sorted(image_ids)
    for path in pairs if sought else ():
        with storage.open_input(path) as source:
            found = pq.read_table(
                source, columns=["image_id", "image_url"], filters=[("image_id", "in", sought)], partitioning=None
            )
        urls |= {row["image_id"]: row["image_url"] for row in found.to_pylist() if row["image_url"]}
    return urls
