"""How long the steps take, and which share of that they wait for data."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import numpy as np

T = TypeVar("T")


class StepTimes:
    """Measures steps from the request of a batch to `end_step`; logging, evaluation and saving are between steps.

    Args:
        clock: seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._start = 0.0
        self._waits: list[float] = []
        self._steps: list[float] = []

    def batches(self, source: Iterable[T]) -> Iterator[T]:
        """Yield the items of a source and measure how long each one was waited for."""
        iterator = iter(source)
        while True:
            self._start = self._clock()
            try:
                batch = next(iterator)
            except StopIteration:
                return
            self._waits.append(self._clock() - self._start)
            yield batch

    def end_step(self) -> None:
        """Note that the computation of the present step is done."""
        self._steps.append(self._clock() - self._start)

    def take(self) -> dict[str, float]:
        """Return median, 95th percentile and maximum of the steps since the last call, and the share of waiting."""
        if not self._steps:
            return {}
        median, high = np.percentile(self._steps, [50, 95]).tolist()
        metrics = {
            "step_seconds_p50": median,
            "step_seconds_p95": high,
            "step_seconds_max": max(self._steps),
            "data_wait_share": sum(self._waits) / max(sum(self._steps), 1e-9),
        }
        self._waits, self._steps = [], []
        return metrics
