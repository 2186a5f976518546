"""The texts that a new tokenizer is trained on: a sample of the shards, balanced over languages."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import pyarrow as pa

from curation.balance.sampling import DrawKey
from curation.io.storage import Storage
from training.data.sample_order import permutation
from training.data.shard_index import ShardIndex
from training.data.shard_reader import ShardReader

MAX_TEXTS = 1_000_000
MAX_REPEATS = 10  # a few texts that are repeated often would fill the vocabulary with their words

Labeled = tuple[str, str]  # language, text


def tokenizer_texts(index: ShardIndex, storage: Storage, key: DrawKey | None, *, alpha: float) -> Iterator[str]:
    """Return texts of the shards, balanced over languages; with a key, of the samples that it draws."""
    return balance(sample_texts(index, storage, key, limit=MAX_TEXTS), alpha)


def balance(texts: Sequence[Labeled], alpha: float) -> Iterator[str]:
    """Yield texts so that a language with n of N texts has a share proportional to n^alpha (arXiv 1911.02116, eq. 1).

    About N texts are yielded, in order. A text is left out or repeated, at most MAX_REPEATS times, evenly over the
    texts of its language.
    """
    counts = Counter(language for language, _ in texts)
    total = sum(count**alpha for count in counts.values())
    factors = {
        language: min(MAX_REPEATS, len(texts) * count ** (alpha - 1) / total) for language, count in counts.items()
    }
    owed: defaultdict[str, float] = defaultdict(float)
    for language, text in texts:
        owed[language] += factors[language]
        repeats = int(owed[language] + 1e-9)  # sums of a factor of 1 stay whole
        owed[language] -= repeats
        for _ in range(repeats):
            yield text


def sample_texts(index: ShardIndex, storage: Storage, key: DrawKey | None = None, *, limit: int) -> list[Labeled]:
    """Return language and text of `limit` samples, or of all, in file order; with a key, of those that it draws.

    Row groups are read in random order until there are enough texts. Rows of a batch are in hash order, so these are a
    random sample of all batches.
    """
    reader, texts_of, remaining = ShardReader(index, storage), {}, limit
    for group in permutation(len(index.counts), 0, "tokenizer", 0).tolist():
        if remaining > 0 and index.counts[group]:
            texts_of[group] = _labeled_texts(reader, index, group, key)[:remaining]
            remaining -= len(texts_of[group])
    return [text for group in sorted(texts_of) for text in texts_of[group]]


def _labeled_texts(reader: ShardReader, index: ShardIndex, group: int, key: DrawKey | None) -> list[Labeled]:
    if key is None:
        table = reader.read(group, ("lang", "text")).take(pa.array(index.rows(group)))
        return list(zip(table["lang"].to_pylist(), table["text"].to_pylist(), strict=True))
    kept, texts, languages = reader.draw(group, key)
    mask = pa.array(kept)
    return list(zip(languages.filter(mask).to_pylist(), texts.filter(mask).to_pylist(), strict=True))
