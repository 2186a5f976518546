"""Every option of every command explains itself in `--help`."""

from __future__ import annotations

import argparse
import re
import runpy

import pytest

from jobs.runtime.job import main
from jobs.worldcurate import find_commands

COMMANDS = sorted(find_commands().values())


def test_the_commands_are_found():
    assert len(COMMANDS) > 15
    assert {"jobs.ingest", "metadata.download", "training.train", "curation.models"} <= set(COMMANDS)


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_has_help(command, monkeypatch, capsys):
    shown: list[argparse.ArgumentParser] = []
    print_help = argparse.ArgumentParser.print_help
    monkeypatch.setattr(argparse.ArgumentParser, "print_help", lambda self, *_: shown.append(self) or print_help(self))
    monkeypatch.setattr("sys.argv", [command, "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(command, run_name="__main__", alter_sys=True)
    assert ended.value.code == 0
    [parser] = shown
    assert parser.description
    assert not [action.option_strings for action in parser._actions if not action.help]
    assert not [
        action.help for action in parser._actions if len(re.findall(r"\bdefault( =|:)|required\)", action.help)) > 1
    ]
    assert "None" not in parser.format_help()
    flags = [flag.removeprefix("--no-").removeprefix("--") for each in parser._actions for flag in each.option_strings]
    assert not [flag for flag in flags if "-" in flag and flag != "-h"], "words in flags are joined by underscores"
    assert capsys.readouterr().out.startswith("usage: python -m ")


def test_the_help_of_a_job_shows_its_own_section_first(capsys):
    own = {"ingest": "ingest", "match": "match", "balance": "balance", "fetch_images": "images", "gc": "gc"}
    for job, section in {**own, "build_metadata": "metadata"}.items():
        with pytest.raises(SystemExit):
            main(f"jobs.{job}", ["--help"])
        titles = re.findall(r"^(?:\w+ options|options.*):$", capsys.readouterr().out, re.MULTILINE)
        titles = [title for title in titles if title != f"options of {job}:"]
        assert titles[:2] == ["options:", f"{section} options:"], job
