"""Load a configuration: a YAML file, overridden by the environment, overridden by flags."""

from __future__ import annotations

import argparse
import difflib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar, cast

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_settings import (
    BaseSettings,
    CliSettingsSource,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsError,
)

from curation.errors import UsageError

Settings = TypeVar("Settings", bound=BaseSettings)


def load_config(
    model: type[Settings], argv: Sequence[str], *, prog: str, description: str, required: Sequence[str] = ()
) -> Settings:
    """Read a configuration: the YAML file of `--config`, overridden by the environment, overridden by flags.

    `required` lists dotted keys that must be set. Raises UsageError with one line that names the key if it is unknown,
    missing, of the wrong type or out of range. `--help` prints every key and exits.
    """
    return load_with(config_parser(prog, description), model, argv, required)[0]


def config_parser(prog: str, description: str) -> argparse.ArgumentParser:
    """Return a parser with the option `--config`; the caller may add the options of the command."""
    parser = _Parser(
        prog=prog,
        usage="%(prog)s [--config FILE] [--option value …]",
        description=description,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", metavar="FILE", help="YAML file with the keys below")
    return parser


def load_with(
    parser: argparse.ArgumentParser, model: type[Settings], argv: Sequence[str], required: Sequence[str] = ()
) -> tuple[Settings, dict[str, Any]]:
    """Read a configuration as `load_config` does; return it with the values of the parser's options."""
    option_names = {action.dest for action in parser._actions} - {"help", "config"}
    source: Any = CliSettingsSource[argparse.ArgumentParser](
        model, cli_prog_name=parser.prog, root_parser=parser, cli_avoid_json=True, cli_hide_none_type=True
    )
    _state_defaults(parser, required)
    _check_environment(model)
    arguments = vars(parser.parse_args(argv))
    path = arguments.pop("config")
    options = {name: arguments.pop(name) for name in option_names}
    try:
        flags = source(parsed_args=argparse.Namespace(**arguments))
        file = InitSettingsSource(model, _read_yaml(path) if path else {})

        class Loaded(model):  # type: ignore[valid-type, misc]  # the sources differ between calls
            @classmethod
            def settings_customise_sources(
                cls, settings_cls: type[BaseSettings], **_: PydanticBaseSettingsSource
            ) -> tuple[PydanticBaseSettingsSource, ...]:
                return flags, EnvSettingsSource(settings_cls), file

        loaded = Loaded()
        # return the plain model, which can be pickled and copied without reading the sources again
        config: Any = model.model_construct(**{name: getattr(loaded, name) for name in model.model_fields})
    except ValidationError as error:
        raise UsageError(f"config: {'; '.join(describe_problem(p, model) for p in error.errors())}") from error
    except SettingsError as error:
        raise UsageError(f"config: {str(error).removeprefix('error parsing CLI: ')}") from error
    for key in required:
        if not _get(config, key):
            raise UsageError(
                f"config: key `{key}` is missing: {parser.prog} needs it: set it in the file or as --{key}"
            )
    return cast("Settings", config), options


def _state_defaults(parser: argparse.ArgumentParser, required: Sequence[str]) -> None:
    """Mark required keys in `--help`, and show at most one default per key.

    pydantic-settings ends the help of each key with `(default: …)`. That is removed if the description states the
    default itself, or if the key has none.
    """
    for action in parser._actions:
        text, found, default = (action.help or "").rpartition(" (default: ")
        if found and action.dest in required:
            action.help = f"{text} (required)"
        elif found and (default == "None)" or re.search(r"\bdefault( =|:)", text)):
            action.help = text
    for group in parser._action_groups:
        group.description = (group.description or "").removeprefix("default: None (undefined)\n") or None


def _check_environment(model: type[BaseSettings]) -> None:
    """Raise UsageError for a variable with the model's prefix but without a key, which would otherwise be ignored.

    A model lists other variables with its prefix as `other_variables`: names, or prefixes that end with `_`.
    """
    prefix, others = model.model_config["env_prefix"], getattr(model, "other_variables", ())
    other_prefixes = tuple(other for other in others if other.endswith("_"))
    known = {name.upper() for name in model.model_fields}
    for variable in sorted(os.environ):
        name = variable.removeprefix(prefix)
        if variable.startswith(prefix) and name not in others and not name.startswith(other_prefixes):
            section = name.partition("__")[0]
            if section not in known:
                raise UsageError(f"environment: {variable}: unknown key `{section.lower()}`")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see {self.prog} --help)")


class _PlainLoader(yaml.SafeLoader):
    """YAML loader that keeps scalars as text: the model converts them, and `batch: 2024-05-31` is not a date."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's hook
        first: [(tag, pattern) for tag, pattern in resolvers if tag.endswith((":null", ":merge"))]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def _read_yaml(path: str) -> dict[str, Any]:
    try:
        values = yaml.load(Path(path).read_text(encoding="utf-8"), _PlainLoader)  # noqa: S506 - a SafeLoader
    except OSError as error:
        raise UsageError(f"config: cannot read {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"config: {path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values or {}, dict):
        raise UsageError(f"config: {path} must have keys and values at the top level, not a {type(values).__name__}")
    return values or {}


def describe_problem(problem: Any, model: type[BaseModel]) -> str:
    """Return a description of one validation problem."""
    # pydantic adds the members of a union to the location; keys are plain names
    location = [str(part) for part in problem["loc"] if str(part).replace("_", "").isalnum()]
    key = ".".join(location)
    if problem["type"] == "extra_forbidden":
        matches = difflib.get_close_matches(key, sorted(keys_of(model)), n=1)
        return f"unknown key `{key}`" + (f" (did you mean `{matches[0]}`?)" if matches else "")
    message = problem["msg"].removeprefix("Value error, ")
    given = f", got {problem['input']!r}" if not isinstance(problem["input"], dict) else ""
    return f"key `{key}`: {message}{given}"


def keys_of(model: Any, prefix: str = "") -> dict[str, Any]:
    """Return every dotted key of a model with its field."""
    keys: dict[str, Any] = {}
    for name, info in model.model_fields.items():
        if hasattr(info.annotation, "model_fields"):
            keys |= keys_of(info.annotation, f"{prefix}{name}.")
        else:
            keys[prefix + name] = info
    return keys


def _get(config: Any, key: str) -> Any:
    for part in key.split("."):
        config = getattr(config, part)
    return config
