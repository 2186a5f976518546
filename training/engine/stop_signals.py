"""Signals that ask a run to stop: SIGTERM, from Kubernetes and Slurm, and SIGUSR1, which Slurm sends before a limit."""

from __future__ import annotations

import logging
import signal
from types import FrameType
from typing import Any, Self

log = logging.getLogger(__name__)

STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class StopSignals:
    """Notes the signals while its block runs, so that a run can stop between two steps.

    Attributes:
        received: whether a signal has arrived.
    """

    def __init__(self) -> None:
        self.received = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._note) for number in STOP_SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        if not self.received:
            log.warning("%s: saving a checkpoint after this step, then stopping", signal.Signals(number).name)
        self.received = True
