"""Samples and seen pairs of each language, and the number of pairs to see that follows from the share of English."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from curation.errors import UsageError
from curation.io.storage import Storage
from training.config import TrainConfig
from training.data.shard_index import SCAN_THREADS, ShardIndex
from training.data.shard_reader import ShardReader
from training.distributed import World

ENGLISH = "en"


def count_languages(index: ShardIndex, storage: Storage) -> Counter[str]:
    """Return the number of samples of each language, the most frequent first; it reads no images.

    Raises InputError if a file cannot be read.
    """
    reader = ShardReader(index, storage)

    def count(group: int) -> Counter[str]:
        values, counts = reader.languages(group).value_counts().flatten()
        return Counter(dict(zip(values.to_pylist(), counts.to_pylist(), strict=True)))

    total: Counter[str] = Counter()
    with ThreadPoolExecutor(SCAN_THREADS) as pool:
        for counts in pool.map(count, np.flatnonzero(index.counts).tolist()):
            total.update(counts)
    return Counter(dict(total.most_common()))


class SeenLanguages:
    """Counts the pairs that all ranks have trained on, by the language of their text.

    Args:
        world: the ranks.
        before: the numbers of pairs that earlier runs trained on.

    Attributes:
        total: number of pairs of each language up to the last `exchange`.
    """

    def __init__(self, world: World, before: Mapping[str, int]) -> None:
        self._world, self.total = world, Counter(before)
        self._since: Counter[str] = Counter()  # on this rank, since the last exchange

    def add(self, languages: Mapping[str, int]) -> None:
        """Count the pairs of this rank's part of a step."""
        self._since.update(languages)

    def exchange(self) -> dict[str, float]:
        """Add up the counts of all ranks, and return the share of each language, the most frequent first.

        All ranks must call this together.
        """
        for counts in self._world.all_gather(lambda: self._since):
            self.total.update(counts)
        self._since = Counter()
        sum_of_all = max(1, self.total.total())
        return {f"seen_share/{language}": count / sum_of_all for language, count in self.total.most_common()}


def with_seen_pairs(config: TrainConfig, counts: Counter[str]) -> TrainConfig:
    """Return the configuration with `seen_pairs` set so that `seen_english_pairs` of them are English.

    The pairs to see are scaled by 1 / share of English (Meta CLIP 2, arXiv 2507.22062), so adding languages does not
    take English pairs away. Raises UsageError if there is no English pair.
    """
    assert config.seen_english_pairs is not None, "called only with this key"
    if not counts[ENGLISH]:
        raise UsageError("seen_english_pairs: the shards have no English pair: set seen_pairs or steps")
    return config.model_copy(update={"seen_pairs": -(-config.seen_english_pairs * counts.total() // counts[ENGLISH])})
