from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from curation.errors import InputError, UsageError
from training.output.lock import lock_output

HOLD = """
import sys
from pathlib import Path
from training.output.lock import lock_output
with lock_output(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_a_folder_is_locked_for_other_processes_until_its_own_ends_even_when_killed(tmp_path):
    folder = tmp_path / "a" / "out"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    assert holder.stdout.readline() == b"locked\n"
    line = rf"output: another run \(process {holder.pid} on .*\) is writing to {folder}: wait for it, or choose another"
    with pytest.raises(UsageError, match=line), lock_output(folder):
        pytest.fail("two processes have the lock")
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    with lock_output(folder):
        assert (folder / ".lock").read_text().startswith(f"process {os.getpid()} on ")
    with lock_output(folder):
        pass


def test_a_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.write_text("")
    for folder in (file, file / "out", Path("/proc/out")):
        with pytest.raises(UsageError, match=rf"^output: cannot write to {folder} \(.*\): choose a folder that"):
            lock_output(folder).__enter__()

    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(InputError, match=r"\(No space left on device\): check the disk"):
        lock_output(tmp_path / "out").__enter__()


def test_a_file_system_without_locks_is_a_warning(tmp_path, monkeypatch, caplog):
    def fail(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", fail)
    with lock_output(tmp_path):
        assert "cannot be locked (No locks available): start no other run in it" in caplog.text
