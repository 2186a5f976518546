"""Names in back quotes in docstrings and comments exist: modules, attributes, config keys, columns, parameters."""

from __future__ import annotations

import importlib
import importlib.util
import re
import subprocess
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from curation.cli.keys import keys_of
from curation.readers.robots import DIRECTIVES
from jobs.runtime.config import Config
from training.config import TrainConfig

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("curation", "jobs", "metadata", "training")
FILES = [
    path
    for path in subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", *(f"{package}/*.py" for package in PACKAGES)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    if (ROOT / path).exists()
]

# `name`, `name.name`, `name()`; longer code in back quotes is searched for names of the product's packages only
QUOTED = re.compile(r"`([^`\n]+)`")
NAME = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*(?:\(\))?", re.ASCII)
PRODUCT_NAME = re.compile(rf"(?<![\w./-])(?:{'|'.join(PACKAGES)})(?:\.[^\W\d]\w*)+", re.ASCII)
WORD = re.compile(r"[^\W\d]\w*")
FILE_OR_HOST = re.compile(r"[\w.-]+\.(?:com|html|jpe?g|json|jsonl|png|py|tar|tsv|txt|xml|yaml|zip)")
STARTS = (tokenize.ENCODING, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)

# Names that the product's code does not contain, each with the reason why prose may quote it.
ELSEWHERE = {
    "AWS_ACCESS_KEY_ID": "environment variable that boto3 reads",
    "commons.m": "site name in Wikimedia's page-view files",
    "MLFLOW_TRACKING_URI": "environment variable that MLflow reads",
    "WANDB_API_KEY": "environment variable that Weights & Biases reads",
    "WANDB_MODE": "environment variable that Weights & Biases reads",
    "localhost": "host name",
    "python3": "command",
    "srp": "ISO 639-3 code",
    "srp_Latn": "language label of other models",
    **{f"page_{directive}": "note whose name the WAT reader composes" for directive in DIRECTIVES},
}


class Source(NamedTuple):
    """A source file: its prose by line number, and the words of its code and of the strings in it."""

    prose: list[tuple[int, str]]
    words: set[str]


@cache
def parse(path: Path) -> Source:
    prose: list[tuple[int, str]] = []
    words: set[str] = set()
    with path.open("rb") as file:
        previous = tokenize.ENCODING
        for token in tokenize.tokenize(file.readline):
            if token.type == tokenize.COMMENT or (token.type == tokenize.STRING and previous in STARTS):
                prose.append((token.start[0], token.string))
            elif token.type != tokenize.ENCODING:
                words.update(WORD.findall(token.string))
            if token.type not in (tokenize.COMMENT, tokenize.NL):
                previous = token.type
    return Source(prose, words)


@cache
def all_words() -> frozenset[str]:
    """Return every word of the product's code, of its strings and of its module names."""
    return frozenset().union(*(parse(ROOT / path).words for path in FILES), *(WORD.findall(path) for path in FILES))


@cache
def config_keys() -> frozenset[str]:
    """Return every dotted config key, the sections above it, and the environment variable of every key."""
    keys = list(keys_of(Config))
    names = {".".join(key.split(".")[:length]) for key in keys for length in range(1, key.count(".") + 2)}
    variables = {
        model.model_config["env_prefix"] + key.replace(".", "__").upper()
        for model in (Config, TrainConfig)
        for key in keys_of(model)
    }
    return frozenset(names | variables)


def resolves(name: str) -> bool:
    """Return whether a dotted name that starts with a package of the product is a module or an attribute."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            spec = importlib.util.find_spec(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        if spec is None:
            continue
        value = importlib.import_module(spec.name) if length < len(parts) else None
        for part in parts[length:]:
            if not hasattr(value, part):
                return part in getattr(value, "__annotations__", {}) or part in getattr(value, "__slots__", ())
            value = getattr(value, part)
        return True
    return False


def quoted_names(path: str) -> Iterator[tuple[int, str]]:
    """Yield the names in back quotes in a file's prose, with their line numbers."""
    for start, text in parse(ROOT / path).prose:
        for match in QUOTED.finditer(text):
            line = start + text.count("\n", 0, match.start())
            if NAME.fullmatch(match[1]):
                yield line, match[1].removesuffix("()")
            else:
                yield from ((line, name) for name in PRODUCT_NAME.findall(match[1]))


def exists(name: str) -> bool:
    """Return whether a name is known; without a package of the product in front, if the code contains its words."""
    if name in config_keys() or name in ELSEWHERE or FILE_OR_HOST.fullmatch(name):
        return True
    if "." in name and name.split(".")[0] in PACKAGES:
        return resolves(name)
    return all_words().issuperset(WORD.findall(name))  # parameters, columns, names of other libraries


@pytest.mark.parametrize("path", FILES)
def test_every_quoted_name_exists(path):
    missing = [f"{path}:{line}: `{name}`" for line, name in quoted_names(path) if not exists(name)]
    assert not missing, "\n".join(["these names exist nowhere:", *missing])


def test_every_exemption_is_needed():
    quoted = {name for path in FILES for _, name in quoted_names(path)}
    composed = {f"page_{directive}" for directive in DIRECTIVES}
    unneeded = sorted(name for name in ELSEWHERE.keys() - composed if name not in quoted or name in all_words())
    assert not unneeded, "remove these from ELSEWHERE"


def test_a_missing_name_is_reported():
    for name in ("curation.lake.lake.Lake.publish", "metadata.version", "WORLDCURATE_BALANCE__T_EN", "image_id"):
        assert exists(name)
    for name in ("curation.lake.schemas.ORDER", "curation.absent", "metadata.absent", "steps_of", "lake.steps_of"):
        assert not exists(name)
