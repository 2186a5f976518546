"""Sample the pairs of an epoch from shards of every matched pair, as balance does once for published pairs.

Shards with `balance.selection: all` hold every matched image, and each of its matched texts with its keep probability
under the published thresholds. Every epoch chooses one text per image and then draws the pair, with the functions of
`curation.balance.sampling` and the epoch in their key. Each rank scans a share of the files. It reads ids, texts,
languages and probabilities, but no images, and sends one bit per row to the other ranks, and the languages if they are
needed. All ranks therefore train on the same pairs and run the same number of steps, and a resumed epoch continues with
its original draw.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.balance.sampling import DrawKey
from curation.io.storage import Storage
from training.data.row_languages import RowLanguages
from training.data.shard_index import SCAN_THREADS, Bits, ShardIndex
from training.data.shard_reader import ShardReader
from training.distributed import World

log = logging.getLogger(__name__)


class _Drawn(NamedTuple):
    """The draw of a row group: one bit per row, set for drawn samples, and the languages of the chosen texts."""

    bits: Bits
    languages: pa.Array | None


def draw_epoch(
    index: ShardIndex,
    storage: Storage,
    key: DrawKey,
    world: World,
    *,
    languages: Collection[str] | None = None,
    read_languages: bool = False,
) -> ShardIndex:
    """Return an index of the samples that `key` draws from every matched pair; it is the same on every rank.

    All ranks must call this together.

    Args:
        index: every matched pair.
        storage: access to the files.
        key: key of the draw.
        world: the ranks.
        languages: languages of the samples; None: all.
        read_languages: whether the index has the languages of the rows.

    Raises InputError if a file cannot be read or has no texts or probabilities to draw from.
    """
    scan = _Scan(ShardReader(index, storage), key, languages, read_languages=read_languages)
    parts = world.all_gather(lambda: scan.files(range(world.rank, len(index.files), world.size)))
    drawn: Mapping[int, _Drawn] = {group: of_group for part in parts for group, of_group in part.items()}
    groups = [drawn[group] for group in range(len(index.counts))]
    counts = np.array([np.bitwise_count(group.bits).sum() for group in groups], np.int64)
    bits = np.concatenate([group.bits for group in groups])
    of_rows = RowLanguages.of([group.languages for group in groups if group.languages is not None])
    epoch = replace(index, bits=bits, counts=counts, key=key, languages=of_rows if read_languages else None)
    log.info("epoch %s: %d pairs drawn from %d matched images", key.epoch, epoch.samples, index.samples)
    return epoch


class _Scan:
    """Draws from row groups."""

    def __init__(
        self, reader: ShardReader, key: DrawKey, languages: Collection[str] | None, *, read_languages: bool
    ) -> None:
        self._reader, self._index, self._key, self._read_languages = reader, reader.index, key, read_languages
        self._languages = None if languages is None else pa.array(sorted(languages), pa.string())

    def files(self, files: range) -> dict[int, _Drawn]:
        """Return the draws of the row groups of some files."""
        groups = np.flatnonzero(np.isin(self._index.group_file, files)).tolist()
        with ThreadPoolExecutor(SCAN_THREADS) as pool:
            return dict(zip(groups, pool.map(self._group, groups), strict=True))

    def _group(self, group: int) -> _Drawn:
        rows, kept = self._index.rows(group), np.zeros(int(self._index.group_rows[group]), bool)
        languages = np.full(len(kept), "", object)
        if len(rows):
            drawn = self._reader.draw(group, self._key)
            kept[rows] = drawn.kept
            if self._languages is not None:
                kept[rows] &= pc.is_in(drawn.languages, self._languages).to_numpy(zero_copy_only=False)
            if self._read_languages:
                languages[rows] = drawn.languages.to_numpy(zero_copy_only=False)
        codes = pa.array(languages, pa.string()).dictionary_encode() if self._read_languages else None
        return _Drawn(np.packbits(kept), codes)
