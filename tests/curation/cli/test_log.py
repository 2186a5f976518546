"""Every command can be quiet, log JSON lines and print its version."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation import __version__
from curation.cli.log import json_line, shows_progress_bar
from curation.cli.run import run_command
from curation.errors import InputError
from jobs.runtime.job import main
from jobs.worldcurate import find_commands

ROOT = Path(__file__).resolve().parents[3]
log = logging.getLogger("worldcurate.test")


pytestmark = pytest.mark.usefixtures("logging_as_before")


def talk(_):
    log.info("starting %s", "now")
    log.warning("two\nlines and token=abcdefgh12345678")
    raise InputError("cannot read s3://b/x?X-Amz-Signature=abcdefgh12345678")


def bug(_):
    log.info("starting")
    raise ZeroDivisionError("x")


def lines(capsys) -> list[str]:
    output = capsys.readouterr()
    assert output.out == ""
    return output.err.splitlines()


@pytest.mark.parametrize("arguments", [["--log_format", "json"], ["--log_format=json", "--lake", "x"]])
def test_each_line_of_a_json_log_is_an_object_without_secrets(capsys, arguments):
    assert run_command(talk, arguments) == 3
    objects = [json.loads(line) for line in lines(capsys)]
    assert [(each["level"], each["logger"]) for each in objects] == [
        ("INFO", "worldcurate.test"),
        ("WARNING", "worldcurate.test"),
        ("ERROR", "worldcurate"),
    ]
    assert objects[0]["message"] == "starting now"
    assert "two\nlines" in objects[1]["message"]
    assert "abcdefgh12345678" not in json.dumps(objects)
    assert all(each["time"].endswith("+00:00") for each in objects)


def test_a_bug_and_a_warning_of_a_library_are_one_json_line_each(capsys):
    def command(argv):
        warnings.warn("old", UserWarning, stacklevel=1)
        bug(argv)

    assert run_command(command, ["--log_format", "json"]) == 1
    *_, error = objects = [json.loads(line) for line in lines(capsys)]
    assert [each["logger"] for each in objects] == ["py.warnings", "worldcurate.test", "worldcurate"]
    assert "ZeroDivisionError: x" in error["traceback"]
    assert "bug in worldcurate" in error["message"]


@given(st.text(), st.text(st.characters(codec=None, exclude_categories=())), st.none() | st.text())
def test_any_message_is_one_line_of_valid_json(name, message, error):
    line = json_line("INFO", name, message, error)
    assert "\n" not in line
    assert line.isascii()
    assert json.loads(line).keys() >= {"time", "level", "logger", "message"}


def test_a_quiet_command_logs_only_warnings_and_errors(capsys, monkeypatch):
    assert run_command(talk, ["--quiet"]) == 3
    loud = lines(capsys)
    assert [line.split()[2] for line in loud if line[:2] == "20"] == ["WARNING"]
    assert loud[-1].startswith("error: cannot read")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert not shows_progress_bar()


def test_variables_set_the_log_too_and_flags_come_first(capsys, monkeypatch):
    monkeypatch.setenv("WORLDCURATE_LOG_FORMAT", "json")
    monkeypatch.setenv("WORLDCURATE_QUIET", "true")
    assert run_command(talk, []) == 3
    assert [json.loads(line)["level"] for line in lines(capsys)] == ["WARNING", "ERROR"]
    assert run_command(talk, ["--log_format", "text"]) == 3
    assert lines(capsys)[-1].startswith("error: ")


@pytest.mark.parametrize("arguments", [["--log_format", "xml"], ["--log_format"]])
def test_an_unknown_format_is_refused_in_one_line(capsys, arguments):
    assert main("jobs.gc", [*arguments, "--lake", "x"][: 3 if len(arguments) > 1 else 1]) == 2
    [line] = lines(capsys)
    assert line.startswith("error: ")
    assert "log_format" in line


def test_an_interrupted_command_exits_with_130(capsys):
    def interrupt(_):
        raise KeyboardInterrupt

    assert run_command(interrupt, []) == 130
    assert lines(capsys) == ["error: interrupted"]


@pytest.mark.parametrize("command", ["match", "explain", "download", "precompile", "models", "evaluate"])
def test_a_command_prints_the_version(command):
    module = find_commands()[command]
    done = subprocess.run(
        [sys.executable, "-m", module, "--version"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"worldcurate {__version__}\n"


def test_the_version_of_the_shards_table_stays_a_key_of_training():
    from curation.cli.settings import load_config
    from training.config import TrainConfig

    argv = ["--version", "3", "--steps", "1", "--quiet", "--log_format", "json"]
    assert load_config(TrainConfig, argv, prog="x", description="").version == 3
