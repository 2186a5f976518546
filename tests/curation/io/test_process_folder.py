"""The temporary files of a killed process go when the next one starts; those of a running one stay."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from curation.io.process_folder import GRACE_S, PREFIX, remove_leftovers

PROGRAM = """
import sys, time
from curation.io.process_folder import make_process_folder
folder = make_process_folder()
(folder / "blockmgr-1").mkdir()
(folder / "blockmgr-1" / "data").write_bytes(b"x")
print(folder, flush=True)
sys.stdin.read()
"""


def start(temporary: Path) -> tuple[subprocess.Popen[str], Path]:
    environment = {**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": str(Path.cwd())}
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    return process, Path(process.stdout.readline().strip())


def test_folders_of_killed_processes_go_at_the_next_start_and_others_stay(tmp_path):
    running, kept = start(tmp_path)
    killed, left = start(tmp_path)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    foreign = tmp_path / "spark-of-somebody"
    foreign.mkdir()
    assert (left / "blockmgr-1" / "data").exists()
    third, own = start(tmp_path)
    assert not left.exists()
    assert (kept / "blockmgr-1" / "data").exists()
    for process in (running, third):
        process.communicate("")
    assert set(tmp_path.iterdir()) == {foreign}, "a process that ends removes its own"
    assert own.parent == tmp_path


def test_a_folder_without_a_lock_stays_while_its_process_may_be_making_it(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    new, old = tmp_path / f"{PREFIX}new", tmp_path / f"{PREFIX}old"
    for folder in (new, old):
        folder.mkdir()
    os.utime(old, (0, old.stat().st_mtime - GRACE_S - 60))
    remove_leftovers()
    assert list(tmp_path.iterdir()) == [new]
