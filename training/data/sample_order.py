"""The order of the samples: a seeded function of the epoch, equal for any number of ranks and workers.

Samples are counted per row group. The order of an epoch is built in three steps:

1. The row groups are shuffled and concatenated. Their n samples are cut into `streams` parts of equal length.
2. Each stream is cut into windows of `window` samples, and each window is shuffled.
3. The streams are interleaved round-robin: position p of the epoch is sample p // streams of stream p mod streams. The
   remaining n mod streams samples come last.

Rank r of R loads the positions p with p mod R = r; its worker j of N loads those with (p // R) mod N = j. If R·N
divides `streams`, each worker reads whole streams: it reads its row groups one after another, each once, and holds the
row groups of one window per stream (about 100 MB per stream with the default window and row groups of 32 MiB). With
other numbers of ranks or workers the order is the same, but more row groups are read more than once.

A batch never crosses the end of an epoch. Positions that do not fill a batch are skipped; every epoch skips other
samples. No batch therefore holds a pair twice, which the contrastive loss would treat as a negative. The data state is
the epoch and the position where the next batch starts, so resuming is plain arithmetic, even with a different number of
ranks or workers.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from curation.hashing import u64

Integers = npt.NDArray[np.int64]


class DataState(NamedTuple):
    """The start of the next batch: an epoch and a position in [0, samples)."""

    epoch: int = 0
    position: int = 0

    def batch_start(self, batch_size: int, samples: int) -> DataState:
        """Return where the next batch starts: here, or in the next epoch if too few samples are left in this one."""
        return self if self.position + batch_size <= samples else DataState(self.epoch + 1, 0)

    def advance(self, batch_size: int) -> DataState:
        """Return the state after a batch that starts here."""
        return DataState(self.epoch, self.position + batch_size)


class SampleLocation(NamedTuple):
    """The location of a sample: the `row`-th sample of row group `group`.

    Attributes:
        stream: the stream that the sample belongs to.
        window: the window of that stream that the sample belongs to.
        is_late: whether the sample is in the last quarter of its window's order.
        group_index: index of the sample's row group in the epoch's shuffled sequence of row groups.
        group: number of the row group in the shard index.
        row: number of the sample in the row group.
    """

    stream: int
    window: int
    is_late: bool
    group_index: int
    group: int
    row: int


class SampleOrder(NamedTuple):
    """The parameters that, with the number of samples per row group, determine the order of every epoch."""

    seed: int = 0
    streams: int = 16
    window: int = 2048

    def epoch(self, epoch: int, counts: Integers) -> EpochOrder:
        """Return the order of one epoch over row groups with `counts` samples each."""
        return EpochOrder(self, epoch, counts)


class EpochOrder:
    """The order of one epoch over row groups with `counts` samples each, as described in the module docstring.

    Locating a position takes O(log groups); per stream only the permutation of the current window is stored.
    """

    def __init__(self, order: SampleOrder, epoch: int, counts: Integers) -> None:
        self._order, self._epoch = order, epoch
        shuffled = permutation(len(counts), order.seed, "groups", epoch)
        self._groups = shuffled[counts[shuffled] > 0]
        self._group_ends = np.cumsum(counts[self._groups])
        self._stream_length = int(counts.sum()) // order.streams
        self._window_shuffles: dict[int, tuple[int, Integers]] = {}

    def locate(self, position: int) -> SampleLocation:
        """Return the location of the sample at a position."""
        stream, window, is_late, offset = self._deinterleave(position)
        group_index = int(np.searchsorted(self._group_ends, offset, side="right"))
        group = int(self._groups[group_index])
        row = offset - (int(self._group_ends[group_index - 1]) if group_index else 0)
        return SampleLocation(stream, window, is_late, group_index, group, row)

    def window_groups(self, stream: int, window: int) -> range:
        """Return the indices of the row groups of a window; none if the stream has no such window.

        The samples that are left over by the streams are the only window of stream number `streams`.
        """
        streams, size = self._order.streams, self._order.window
        start = stream * self._stream_length + window * size
        end = min(start + size, (stream + 1) * self._stream_length) if stream < streams else int(self._group_ends[-1])
        if start >= end:
            return range(0)
        first, last = np.searchsorted(self._group_ends, (start, end - 1), side="right").tolist()
        return range(first, last + 1)

    def group_at(self, group_index: int) -> int:
        """Return the number, in the shard index, of a row group of the epoch's sequence."""
        return int(self._groups[group_index])

    def _deinterleave(self, position: int) -> tuple[int, int, bool, int]:
        """Return a position's stream and window, if it is late there, and its offset in the concatenated groups."""
        streams, size = self._order.streams, self._order.window
        if position >= self._stream_length * streams:
            return streams, 0, False, position
        index_in_stream, stream = divmod(position, streams)
        window, index_in_window = divmod(index_in_stream, size)
        shuffle = self._window_shuffle(stream, window)
        offset = stream * self._stream_length + window * size + int(shuffle[index_in_window])
        return stream, window, 4 * index_in_window >= 3 * len(shuffle), offset

    def _window_shuffle(self, stream: int, window: int) -> Integers:
        if self._window_shuffles.get(stream, (-1,))[0] != window:
            size = min(self._order.window, self._stream_length - window * self._order.window)
            shuffled = permutation(size, self._order.seed, "window", self._epoch, stream, window)
            self._window_shuffles[stream] = (window, shuffled)
        return self._window_shuffles[stream][1]


def permutation(size: int, seed: int, purpose: str, *keys: int) -> Integers:
    """Return a seeded permutation of range(size): the sort order of the raw output of a PCG64 generator.

    NumPy guarantees that raw streams stay the same across versions, but not `Generator.permutation`.
    """
    draws = np.random.PCG64(u64(seed, purpose, *map(str, keys))).random_raw(size)
    return np.argsort(draws, kind="stable")


def worker_positions(
    start: int, batch_size: int, *, rank: int, world_size: int, worker: int = 0, workers: int = 1
) -> range:
    """Return the positions of the batch [start, start + batch_size) that one worker of one rank loads.

    If batch_size is a multiple of `world_size`, every rank loads the same number, wherever the batch starts.
    """
    stride = world_size * workers
    first = start + (rank + world_size * worker - start) % stride
    return range(first, start + batch_size, stride)
