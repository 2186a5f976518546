"""SIGTERM ends a command as Ctrl-C does, once, and py4j's tracebacks of it are not logged."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from curation.cli.interruption import Terminated, is_noise, raise_on_sigterm
from curation.cli.run import run_command
from curation.errors import InputError

ROOT = Path(__file__).resolve().parents[3]


pytestmark = pytest.mark.usefixtures("logging_as_before")


def test_a_terminated_command_says_so_and_exits_with_143(capsys):
    cleaned = []

    def work(_):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)  # the second one is ignored
            cleaned.append(True)

    assert run_command(work, []) == 143
    assert cleaned == [True]
    assert capsys.readouterr().err.splitlines() == ["error: terminated"]


def test_the_handler_is_as_before_after_a_command():
    before = signal.getsignal(signal.SIGTERM)
    with raise_on_sigterm():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_forked_process_ends_at_once():
    ready, started = os.pipe()
    with raise_on_sigterm():
        if (child := os.fork()) == 0:
            os.write(started, b".")
            for _ in range(6000):
                time.sleep(0.01)  # not `signal.pause`, which would wait if the signal came just before it
            os._exit(0)
        os.read(ready, 1)  # Python drops signals that come during the fork
        os.kill(child, signal.SIGTERM)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM


def while_interrupted(error):
    error.__context__ = KeyboardInterrupt()
    return error


@pytest.mark.parametrize(
    ("path", "error", "noise"),
    [
        ("/x/py4j/java_gateway.py", KeyboardInterrupt(), True),
        ("/x/py4j/java_gateway.py", while_interrupted(OSError()), True),
        ("/x/py4j/java_gateway.py", OSError(), False),
        ("/x/jobs/match.py", KeyboardInterrupt(), False),
    ],
)
def test_only_tracebacks_of_py4j_of_an_interruption_are_noise(path, error, noise):
    record = logging.LogRecord("root", logging.ERROR, path, 1, "x", (), (type(error), error, None))
    assert is_noise(record) is noise


def test_the_logger_of_a_script_has_the_name_of_its_command(tmp_path):
    (tmp_path / "tool.py").write_text(
        "import logging, sys\nfrom curation.cli.run import run_command\nlog = logging.getLogger(__name__)\n"
        "sys.exit(run_command(lambda _: log.info('hello')))\n"
    )
    for arguments, name in ((["-m", "tool"], "tool"), ([str(tmp_path / "tool.py")], f"{tmp_path.name}.tool")):
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{tmp_path}"}
        command = [sys.executable, *arguments]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
        assert f"INFO {name}: hello" in done.stderr


@pytest.mark.parametrize(("stop", "code"), [(KeyboardInterrupt, 130), (Terminated, 143)])
@pytest.mark.parametrize("after", [RuntimeError("the connection is gone"), InputError("a task failed")])
def test_an_error_on_the_way_out_is_still_the_interruption(capsys, stop, code, after):
    def main(_):
        try:
            raise stop
        finally:
            raise after

    assert run_command(main, []) == code
    said = capsys.readouterr().err
    assert said.splitlines()[-1] in ("error: interrupted", "error: terminated")
    assert "Traceback" not in said
