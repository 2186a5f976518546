"""The commands in the README and the docs exist and know the options that are shown with them."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from curation.cli.completion import options_of
from jobs.worldcurate import find_commands, parser_of

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *ROOT.glob("CONTRIBUTING.md")])
STARTS = re.compile(
    r"(?:-m (?P<module>(?:curation|jobs|metadata|training)\.[\w.]+)"
    r"|spark-submit .*?(?P<path>jobs/\w+)\.py|(?:^|[/ ])worldcurate (?P<name>[a-z]\w+)(?= --))"
)


def documented(page):
    """Return the line, the module and the options of each command that a page shows in code."""
    commands = []
    for line in code(page.read_text(encoding="utf-8")):
        for match in STARTS.finditer(line):
            module = match["module"] or (match["path"] or "").replace("/", ".") or find_commands().get(match["name"])
            arguments = re.split(r" [;|&#]", line[match.start() :])[0]
            _, _, arguments = arguments.partition(match["module"] or match["path"] or match["name"])
            commands.append((line.strip(), module, re.findall(r"(?<= )--[a-z][\w.]*", arguments)))
    return commands


def code(text):
    """Yield the lines of code blocks and the inline code of a Markdown text; a continued line is one line."""
    fenced = False
    for line in text.replace("\\\n", " ").splitlines():
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            yield line
        else:
            yield from re.findall(r"`([^`]+)`", line)


@cache
def options(module):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", [])
        parser = parser_of(module)
    assert parser is not None, module
    return {option.flag for option in options_of(parser)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_documented_commands_and_options_exist(page):
    modules = set(find_commands().values())
    for line, module, flags in documented(page):
        assert module in modules, line
        if flags:
            assert not set(flags) - options(module), line


def test_the_commands_of_a_page_are_found():
    found = [(module, flags) for _, module, flags in documented(ROOT / "docs" / "operations.md")]
    assert ("jobs.nightly", ["--config", "--batch"]) in found
    assert len(found) > 15
