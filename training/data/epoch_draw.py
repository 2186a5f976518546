"""Sample the pairs of an epoch from shards of every matched pair, as balance does once for published pairs.

Shards with `balance.selection: all` hold every matched image, and each of its matched texts with its keep probability
under the published thresholds. Every epoch chooses one text per image and then draws the pair, with the functions of
`curation.balance.sampling` and the epoch in their key. Each rank scans a share of the files. It reads ids, texts and
probabilities, but no images, and sends one bit per row to the other ranks. All ranks therefore train on the same pairs
and run the same number of steps, and a resumed epoch continues with its original draw.
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
    """Return an index of the samples that `key` draws from every matched pair; it is the same on every rank.

    All ranks must call this together. Raises InputError if a file cannot be read or has no texts or probabilities to
    draw from, UsageError if the draw does not fill one batch.
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
    """Return, for each row group of some files, one bit per row, set for drawn samples."""
    reader = ShardReader(index, storage)

    def scan(group: int) -> tuple[int, Bits]:
        rows, drawn = index.rows(group), np.zeros(int(index.group_rows[group]), bool)
        if len(rows):
            mask, _ = reader.draw(group, key)
            drawn[rows] = mask
        return group, np.packbits(drawn)

    groups = np.flatnonzero(np.isin(index.group_file, files))
    with ThreadPoolExecutor(SCAN_THREADS) as pool:
        return dict(pool.map(scan, groups.tolist()))
