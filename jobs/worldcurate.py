"""The console script `worldcurate`: `worldcurate ingest …` does the same as `python -m jobs.ingest …`.

A command is a module of the four packages that runs as a program. It is found, and described in `--help`, from its
source alone, so listing the commands imports neither Spark nor PyTorch. It runs as `python -m` would run it. Without
the console script, `python -m jobs.worldcurate` does the same.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import difflib
import re
import runpy
import sys
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import curation
from curation.cli.completion import SHELLS, completion_script, options_of

PACKAGES = ("jobs", "metadata", "training", "curation")
THIS_MODULE = "jobs.worldcurate"  # runs the commands, and is none itself
COMPLETION = "Print a script that completes commands and options: `worldcurate completion {bash,zsh,fish}`."
USAGE = """\
usage: worldcurate COMMAND [--config FILE] [--option value …]
       worldcurate COMMAND --help
       worldcurate --version

Curate worldwide image-text data: build metadata, match, balance, fetch images and train.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that the first argument names; return the exit code of a command that does not exit itself."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    name = arguments[0] if arguments else ""
    if name in ("-h", "--help", ""):
        print(overview(), file=sys.stdout if name else sys.stderr)
        return 0 if name else 2
    if name == "--version":
        print(f"worldcurate {curation.__version__}")  # noqa: T201 - the output of this command
        return 0
    if name == "completion":
        return print_completion(arguments[1:])
    commands = find_commands()
    if name not in commands:
        near = difflib.get_close_matches(name, [*commands, "completion"], n=1)
        hint = f"did you mean `{near[0]}`?" if near else "`worldcurate --help` lists the commands"
        print(f"error: command `{name}`: unknown: {hint}", file=sys.stderr)  # noqa: T201 - the one line a user reads
        return 2
    run_module(commands[name], arguments[1:])
    return 0


def find_commands() -> dict[str, str]:
    """Return the module of each command by its name, the last part of the module's."""
    commands = {}
    for package in PACKAGES:
        root = _source(package).parent
        for path in sorted(root.rglob("*.py")):
            module = ".".join((package, *path.relative_to(root).with_suffix("").parts))
            if module != THIS_MODULE and _is_program(path):
                commands[path.stem] = module
    return commands


def overview() -> str:
    """Return the text of `worldcurate --help`: every command with one line, by package."""
    commands = find_commands()
    lines = [USAGE]
    width = max(map(len, [*commands, "completion"]))
    for package in PACKAGES:
        lines.append(f"{package}:")
        for name, module in sorted(commands.items()):
            if module.partition(".")[0] == package:
                lines.append(f"  {name:{width}}  {summary(_source(module))}")
        lines.append("")
    return "\n".join([*lines, f"  {'completion':{width}}  {COMPLETION}"])


def summary(path: Path) -> str:
    """Return the first sentence of a module's docstring, without the example that may end it."""
    first = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n\n")[0]
    sentence = re.split(r"(?<=\.)\s", " ".join(first.split()))[0]
    return re.sub(r": `.*", "", sentence).rstrip(".") + "."


def run_module(module: str, arguments: Sequence[str]) -> None:
    """Run a module as `python -m` does; most end with SystemExit, which carries their exit code."""
    sys.argv = [str(_source(module)), *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def print_completion(arguments: Sequence[str]) -> int:
    """Print the completion script of a shell, with the options that each command has now."""
    if len(arguments) != 1 or arguments[0] not in SHELLS:
        print(f"error: completion: needs one shell: one of {', '.join(SHELLS)}", file=sys.stderr)  # noqa: T201
        return 2
    commands = find_commands()
    summaries = {name: summary(_source(module)) for name, module in commands.items()} | {"completion": COMPLETION}
    parsers = {name: parser_of(module) for name, module in commands.items()}
    options = {name: options_of(parser) for name, parser in parsers.items() if parser}
    print(completion_script(arguments[0], summaries, options))  # noqa: T201 - the output of this command
    return 0


def parser_of(module: str) -> argparse.ArgumentParser | None:
    """Return the parser that a command builds for `--help`, or None when a library that it needs is not installed."""
    parsers: list[argparse.ArgumentParser] = []
    print_help = argparse.ArgumentParser.print_help
    replacement: Any = lambda parser, *_: parsers.append(parser)  # noqa: E731 - a def would need a name for one line
    argparse.ArgumentParser.print_help = replacement  # type: ignore[method-assign]
    try:
        with warnings.catch_warnings(), contextlib.suppress(SystemExit, ImportError):
            warnings.simplefilter("ignore", RuntimeWarning)  # an earlier command may have imported this one's module
            run_module(module, ["--help"])
    finally:
        argparse.ArgumentParser.print_help = print_help  # type: ignore[method-assign]
    return parsers[0] if parsers else None


def _source(module: str) -> Path:
    """Return a module's file without importing it; find_spec would import the packages that contain it."""
    package, *parts = module.split(".")
    spec = find_spec(package)
    assert spec is not None, "the packages are installed together"
    assert spec.origin is not None, "none is a namespace package"
    return Path(spec.origin).parent.joinpath(*parts).with_suffix(".py") if parts else Path(spec.origin)


def _is_program(path: Path) -> bool:
    """Return whether a file ends as commands do, with a block that exits with a code."""
    source = path.read_text(encoding="utf-8")
    return "__main__" in source and any(
        isinstance(node, ast.If)
        and ast.unparse(node.test) == "__name__ == '__main__'"
        and "sys.exit(" in ast.unparse(node)
        for node in ast.parse(source).body
    )


if __name__ == "__main__":
    sys.exit(main())
