"""Kill a command with all that it started, process groups of their own included, as Spark's workers have."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path


def kill_session(command: subprocess.Popen[bytes]) -> None:
    """Kill (SIGKILL) all processes of a command that was started with `start_new_session`; return when none is left."""
    while members := _members(command.pid):
        for pid in members:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        command.poll()  # so that it is no zombie
        time.sleep(0.01)
    command.wait()


def _members(session: int) -> list[int]:
    """Return the living processes of a session (proc(5), fields 3 and 6 of stat)."""
    members = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            state, _, _, owner = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(owner) == session and state not in "ZX":
                members.append(int(folder.name))
    return members
