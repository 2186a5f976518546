"""Run nights as a scheduler does: each until it ends with 0, again after the exit codes that allow it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random

AGAIN = frozenset({3, 130, 137, 143})
NO_ROOM = 5
PAUSE_S = 1.0
ATTEMPTS = 25


class FailedNightError(Exception):
    """A night ended with an exit code that forbids to repeat it, or was repeated too often."""


class Scheduler:
    """Runs commands and repeats them.

    Args:
        log: the file to which the commands write.
        environment: their variables.
        make_room: what an operator does when a disk is full.
        python: the words that start Python.

    Attributes:
        codes: how often each exit code was seen.
    """

    def __init__(
        self,
        log: Path,
        environment: Mapping[str, str],
        make_room: Callable[[], None] = lambda: None,
        python: Sequence[str] = (sys.executable,),
    ) -> None:
        self.codes: Counter[int] = Counter()
        self._log, self._environment, self._make_room = log, {**os.environ, **environment}, make_room
        self._python = python
        self._running: subprocess.Popen[bytes] | None = None

    def run(self, module: str, *arguments: str) -> int:
        """Run a module until it ends with 0; return how often it was repeated. Raises FailedNightError."""
        for attempt in range(ATTEMPTS):
            code = self.run_once(module, *arguments)
            if code == 0:
                return attempt
            if code not in (*AGAIN, NO_ROOM):
                raise FailedNightError(f"{module} {' '.join(arguments)} ended with {code}: see {self._log}")
            self._make_room()
            time.sleep(PAUSE_S)
        raise FailedNightError(f"{module} {' '.join(arguments)} was repeated {ATTEMPTS} times: see {self._log}")

    def run_once(self, module: str, *arguments: str) -> int:
        """Run a module once, and return its exit code as shells count."""
        with self._log.open("ab") as log:
            log.write(f"== {module} {' '.join(arguments)}\n".encode())
            log.flush()
            command = [*self._python, "-m", module, *arguments]
            self._running = subprocess.Popen(
                command, start_new_session=True, stdout=log, stderr=log, env=self._environment
            )
            code = self._running.wait()
            code = code if code >= 0 else 128 - code
            log.write(f"== exit code {code}\n".encode())
        self.codes[code] += 1
        return code

    def kill(self, _random: Random) -> bool:
        """Kill the running command with its JVM; return whether there was one."""
        running = self._running
        if running is None or running.poll() is not None:
            return False
        with suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
        return True
