"""Find the processes that a run of this package started, directly or not: all have a mark in their environment."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

MARK = "CHAOS_RUN"  # environment variable; Spark's workers pass it on to their executors, and these to Python


@dataclass(frozen=True)
class Process:
    """A running process: its id and its command line."""

    pid: int
    command: str


def find_processes(mark: str, pattern: str = "") -> list[Process]:
    """Return the running processes with a mark whose command lines match a regular expression somewhere, by id."""
    return sorted((p for p in _marked(mark) if re.search(pattern, p.command)), key=lambda process: process.pid)


def _marked(mark: str) -> Iterator[Process]:
    wanted = f"{MARK}={mark}".encode()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            with suppress(OSError, ValueError, IndexError):  # it has ended, or belongs to another user
                if wanted not in (folder / "environ").read_bytes().split(b"\0"):
                    continue
                state = (folder / "stat").read_text().rpartition(") ")[2][0]
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if state not in "ZX" and command:
                    yield Process(int(folder.name), command)


def kill(pid: int) -> None:
    """End a process at once (SIGKILL), if it exists."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def kill_all(mark: str) -> None:
    """End all processes with a mark, also those that they start meanwhile."""
    while found := find_processes(mark):
        for process in found:
            kill(process.pid)
