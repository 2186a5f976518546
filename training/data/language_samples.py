"""The samples of one language of an index, and the tokens that occur in them."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pyarrow as pa

from curation.io.storage import Storage
from training.data.shard_index import ShardIndex
from training.data.shard_reader import ShardReader
from training.data.tokenizer import Tokenizer


def of_language(index: ShardIndex, language: str) -> ShardIndex:
    """Return the index of the samples of a language; `index` must have the languages of its rows."""
    assert index.languages is not None, "read with `read_languages`"
    names = index.languages.names
    code = names.index(language) if language in names else len(names)
    return index.only([index.language_codes(group) == code for group in range(len(index.counts))])


def used_tokens(index: ShardIndex, storage: Storage, tokenizer: Tokenizer) -> list[int]:
    """Return the ids that occur in the published texts of samples, as training reads them, sorted.

    Raises DamagedLakeError if a file is missing or damaged.
    """
    used = np.zeros(tokenizer.vocab_size, bool)
    with closing(ShardReader(index, storage)) as reader:
        for group in np.flatnonzero(index.counts).tolist():
            texts = reader.read(group, ("text",))["text"].take(pa.array(index.rows(group)))
            used[tokenizer(texts.to_pylist()).numpy()] = True
    return [int(token) for token in np.flatnonzero(used)]
