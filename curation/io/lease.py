"""A lease: one process at a time holds it, renews it while it works, and loses it some time after it was killed.

    FOLDER/<n>.json     holder n: its name, when it got the lease, and until when it holds it

The holder is the one with the largest number. A process becomes the next one by a conditional write, which one of
several processes wins, if the last holder has released the lease, has let it expire, or was a process of this machine
that no longer exists. So clocks have to agree to within a fraction of the term.
"""

from __future__ import annotations

import getpass
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from curation.errors import InputError, WorldcurateError
from curation.io.paths import join
from curation.io.storage import Storage

log = logging.getLogger(__name__)

TERM_S = 600.0
RENEWALS = 5  # per term


@contextmanager
def hold_lease(storage: Storage, folder: str, what: str, term_s: float = TERM_S) -> Iterator[None]:
    """Hold the lease of a folder during the block.

    Raises InputError, which names the holder and says for how long it has held `what`, if another process holds it.
    """
    path = _acquire(storage, folder, what, term_s)
    since, ended = time.time(), threading.Event()

    def renew() -> None:
        while not ended.wait(term_s / RENEWALS):
            try:
                storage.write_bytes(path, _record(since, time.time() + term_s))
            except WorldcurateError as error:
                log.warning("%s: the lease could not be renewed: %s", what, error)

    renewer = threading.Thread(target=renew, daemon=True)
    renewer.start()
    try:
        yield
    finally:
        ended.set()
        renewer.join()
        storage.write_bytes(path, _record(since, 0.0))


def _acquire(storage: Storage, folder: str, what: str, term_s: float) -> str:
    """Become the next holder; return the path of its file. Files of earlier holders are deleted."""
    while True:
        paths = [file.path for file in storage.list_files(folder)]
        last = _read(storage, paths[-1]) if paths else None
        if last and last["until"] > time.time() and not _has_died(last):
            minutes = (time.time() - last["since"]) / 60
            raise InputError(
                f"{what} is in use by {last['holder']}, for {minutes:.0f} min: wait for it to end; if it was killed, "
                f"its lease ends in {(last['until'] - time.time()) / 60:.0f} min"
            )
        number = int(paths[-1].rpartition("/")[2].partition(".")[0]) + 1 if paths else 0
        path, now = join(folder, f"{number:08d}.json"), time.time()
        if storage.put_if_absent(path, _record(now, now + term_s)):
            storage.delete_files(paths)
            return path


def _record(since: float, until: float) -> bytes:
    holder = f"process {os.getpid()} of {getpass.getuser()} on {socket.gethostname()}"
    record = {"holder": holder, "since": since, "until": until, "pid": os.getpid(), "namespace": _namespace()}
    return json.dumps(record).encode()


def _read(storage: Storage, path: str) -> dict[str, Any] | None:
    """Return a holder's record; None if it was deleted since it was listed, or is damaged."""
    try:
        record: dict[str, Any] = json.loads(storage.read_bytes(path))
        return record if {"holder", "since", "until"} <= record.keys() else None
    except (InputError, ValueError):
        return None


def _has_died(record: dict[str, Any]) -> bool:
    """Return whether a holder is known to have died: a process that this one could see, and does not."""
    if not record.get("namespace") or record["namespace"] != _namespace():
        return False
    try:
        os.kill(int(record["pid"]), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, ValueError):  # it exists, or the record is damaged
        return False
    return False


def _namespace() -> str | None:
    """Return what identifies the processes that this one can see, which are those of its container; None if unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return None
