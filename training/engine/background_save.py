"""Save checkpoints in a thread while training continues."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from torch import Tensor

from curation.errors import WorldcurateError
from training.engine.checkpoint import find
from training.engine.checkpoint_writer import Snapshot, save
from training.output.s3_copy import S3Copy

log = logging.getLogger(__name__)


class CheckpointSaver:
    """Saves one checkpoint at a time; rank 0 has it.

    Args:
        output: the output folder of the run.
        keep: number of newest checkpoints to keep.
        background: whether a copy of the state is written while training continues.
        s3_copy: the copy of the output on S3, if there is one; the folder then holds the newest checkpoint only.
    """

    def __init__(self, output: Path, *, keep: int, background: bool, s3_copy: S3Copy | None = None) -> None:
        self._output, self._keep, self._background, self._s3_copy = output, keep, background, s3_copy
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def save(self, snapshot: Snapshot, *, wait: bool = False, is_copy: bool = False) -> None:
        """Save a checkpoint, or start to, once the previous one is complete. Raises the errors of both.

        Args:
            snapshot: what to save.
            wait: whether to return only when it is saved.
            is_copy: whether the snapshot shares no memory with the run.
        """
        self.wait()
        if wait or not self._background:
            self._write(snapshot)
            return
        copy = snapshot if is_copy else snapshot.convert(_copy)
        # not a daemon: a process that ends with an error completes its last checkpoint first
        self._thread = threading.Thread(target=self._write_and_note, args=(copy,), name="save checkpoint")
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
        except WorldcurateError as failure:
            if error is None:
                raise
            log.warning("%s", failure)  # the error that ends the run is reported, too

    def _write(self, snapshot: Snapshot) -> None:
        if not self._s3_copy:
            log.info("saved %s", save(self._output, snapshot, keep=self._keep))
            return
        folder = save(self._output, snapshot, keep=1, taken=self._s3_copy.names())
        self._s3_copy.upload(folder, keep=self._keep)
        log.info("saved %s", self._s3_copy.location_of(folder.name))

    def _write_and_note(self, snapshot: Snapshot) -> None:
        try:
            self._write(snapshot)
        except Exception as error:
            self._error = error


def _copy(value: Any) -> Any:
    """Copy the tensors in nested mappings and sequences to memory of the CPU that training does not change."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {key: _copy(item) for key, item in value.items()}
    return type(value)(map(_copy, value)) if isinstance(value, list | tuple) else value
