"""Make every random choice by a hash, BLAKE2b-64 of `seed|purpose|key…`, instead of a random generator.

Jobs and trainer share this implementation. A choice depends only on the seed, the purpose and the keys, never on
partitions, retries or the order of rows. `curation.jit.hash_columns` hashes whole columns.
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
import numpy.typing as npt


def u64(seed: int, purpose: str, *keys: str) -> int:
    """Return the unsigned 64-bit hash (big-endian digest) of `seed|purpose|key…` in UTF-8."""
    text = "|".join((str(seed), purpose, *keys))
    return int.from_bytes(blake2b(text.encode("utf-8"), digest_size=8).digest(), "big")


def uniform(hashed: int) -> float:
    """Return a 64-bit hash mapped to [0, 1): its upper 53 bits over 2^53, exact in float64."""
    return (hashed >> 11) / (1 << 53)


def uniform_column(hashed: npt.NDArray[np.uint64]) -> npt.NDArray[np.float64]:
    """Return a column of 64-bit hashes mapped to [0, 1), as `uniform` does."""
    return (hashed >> np.uint64(11)).astype(np.float64) / (1 << 53)


def text_hash(seed: int, image_id: str, text: str) -> int:
    """Return the rank of a text among the texts of an image: the smallest ones are kept, the smallest is chosen."""
    return u64(seed, "text", image_id, text)


def draw(seed: int, image_id: str, text: str) -> float:
    """Return u in [0, 1) for sampling: the pair is kept if u < keep probability."""
    return uniform(u64(seed, "draw", image_id, text))


def order_hash(seed: int, image_id: str) -> int:
    """Return the rank of a pair in the order of `curated` and `shards`."""
    return u64(seed, "order", image_id)
