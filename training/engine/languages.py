"""How many samples each language has, and the number of pairs to see that follows from the share of English."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa

from curation.errors import UsageError
from curation.io.storage import Storage
from training.config import TrainConfig
from training.data.shard_index import SCAN_THREADS, ShardIndex
from training.data.shard_reader import ShardReader

ENGLISH = "en"


def count_languages(index: ShardIndex, storage: Storage) -> Counter[str]:
    """Return the number of samples of each language, the most frequent first; it reads only the column `lang`."""
    reader = ShardReader(index, storage)

    def count(group: int) -> Counter[str]:
        languages = reader.read(group, ("lang",))["lang"].take(pa.array(index.rows(group)))
        values, counts = languages.value_counts().flatten()
        return Counter(dict(zip(values.to_pylist(), counts.to_pylist(), strict=True)))

    total: Counter[str] = Counter()
    with ThreadPoolExecutor(SCAN_THREADS) as pool:
        for counts in pool.map(count, np.flatnonzero(index.counts).tolist()):
            total.update(counts)
    return Counter(dict(total.most_common()))


def with_seen_pairs(config: TrainConfig, counts: Counter[str]) -> TrainConfig:
    """Return the configuration with `seen_pairs` set so that `seen_english_pairs` of them are English.

    The pairs to see are scaled by 1 / share of English (Meta CLIP 2, arXiv 2507.22062), so adding languages does not
    take English pairs away. Raises UsageError if there is no English pair.
    """
    assert config.seen_english_pairs is not None, "called only with this key"
    if not counts[ENGLISH]:
        raise UsageError("seen_english_pairs: the shards have no English pair: set seen_pairs or steps")
    return config.model_copy(update={"seen_pairs": -(-config.seen_english_pairs * counts.total() // counts[ENGLISH])})
