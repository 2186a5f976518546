"""The console script lists the commands, runs each as `python -m` does, and completes words in the shell."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.worldcurate import find_commands, main, summary

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = "import sys; from jobs.worldcurate import main; sys.exit(main())"
# Prints, for every command, the exit code and the help of the module run by `python -m` and by the console script.
HELP_TWICE = """
import contextlib, io, json, runpy, sys, warnings
from jobs.worldcurate import find_commands, main

warnings.simplefilter("ignore", RuntimeWarning)
results = {}
for name, module in find_commands().items():
    def as_module():
        sys.argv = [module, "--help"]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    for start in (as_module, lambda: main([name, "--help"])):
        out, code = io.StringIO(), None
        with contextlib.redirect_stdout(out):
            try:
                start()
            except SystemExit as end:
                code = end.code
        results.setdefault(name, []).append([code, out.getvalue()])
print(json.dumps(results))
"""
# Writes the completion script of each shell to a folder, in one process, as the commands take seconds to import.
COMPLETIONS = """
import contextlib, pathlib, sys
from jobs.worldcurate import main

folder = pathlib.Path(sys.argv[1])
for shell in ("bash", "zsh", "fish"):
    with (folder / shell).open("w") as file, contextlib.redirect_stdout(file):
        assert main(["completion", shell]) == 0
"""


def run(*command, **options):
    return subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False, **options)


@pytest.fixture(scope="module")
def completions(tmp_path_factory):
    """The completion script of each shell, as a file."""
    folder = tmp_path_factory.mktemp("completion")
    done = run("-c", COMPLETIONS, str(folder))
    assert (done.returncode, done.stderr) == (0, "")
    return folder


def test_every_command_has_a_name_of_its_own():
    programs = [
        path
        for package in ("curation", "jobs", "metadata", "training")
        for path in (ROOT / package).rglob("*.py")
        if "\n    sys.exit(" in path.read_text(encoding="utf-8") and path.stem != "worldcurate"
    ]
    commands = find_commands()
    assert sorted(commands) == sorted(path.stem for path in programs)
    assert {"ingest", "nightly", "download", "api", "models", "precompile", "train", "evaluate"} <= set(commands)


def test_the_overview_shows_one_line_per_command(capsys):
    assert main(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name in [*find_commands(), "completion"]:
        [line] = [line for line in lines if line.startswith(f"  {name} ")]
        assert line.endswith(".")


def test_the_module_prints_the_same_overview_as_the_console_script(capsys):
    assert main(["--help"]) == 0
    done = run("-m", "jobs.worldcurate", "--help")
    assert (done.returncode, done.stdout, done.stderr) == (0, capsys.readouterr().out, "")
    assert run("-m", "jobs.worldcurate").returncode == 2


def test_listing_the_commands_imports_neither_spark_nor_torch():
    done = run("-X", "importtime", "-c", SCRIPT, "--help")
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "jobs.worldcurate" in imported
    assert not imported & {"pyspark", "torch", "numba", "pyarrow"}


def test_the_line_of_a_command_is_the_first_sentence_without_its_example(tmp_path):
    path = tmp_path / "command.py"
    path.write_text('"""Count rows\nof a table: `python -m x`, or y.\n\nMore."""\n')
    assert ast.get_docstring(ast.parse(path.read_text()))
    assert summary(path) == "Count rows of a table."


def test_every_help_equals_that_of_the_module():
    done = run("-c", HELP_TWICE, timeout=300)
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    assert len(results) > 15
    for name, (as_module, as_command) in results.items():
        assert as_module[0] in (0, None)
        assert "usage:" in as_module[1]
        assert as_command == as_module, name


@pytest.mark.parametrize(
    "arguments", [("gc",), ("explain", "--no_such_option"), ("evaluate", "--config", "missing.yaml"), ("models", "-x")]
)
def test_exit_codes_and_errors_are_those_of_the_module(arguments):
    name, *rest = arguments
    command, module = run("-c", SCRIPT, name, *rest), run("-m", find_commands()[name], *rest)
    assert module.returncode == 2
    assert (command.returncode, command.stdout, command.stderr) == (2, module.stdout, module.stderr)


def test_an_unknown_command_is_one_line_with_a_suggestion(capsys):
    assert main(["ingets", "--help"]) == 2
    assert capsys.readouterr().err == "error: command `ingets`: unknown: did you mean `ingest`?\n"
    assert main(["qqqq"]) == 2
    assert capsys.readouterr().err == "error: command `qqqq`: unknown: `worldcurate --help` lists the commands\n"


def test_no_command_prints_the_overview_and_is_a_usage_error(capsys):
    assert main([]) == 2
    assert "usage: worldcurate" in capsys.readouterr().err


def test_the_version_is_printed(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("worldcurate ")


def test_completion_needs_a_known_shell(capsys):
    assert main(["completion", "tcsh"]) == 2
    assert capsys.readouterr().err == "error: completion: needs one shell: one of bash, zsh, fish\n"


@pytest.mark.skipif(not shutil.which("bash"), reason="bash is not installed")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["nig"], "nightly"),
        (["--v"], "--version"),
        (["balance", "--balance.po"], "--balance.policy"),
        (["balance", "--balance.policy", ""], "tail_proportion fixed none"),
        (["ingest", "--ingest.format", "w"], "wat webdataset"),
        (["ingest", "--config", "c"], ""),  # an empty reply: bash completes file names
        (["explain", "--json", "--image_i"], "--image_id"),
        (["train", "--draw", "o"], "online"),
        (["completion", "f"], "fish"),
    ],
)
def test_bash_completes_commands_options_and_values(completions, words, expected):
    typed = " ".join(f"'{word}'" for word in ["worldcurate", *words])
    script = f"""
    source "$1"
    COMP_WORDS=({typed}) COMP_CWORD={len(words)}
    _worldcurate
    echo "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["bash", "-uc", script, "bash", completions / "bash"], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == (f"{expected}\n", "")


@pytest.mark.skipif(not shutil.which("fish"), reason="fish is not installed")
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("worldcurate nig", {"nightly"}),
        ("worldcurate balance --balance.po", {"--balance.policy"}),
        ("worldcurate balance --balance.policy ", {"tail_proportion", "fixed", "none"}),
        ("worldcurate completion ", {"bash", "zsh", "fish"}),
    ],
)
def test_fish_completes_commands_options_and_values(completions, line, expected, tmp_path):
    command = ["fish", "-c", f'source "$argv[1]"; complete -C "{line}"', completions / "fish"]
    environment = {**os.environ, "HOME": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert {word.partition("\t")[0] for word in done.stdout.splitlines()} == expected


@pytest.mark.skipif(not shutil.which("zsh"), reason="zsh is not installed")
@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("worldcurate nig", "worldcurate nightly"),
        ("worldcurate balance --balance.po", "worldcurate balance --balance.policy"),
        ("worldcurate balance --balance.policy fi", "worldcurate balance --balance.policy fixed"),
    ],
)
def test_zsh_completes_commands_options_and_values(completions, typed, completed, tmp_path):
    """An interactive zsh gets the words and a tabulator, then shows the line it has."""
    script = f"""
    zmodload zsh/zpty
    zpty shell zsh -f -i
    zpty -w shell "autoload -Uz compinit; compinit -u -d '{tmp_path}/dump'; source '{completions}/zsh'"
    zpty -w shell "show() {{ print -r -- \\"<\\$BUFFER>\\" }}; zle -N show"
    zpty -w shell "bindkey '^X' show; PS1='ready '; print begin"
    zpty -r shell line '*begin*ready*'
    zpty -w -n shell "{typed}"$'\\t\\x18'
    zpty -r -m shell line '*>*'
    print -r -- $line
    """
    command = ["zsh", "-f", "-c", script]
    environment = {**os.environ, "TERM": "dumb"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, env=environment)
    assert f"<{completed} >" in done.stdout
