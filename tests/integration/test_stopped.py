"""A job that is stopped from outside ends with one line, its exit code and its metrics."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from jobs.runtime.config import Config
from jobs.runtime.context import Context
from support.loopback import Answer, serving
from support.nights import publish_metadata

pytestmark = pytest.mark.spark


@pytest.mark.parametrize(
    ("number", "to_group", "line", "code"),
    [
        (signal.SIGINT, True, "error: interrupted", 130),  # Ctrl-C
        (signal.SIGTERM, False, "error: terminated", 143),  # Docker, Kubernetes
        (signal.SIGTERM, True, "error: terminated", 143),  # systemd, timeout
    ],
)
def test_a_stopped_job_says_so_in_one_line_and_in_its_metrics(tmp_path, number, to_group, line, code):
    reading, stopped, times = threading.Event(), threading.Event(), Counter[str]()

    def wait(request):
        times[request.path] += 1
        if request.path == "/9.jsonl" and times[request.path] == 2:  # after the listing; a task of Spark reads it
            reading.set()
            stopped.wait(60)
        return Answer(200, b"""{"url": "http://a.example/1.jpg", "text": "a cat"}\n""")

    lake = tmp_path / "lake"
    publish_metadata(Context(Config(lake=str(lake), batch="b1"), "test"))
    with serving(wait) as server:
        (tmp_path / "files.paths").write_text("".join(f"{server.url}/{number}.jsonl\n" for number in range(10)))
        arguments = ["--lake", str(lake), "--batch", "b1", "--ingest.inputs", str(tmp_path / "files.paths")]
        command = [sys.executable, "-m", "jobs.ingest", *arguments, "--ingest.format", "jsonl"]
        # a file, because processes of Spark that end later keep a pipe open
        (tmp_path / "t").mkdir()
        environment = {**os.environ, "TMPDIR": str(tmp_path / "t")}
        with (tmp_path / "stderr").open("w") as stderr:
            job = subprocess.Popen(command, start_new_session=True, stderr=stderr, env=environment)
        try:
            assert reading.wait(120)
            (os.killpg if to_group else os.kill)(job.pid, number)
            job.wait(30)
        finally:
            stopped.set()
            job.kill()
    said = (tmp_path / "stderr").read_text()
    lines = said.splitlines()
    assert (job.returncode, lines.count(line)) == (code, 1), said
    assert to_group or lines[-1] == line, said  # processes of Spark that get the signal too may log what they lose
    assert "Traceback" not in said, said
    assert "ERROR root" not in said, said
    assert "at org.apache" not in said
    metrics = (lake / "reports" / "metrics" / "worldcurate_ingest.prom").read_text()
    assert f'worldcurate_last_run_exit_code{{stage="ingest"}} {code}.0' in metrics
    assert not list((tmp_path / "t").glob("worldcurate-run-*")), "the folder of temporary files is removed"
    for _ in range(300):
        if not (left := processes_of_session(job.pid)):
            break
        time.sleep(0.1)
    assert not left, "the JVM and its workers end too"


def processes_of_session(session: int) -> list[str]:
    """Return the names of the processes that a job has started and that still run."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            name, _, fields = stat.read_text().rpartition(")")
            state, _, _, of_session, *_ = fields.split()
            if int(of_session) == session and state != "Z":
                found.append(name.partition("(")[2])
    return found
