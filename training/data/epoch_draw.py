"""The pairs of an epoch, drawn from shards of every matched pair by the draw that balance makes once.

Shards with `balance.selection: all` hold every matched image, and each of its matched texts with its keep probability
under the published thresholds. At every epoch one text an image is chosen and the pair drawn, by the functions of
`curation.balance.sampling` with the epoch in their key. Every rank scans some of the files, of which it reads ids,
texts and probabilities but no image, and sends the others one bit a row. So all ranks train on the same pairs in the
same number of steps, and the draw of an epoch that is resumed is the one it began with.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from curation.balance.sampling import DrawKey
from curation.errors import UsageError
from curation.io.storage import Storage
from training.data.shard_index import SCAN_THREADS, Bits, ShardIndex
from training.data.shard_reader import ShardReader
from training.distributed import World

log = logging.getLogger(__name__)


def draw_epoch(index: ShardIndex, storage: Storage, key: DrawKey, world: World, *, batch_size: int) -> ShardIndex:
    """Return the samples that `key` draws from an index of every matched pair, the same on every rank.

    Every rank calls this. Raises InputError when a file cannot be read or holds nothing to draw from, UsageError when
    the draw does not fill one batch.
    """
    parts = world.all_gather(lambda: _scan(index, storage, key, range(world.rank, len(index.files), world.size)))
    drawn: Mapping[int, Bits] = {group: bits for part in parts for group, bits in part.items()}
    bits = [drawn[group] for group in range(len(index.counts))]
    counts = np.array([np.bitwise_count(part).sum() for part in bits], np.int64)
    epoch = replace(index, bits=np.concatenate(bits), counts=counts, key=key)
    log.info("epoch %s: %d pairs drawn from %d matched images", key.epoch, epoch.samples, index.samples)
    if epoch.samples < batch_size:
        raise UsageError(
            f"batch_size: {batch_size} is more than the {epoch.samples} pairs that epoch {key.epoch} draws from "
            f"{index.samples} matched images"
        )
    return epoch


def _scan(index: ShardIndex, storage: Storage, key: DrawKey, files: range) -> dict[int, Bits]:
    """Return, for each row group of some files, one bit a row: set for drawn samples."""
    reader = ShardReader(index, storage)

    def scan(group: int) -> tuple[int, Bits]:
        rows, drawn = index.rows(group), np.zeros(int(index.group_rows[group]), bool)
        if len(rows):
            mask, _ = reader.draw(group, key)
            drawn[rows] = mask
        return group, np.packbits(drawn)

    mine = np.flatnonzero(np.isin(index.group_file, files))
    with ThreadPoolExecutor(SCAN_THREADS) as pool:
        return dict(pool.map(scan, mine.tolist()))
