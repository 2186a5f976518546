"""Loader workers outlive the signal that asks the run to stop, because its last step still needs their batches."""

from __future__ import annotations

import signal
from types import FrameType


def survive_stop_signals(_: int = 0) -> None:
    """Ignore SIGUSR1 and the first SIGTERM in this process: Slurm sends them to every process of a job.

    A second SIGTERM ends it: the DataLoader sends one to a worker that does not end by itself.
    """
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _ignore_once)


def _ignore_once(number: int, _: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)
