"""The order in which samples are seen: a seeded function of the epoch, the same for any number of ranks and workers.

Samples are counted per row group, and an epoch's order is built in three steps:

1. The row groups are shuffled and laid end to end. What they hold, n samples, is cut into `streams` equal pieces.
2. Within a stream, windows of `window` samples are shuffled.
3. The streams are woven: position p of the epoch is the sample number p // streams of stream p mod streams. The
   n mod streams samples that are left come last.

Rank r of R takes the positions p with p mod R = r, and its worker j of N those with (p // R) mod N = j. So each sees
whole streams when R·N divides `streams`, reads its row groups once and one after the other, and holds those of one
window per stream (with the default window and row groups of 32 MiB, about 100 MB a stream); with other numbers the same
samples come in the same order and only more row groups are read twice.

A batch never crosses the end of an epoch: the positions that do not fill one are left out, others in every epoch, so
no batch holds a pair twice (which the contrastive loss would take for a wrong match). Progress is the epoch and the
position where the next batch begins: resuming is arithmetic, whatever the number of ranks and workers was before.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from curation.hashing import u64

Integers = npt.NDArray[np.int64]


class Progress(NamedTuple):
    """Where the next batch begins: a position in [0, samples) of an epoch."""

    epoch: int = 0
    position: int = 0

    def fitting(self, batch_size: int, samples: int) -> Progress:
        """Return where a batch of this size begins: here, or in the next epoch when this one has too few left."""
        return self if self.position + batch_size <= samples else Progress(self.epoch + 1, 0)

    def after(self, batch_size: int) -> Progress:
        """Return where the batch that begins here ends."""
        return Progress(self.epoch, self.position + batch_size)


class Place(NamedTuple):
    """Where a sample lies: the `row`-th sample of row group `group`.

    `stream` is the stream it came by, `turn` the group's place in the epoch's shuffled sequence of groups. The
    stream's window, and all that follows of the stream, lies in the groups from `oldest` on in that sequence.
    """

    stream: int
    oldest: int
    turn: int
    group: int
    row: int


class SampleOrder(NamedTuple):
    """What determines the order of every epoch, besides how many samples each row group holds."""

    seed: int = 0
    streams: int = 16
    window: int = 2048

    def epoch(self, epoch: int, counts: Integers) -> EpochOrder:
        """Return the order of one epoch over row groups with `counts` samples each."""
        return EpochOrder(self, epoch, counts)


class EpochOrder:
    """The order of one epoch over row groups with `counts` samples each, as the module describes it.

    A position is placed in O(log groups); only the current window's permutation of each stream is kept.
    """

    def __init__(self, order: SampleOrder, epoch: int, counts: Integers) -> None:
        self._order, self._epoch = order, epoch
        self._groups = permutation(len(counts), order.seed, "groups", epoch)
        self._ends = np.cumsum(counts[self._groups])
        self._length = int(counts.sum()) // order.streams
        self._shuffles: dict[int, tuple[int, Integers]] = {}

    def place(self, position: int) -> Place:
        """Return where the sample at a position lies."""
        stream, begin, sample = self._unweave(position)
        turn = int(np.searchsorted(self._ends, sample, side="right"))
        group = int(self._groups[turn])
        row = sample - (int(self._ends[turn - 1]) if turn else 0)
        return Place(stream, int(np.searchsorted(self._ends, begin, side="right")), turn, group, row)

    def _unweave(self, position: int) -> tuple[int, int, int]:
        """Return a position's stream, and in the sequence of all samples: its window's begin and its sample."""
        streams, size = self._order.streams, self._order.window
        woven = self._length * streams
        if position >= woven:
            return streams, woven, position
        nth, stream = divmod(position, streams)
        window, within = divmod(nth, size)
        begin = stream * self._length + window * size
        return stream, begin, begin + int(self._shuffle(stream, window)[within])

    def _shuffle(self, stream: int, window: int) -> Integers:
        if self._shuffles.get(stream, (-1,))[0] != window:
            size = min(self._order.window, self._length - window * self._order.window)
            shuffled = permutation(size, self._order.seed, "window", self._epoch, stream, window)
            self._shuffles[stream] = (window, shuffled)
        return self._shuffles[stream][1]


def permutation(size: int, seed: int, purpose: str, *keys: int) -> Integers:
    """Return a seeded permutation of range(size): the order of as many raw draws of a PCG-64.

    NumPy promises that raw streams stay the same over its versions, which it does not of `Generator.permutation`.
    """
    draws = np.random.PCG64(u64(seed, purpose, *map(str, keys))).random_raw(size)
    return np.argsort(draws, kind="stable")


def own_positions(start: int, batch_size: int, *, rank: int, world: int, worker: int = 0, workers: int = 1) -> range:
    """Return the positions of the batch [start, start + batch_size) that one worker of one rank loads.

    With batch_size a multiple of `world` every rank gets equally many, wherever the batch begins.
    """
    stride = world * workers
    first = start + (rank + world * worker - start) % stride
    return range(first, start + batch_size, stride)
