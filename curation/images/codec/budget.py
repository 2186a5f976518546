"""Run a function of bytes in a child process that has a budget of CPU time and memory for each call.

The child serves many calls. It is started at the first one, and again if it died: a call that exceeds its CPU time, or
crashes the interpreter, kills the child and no one else. A call that exceeds its memory gets a MemoryError.
"""

from __future__ import annotations

import math
import os
import resource
import selectors
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import BinaryIO

LENGTH = 8  # bytes of the number in front of every message
CHUNK = 1 << 20
INHERITED = frozenset(  # of the environment: what the interpreter, libraries and compiled code need, and no secrets
    {
        "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "NUMBA_CACHE_DIR", "PATH", "PYTHONHASHSEED", "TMPDIR",
        "WORLDCURATE_COMPILED", "XDG_CACHE_HOME",
    }
)  # fmt: skip


class KilledError(Exception):
    """The child died during a call."""


class CpuTimeError(KilledError):
    """The child was killed because a call exceeded its CPU time."""


class DeadlineError(KilledError):
    """The child was killed because the deadline of the caller had passed."""


@dataclass
class BudgetedProcess:
    """Calls `function` ("module:name", bytes to bytes) in a child, one call at a time.

    Attributes:
        function: must turn every exception into a result, MemoryError included.
        cpu_s: CPU seconds of one call.
        memory: bytes that a call may allocate.
        wait_s: seconds by the clock, including the start of the child, after which a call hangs.
    """

    function: str
    cpu_s: float
    memory: int
    wait_s: float = 300.0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _child: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    _owner: int = 0

    def call(self, request: bytes, deadline: float = math.inf) -> bytes:
        """Return the result of one call.

        Raises KilledError, or CpuTimeError, if the child dies or hangs, and DeadlineError if it is not finished at the
        deadline (by `time.monotonic`).
        """
        with self._lock:
            if time.monotonic() >= deadline:
                raise DeadlineError("the deadline has passed before the call")
            child = self._running()
            try:
                return _exchange(child, request, min(deadline, time.monotonic() + self.wait_s))
            except (OSError, EOFError) as error:
                self._child = None
                child.kill()
                failure = CpuTimeError if child.wait() == -signal.SIGPROF else KilledError
                if isinstance(error, TimeoutError) and time.monotonic() >= deadline:
                    failure = DeadlineError
                raise failure(f"exit status {child.returncode}") from error

    def close(self) -> None:
        """End the child, if there is one."""
        with self._lock:
            if self._child is not None:
                self._child.kill()
                self._child.communicate()
                self._child = None

    def _running(self) -> subprocess.Popen[bytes]:
        if self._child is None or self._owner != os.getpid():  # a fork must not share its parent's child
            program = f"from {__name__} import serve; serve({self.function!r}, {self.cpu_s}, {self.memory})"
            path = os.pathsep.join(filter(None, sys.path))
            self._child = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-c", program],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={name: os.environ[name] for name in INHERITED & os.environ.keys()} | {"PYTHONPATH": path},
            )
            os.set_blocking(self._child.stdin.fileno(), False)  # type: ignore[union-attr]  # it is a pipe
            self._owner = os.getpid()
        return self._child


def _exchange(child: subprocess.Popen[bytes], request: bytes, deadline: float) -> bytes:
    """Send a request and return the answer. Raises EOFError, BrokenPipeError or TimeoutError."""
    assert child.stdin is not None
    assert child.stdout is not None
    unsent = memoryview(len(request).to_bytes(LENGTH, "big") + request)
    received = bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdin, selectors.EVENT_WRITE)
        selector.register(child.stdout, selectors.EVENT_READ)
        while len(received) < LENGTH or len(received) < LENGTH + int.from_bytes(received[:LENGTH], "big"):
            ready = {key.fileobj for key, _ in selector.select(max(0.0, deadline - time.monotonic()))}
            if not ready:
                raise TimeoutError
            if child.stdin in ready:
                unsent = unsent[os.write(child.stdin.fileno(), unsent[:CHUNK]) :]
                if not unsent:
                    selector.unregister(child.stdin)
            if child.stdout in ready:
                part = os.read(child.stdout.fileno(), CHUNK)
                if not part:
                    raise EOFError
                received += part
    return bytes(received[LENGTH:])


def serve(function: str, cpu_s: float, memory: int) -> None:
    """Answer the calls of the parent process until it closes the pipe."""
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not look like an answer
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    module, _, name = function.partition(":")
    run = getattr(import_module(module), name)
    limit = _private_bytes() + memory
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    while (request := _message(requests)) is not None:
        signal.setitimer(signal.ITIMER_PROF, cpu_s)  # SIGPROF ends the process, whatever library it is in
        answer = run(request)
        signal.setitimer(signal.ITIMER_PROF, 0)
        answers.write(len(answer).to_bytes(LENGTH, "big") + answer)
        answers.flush()


def _message(stream: BinaryIO) -> bytes | None:
    """Return the next message, or None at the end."""
    length = stream.read(LENGTH)
    return stream.read(int.from_bytes(length, "big")) if len(length) == LENGTH else None


def _private_bytes() -> int:
    """Return the private writable memory of this process, which RLIMIT_DATA limits (proc(5), VmData)."""
    with Path("/proc/self/status").open(encoding="ascii") as status:
        line = next(line for line in status if line.startswith("VmData:"))
    return int(line.split()[1]) << 10
