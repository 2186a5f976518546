"""Save checkpoints in a thread while training continues."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Self

from curation.errors import WorldcurateError
from training.distributed import SAVE_THREAD, World
from training.engine.checkpoint import find
from training.engine.checkpoint_writer import save
from training.engine.snapshot import Snapshot
from training.output.s3_copy import S3Copy
from training.parallel.blocks import BlockPlan

log = logging.getLogger(__name__)


class CheckpointSaver:
    """Saves one checkpoint at a time; every rank has one, and they work together.

    Args:
        world: the ranks.
        output: the output folder of the run.
        keep: number of newest checkpoints to keep.
        background: whether a copy of the state is written while training continues.
        s3_copy: the copy of the output on S3, if there is one; the folder then holds the newest checkpoint only.

    Attributes:
        plan: which rank saves what.
    """

    def __init__(
        self, world: World, output: Path, *, keep: int, background: bool, s3_copy: S3Copy | None = None
    ) -> None:
        self.plan = BlockPlan(world)
        self._world = world.for_thread()  # the main thread exchanges with other ranks at the same time
        self._output, self._keep, self._background, self._s3_copy = output, keep, background, s3_copy
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def save(self, snapshot: Snapshot, *, wait: bool = False) -> None:
        """Save a checkpoint, or start to, once the previous one is complete; every rank must call it.

        Raises the errors of both. With `wait`, it returns only when the checkpoint is complete.
        """
        self.wait()
        if wait or not self._background:
            self._write(snapshot)
            return
        # not a daemon: a process that ends with an error completes its last checkpoint first
        self._thread = threading.Thread(target=self._write_and_note, args=(snapshot.copied(),), name=SAVE_THREAD)
        self._thread.start()

    def wait(self) -> None:
        """Wait until the checkpoint is complete. Raises the error that prevented it."""
        if self._thread:
            self._thread.join()
            self._thread = None
        if error := self._error:
            self._error = None
            raise error

    def newest(self) -> str | None:
        """Return the location of the newest complete checkpoint, once a save in the background is complete."""
        self.wait()
        if self._s3_copy:
            name = self._s3_copy.newest()
            return self._s3_copy.location_of(name) if name else None
        folder = find(self._output)
        return str(folder) if folder else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        """Wait until the checkpoint is complete, so that nothing is written to the output folder afterwards."""
        try:
            self.wait()
        except (WorldcurateError, RuntimeError, SystemExit) as failure:
            if error is None:
                raise
            if isinstance(failure, WorldcurateError):
                log.warning("%s", failure)  # the error that ends the run is reported, too

    def _write(self, snapshot: Snapshot) -> None:
        save(self._world, self._output, snapshot, keep=self._keep, s3_copy=self._s3_copy)

    def _write_and_note(self, snapshot: Snapshot) -> None:
        try:
            self._write(snapshot)
        except (Exception, SystemExit) as error:  # SystemExit: another rank has reported an error
            self._error = error
