"""Looks pictures up among others: by their bytes, then by their perceptual hash."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curation.dedup.near_duplicates import find_stored
from curation.dedup.picture_hashes import embedding_hashes, perceptual_hashes, sha256_words

HASH_NAMES: Final = ("sha256", "phash", "embedding")
SHA256, PHASH, EMBEDDING = range(len(HASH_NAMES))
MATCHES = pa.schema(
    [
        ("row", pa.int32()),  # of the picture that was looked up
        ("hash", pa.int8()),  # that matches, numbered as in HASH_NAMES
        ("distance", pa.int32()),
        ("name", pa.string()),  # of the picture that was found
    ]
)


def find_matches(
    pictures: pa.Table, stored: pa.Table, *, exact: bool, radius: int | None, embedding_radius: int | None = None
) -> pa.Table:
    """Return at most one match (schema `MATCHES`) per picture, in the order of the pictures.

    It is the first stored picture with the same SHA-256; or else the first of those whose perceptual hash is nearest
    and within the radius; or else of those whose embedding has the nearest hash.

    Args:
        pictures: hashes of the pictures that are looked up (schema `HASHES`).
        stored: hashes of the others.
        exact: whether to compare the SHA-256.
        radius: bits in which perceptual hashes may differ; None to not compare them.
        embedding_radius: the same for the hashes of embeddings of the pictures that have them.
    """
    none = np.full(len(pictures), -1, np.int64)
    same = _find_same(sha256_words(pictures), sha256_words(stored)) if exact else none
    near, distances = none, np.zeros(len(pictures), np.int32)
    if radius is not None:
        found = find_stored(perceptual_hashes(pictures), perceptual_hashes(stored), radius)
        near, distances = found.rows.astype(np.int64), found.distances
    hashes = np.full(len(pictures), PHASH, np.int8)
    if embedding_radius is not None:
        similar, bits = _find_similar(pictures, stored, embedding_radius)
        is_near = near >= 0
        hashes[~is_near] = EMBEDDING
        near, distances = np.where(is_near, near, similar), np.where(is_near, distances, bits)
    is_exact = same >= 0
    rows = np.flatnonzero(is_exact | (near >= 0))
    columns = [
        pa.array(rows, pa.int32()),
        pa.array(np.where(is_exact, SHA256, hashes)[rows], pa.int8()),
        pa.array(np.where(is_exact, 0, distances)[rows], pa.int32()),
        stored["name"].take(pa.array(np.where(is_exact, same, near)[rows])),
    ]
    return pa.Table.from_arrays(columns, schema=MATCHES)


def best_matches(parts: Iterable[pa.Table]) -> pa.Table:
    """Return one match per row: an exact one, or else the nearest; of equal ones that of the first part."""
    table = pa.concat_tables([MATCHES.empty_table(), *parts])
    rows, hashes, distances = (table[name].to_numpy() for name in ("row", "hash", "distance"))
    order = np.lexsort((distances, hashes != SHA256, rows))  # stable: equal ones stay in the order of the parts
    is_first = np.diff(rows[order], prepend=-1) > 0
    return table.take(pa.array(order[is_first]))


def matches_of_removed(pictures: pa.Table, removed: pa.Table) -> pa.Table:
    """Return the matches (schema `MATCHES`) of pictures that rows of the table `duplicates` record."""
    rows = pc.index_in(removed["image_id"], pictures["name"].combine_chunks())
    hashes = pc.index_in(removed["hash"], pa.array(HASH_NAMES)).cast(pa.int8())
    table = pa.Table.from_arrays([rows, hashes, removed["distance"], removed["duplicate_of"]], schema=MATCHES)
    return table.filter(rows.is_valid()).sort_by("row")


def _find_similar(
    pictures: pa.Table, stored: pa.Table, radius: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """Return by picture the stored row with the nearest embedding hash within the radius (-1 for none), and bits."""
    rows, bits = np.full(len(pictures), -1, np.int64), np.zeros(len(pictures), np.int32)
    (own, hashes), (others, other_hashes) = embedding_hashes(pictures), embedding_hashes(stored)
    if len(own) and len(others):
        found = find_stored(hashes, other_hashes, radius)
        rows[own] = np.where(found.rows >= 0, others[found.rows], -1)
        bits[own] = found.distances
    return rows, bits


def _find_same(digests: npt.NDArray[np.uint64], stored: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """Return the first stored row with the same digest, -1 for none.

    The first words are looked up, then all are compared. Different digests with the same first word, which are not
    expected among fewer than 10^9 pictures, could hide a match, never make one.
    """
    rows = find_stored(digests[:, 0], stored[:, 0], 0).rows.astype(np.int64)
    found = np.flatnonzero(rows >= 0)
    differs = (digests[found] != stored[rows[found]]).any(axis=1)
    rows[found[differs]] = -1
    return rows
