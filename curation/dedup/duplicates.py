"""Chooses which pictures of a batch are removed as benchmark pictures or duplicates, and of which each is a duplicate.

A picture is removed if it is one of a list, or if one that is kept has the same bytes (exact) or a similar perceptual
hash (near). Pictures of earlier batches come first; those of the batch follow in the order of preference: most pixels,
then the smallest image_id. So every picture is a duplicate of one that is kept, not of one that is removed itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curation.dedup.hash_search import Hashes
from curation.dedup.matches import HASH_NAMES, PHASH, SHA256
from curation.dedup.near_duplicates import find_duplicates
from curation.dedup.picture_hashes import perceptual_hashes, sha256_words
from curation.lake.schemas import SCHEMAS

Reason: TypeAlias = Literal["benchmark", "exact", "near"]
KEPT: Final = 0
REASONS: Final[tuple[Reason, ...]] = ("benchmark", "exact", "near")  # numbered from 1
DROP_REASONS: Final = {
    "benchmark": "benchmark_image",
    "exact": "duplicate_exact",
    "near": "duplicate_near",
}  # of shards
BENCHMARK, EXACT, NEAR = (REASONS.index(reason) + 1 for reason in REASONS)


def choose_duplicates(
    pictures: pa.Table, listed: pa.Table, earlier: pa.Table, *, exact: bool, radius: int | None
) -> pa.Table:
    """Return the removed pictures of a batch (schema of the table `duplicates`), in the order of the pictures.

    Args:
        pictures: hashes of the batch's pictures (schema `HASHES`).
        listed: their matches in hash lists (schema `MATCHES`), at most one per picture.
        earlier: their matches among the kept pictures of earlier batches.
        exact: whether pictures with the same bytes are duplicates.
        radius: bits in which perceptual hashes of near-duplicates may differ; None for no near-duplicates.
    """
    choice = _Choice.of(pictures)
    names = pa.chunked_array([*pictures["name"].chunks, *listed["name"].chunks, *earlier["name"].chunks], pa.string())
    is_exact = earlier["hash"].to_numpy() == SHA256
    first_earlier = len(pictures) + len(listed)
    choice.remove_matches(BENCHMARK, listed, np.ones(len(listed), np.bool_), len(pictures))
    choice.remove_matches(EXACT, earlier, is_exact, first_earlier)
    if exact:
        choice.remove_equal(sha256_words(pictures))
    choice.remove_matches(NEAR, earlier, ~is_exact, first_earlier)
    if radius is not None:
        choice.remove_near(perceptual_hashes(pictures), radius)
    choice.follow_originals()
    return choice.table(names)


@dataclass(frozen=True)
class _Choice:
    """The state of the choice.

    Attributes:
        order: the rows of the pictures in the order of preference.
        reasons: by row, the number of the reason, or KEPT.
        originals: by row, which picture it duplicates: its row, or a higher number for one of a list or earlier batch.
        distances: by row, the bits in which the hashes differ.
        hashes: by row, the number in `HASH_NAMES` of the hash that matches.
    """

    order: npt.NDArray[np.int64]
    reasons: npt.NDArray[np.int8]
    originals: npt.NDArray[np.int64]
    distances: npt.NDArray[np.int32]
    hashes: npt.NDArray[np.int8]

    @classmethod
    def of(cls, pictures: pa.Table) -> _Choice:
        """Return the state in which every picture is kept."""
        count = len(pictures)
        by_name = pc.sort_indices(pictures["name"]).to_numpy().astype(np.int64)
        order = by_name[np.argsort(-pictures["pixels"].to_numpy()[by_name], kind="stable")]
        reasons, originals = np.full(count, KEPT, np.int8), np.full(count, -1, np.int64)
        return cls(order, reasons, originals, np.zeros(count, np.int32), np.zeros(count, np.int8))

    def remove_matches(self, reason: int, matches: pa.Table, mask: npt.NDArray[np.bool_], offset: int) -> None:
        """Remove the kept pictures that have one of the matches in the mask; these are numbered from `offset`."""
        rows = matches["row"].to_numpy()
        chosen = np.flatnonzero(mask & (self.reasons[rows] == KEPT))
        distances, hashes = (matches[name].to_numpy()[chosen] for name in ("distance", "hash"))
        self._remove(reason, rows[chosen], offset + chosen, distances, hashes)

    def remove_equal(self, digests: npt.NDArray[np.uint64]) -> None:
        """Remove each kept picture whose bytes are those of one before it."""
        rows = self._kept()
        first = find_duplicates(digests[rows, 0], 0).rows
        found = np.flatnonzero(first >= 0)
        originals = rows[first[found]]
        same = (digests[rows[found]] == digests[originals]).all(axis=1)
        self._remove(EXACT, rows[found[same]], originals[same], 0, SHA256)

    def remove_near(self, hashes: Hashes, radius: int) -> None:
        """Remove each kept picture whose perceptual hash is within the radius of one that is kept before it."""
        rows = self._kept()
        nearest = find_duplicates(hashes[rows], radius)
        found = np.flatnonzero(nearest.rows >= 0)
        self._remove(NEAR, rows[found], rows[nearest.rows[found]], nearest.distances[found], PHASH)

    def follow_originals(self) -> None:
        """Let the exact duplicates of a picture that is a near-duplicate itself be near-duplicates of its original."""
        rows = np.flatnonzero((self.reasons == EXACT) & (self.originals < len(self.reasons)))
        rows = rows[self.reasons[self.originals[rows]] == NEAR]
        originals = self.originals[rows]
        self._remove(NEAR, rows, self.originals[originals], self.distances[originals], self.hashes[originals])

    def table(self, names: pa.ChunkedArray) -> pa.Table:
        """Return the removed pictures; `names` are those of all numbers."""
        rows = np.flatnonzero(self.reasons != KEPT)
        reasons = pa.DictionaryArray.from_arrays(pa.array(self.reasons[rows] - 1), pa.array(REASONS, pa.string()))
        columns = [
            names.take(pa.array(rows)),
            reasons.cast(pa.string()),
            names.take(pa.array(self.originals[rows])),
            pa.array(self.distances[rows]),
            pa.DictionaryArray.from_arrays(pa.array(self.hashes[rows]), pa.array(HASH_NAMES)).cast(pa.string()),
        ]
        return pa.Table.from_arrays(columns, schema=SCHEMAS["duplicates"])

    def _kept(self) -> npt.NDArray[np.int64]:
        """Return the rows of the kept pictures in the order of preference."""
        rows: npt.NDArray[np.int64] = self.order[self.reasons[self.order] == KEPT]
        return rows

    def _remove(
        self,
        reason: int,
        rows: npt.NDArray[Any],
        originals: npt.NDArray[np.int64],
        distances: npt.NDArray[np.int32] | int,
        hashes: npt.NDArray[np.int8] | int,
    ) -> None:
        self.reasons[rows], self.originals[rows] = reason, originals
        self.distances[rows], self.hashes[rows] = distances, hashes
