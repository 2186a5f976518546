"""Hold the row groups that the current windows of a worker's streams need, and read the next ones ahead.

Each stream needs the row groups of its window (see `training.data.sample_order`). In the last quarter of a window, a
thread reads the groups of the next window, one at a time, so that a worker rarely waits for storage. Groups that no
window needs any more are released at once: at any time a worker holds, per stream, the groups of one window and those
read ahead for the next.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from training.data.sample_order import EpochOrder, SampleLocation
from training.data.shard_reader import RowGroup


class HeldGroups:
    """The row groups that the windows of one epoch need now.

    Args:
        order: the order of the epoch.
        load: reads a row group by its number in the shard index; only one thread calls it.
    """

    def __init__(self, order: EpochOrder, load: Callable[[int], RowGroup]) -> None:
        self._order, self._load = order, load
        self._thread = ThreadPoolExecutor(1, "row-groups")
        self._groups: dict[int, Future[RowGroup]] = {}  # by index in the epoch's sequence of row groups
        self._needed: dict[int, range] = {}  # per stream, the groups of its window and those to read ahead
        self._windows: dict[int, tuple[int, bool]] = {}  # per stream, the window, and whether the next is read ahead

    def group(self, location: SampleLocation) -> RowGroup:
        """Return the row group of a sample, waiting for it if it is still being read.

        Samples of a stream must be asked for in their order. Raises what `load` raises.
        """
        self._advance(location)
        return self._future(location.group_index).result()

    def _advance(self, location: SampleLocation) -> None:
        """Release what the window of a sample no longer needs; in its last quarter, start to read the next window."""
        state = (location.window, location.is_late)
        if self._windows.get(location.stream) == state:
            return
        self._windows[location.stream] = state
        needed = self._order.window_groups(location.stream, location.window)
        if location.is_late:
            ahead = self._order.window_groups(location.stream, location.window + 1)
            needed = range(needed.start, max(needed.stop, ahead.stop))
        self._needed[location.stream] = needed
        for index in [index for index in self._groups if not any(index in held for held in self._needed.values())]:
            self._groups.pop(index).cancel()
        for index in needed:
            self._future(index)

    def _future(self, index: int) -> Future[RowGroup]:
        if index not in self._groups:
            self._groups[index] = self._thread.submit(self._load, self._order.group_at(index))
        return self._groups[index]

    def close(self) -> None:
        """Release all row groups and end the thread."""
        self._thread.shutdown(cancel_futures=True)
        self._groups.clear()
