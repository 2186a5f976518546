"""Load a configuration: a YAML file, overridden by the environment, overridden by flags."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial, reduce
from typing import Any, NoReturn, TypeVar, cast, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_settings import (
    BaseSettings,
    CliSettingsSource,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsError,
)

from curation.cli.keys import describe_problem, did_you_mean, item_section_of, keys_of, suggest
from curation.cli.locations import resolve_paths
from curation.cli.log import VARIABLES, add_standard_options
from curation.cli.sources import folder_of, merge, read_yaml
from curation.errors import UsageError
from curation.redaction import know_secrets

Settings = TypeVar("Settings", bound=BaseSettings)


def load_config(
    model: type[Settings],
    argv: Sequence[str],
    *,
    prog: str,
    description: str,
    required: Sequence[str] = (),
    sections: Sequence[str] = (),
) -> Settings:
    """Read a configuration: the YAML file of `--config`, overridden by the environment, overridden by flags.

    A relative path in the file is relative to the folder of the file, any other to the working directory.

    `required` lists dotted keys that must be set; of alternatives, `a|b`, one must be. Raises UsageError with one line
    that names the key if it is unknown, missing, of the wrong type or out of range. `--help` prints every key and
    exits; it shows `sections` first.
    """
    return load_with(config_parser(prog, description), model, argv, required, sections)[0]


def parse_without_config(prog: str, description: str, argv: Sequence[str]) -> None:
    """Parse the command line of a command that has only the options of every command."""
    parser = _Parser(prog=prog, description=description, allow_abbrev=False)
    add_standard_options(parser)
    parser.parse_args(argv)


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
    parser: argparse.ArgumentParser,
    model: type[Settings],
    argv: Sequence[str],
    required: Sequence[str] = (),
    sections: Sequence[str] = (),
) -> tuple[Settings, dict[str, Any]]:
    """Read a configuration as `load_config` does; return it with the values of the parser's options."""
    named = {*model.model_fields, *(action.dest for action in parser._actions)}
    standard = add_standard_options(parser, version="version" not in named)
    option_names = {action.dest for action in parser._actions} - {"help", "config", *standard}
    source: Any = CliSettingsSource[argparse.ArgumentParser](
        model, cli_prog_name=parser.prog, root_parser=parser, cli_avoid_json=True, cli_hide_none_type=True
    )
    _state_defaults(parser, required)
    add_key_groups(parser, model)
    _show_first(parser, sections)
    _check_environment(model)
    arguments = vars(parser.parse_args(argv))
    path = arguments.pop("config")
    for name in standard:
        arguments.pop(name, None)
    options = {name: arguments.pop(name) for name in option_names}
    try:
        flags = source(parsed_args=argparse.Namespace(**arguments))
        file = resolve_paths(model, read_yaml(path), folder_of(path)) if path else {}
        given = reduce(partial(merge, model), (file, EnvSettingsSource(model)(), flags()))
        values = InitSettingsSource(model, resolve_paths(model, given, ""))

        class Loaded(model):  # type: ignore[valid-type, misc]  # the values differ between calls
            @classmethod
            def settings_customise_sources(
                cls, *_: Any, **__: PydanticBaseSettingsSource
            ) -> tuple[PydanticBaseSettingsSource, ...]:
                return (values,)

        loaded = Loaded()
        # return the plain model, which can be pickled and copied without reading the sources again
        config: Any = model.model_construct(**{name: getattr(loaded, name) for name in model.model_fields})
    except ValidationError as error:
        problems = [describe_problem(p, model) + _set_by(p["loc"], model, flags()) for p in error.errors()]
        problems += _missing(partial(_get_item, values()), required, parser.prog)
        raise UsageError(f"config: {'; '.join(problems)}") from error
    except SettingsError as error:
        raise UsageError(f"config: {str(error).removeprefix('error parsing CLI: ')}") from error
    know_secrets(config.model_dump())
    if missing := _missing(partial(_get, config), required, parser.prog):
        raise UsageError(f"config: {missing[0]}")
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


def add_key_groups(parser: argparse.ArgumentParser, model: type[BaseModel]) -> None:
    """Describe in `--help` the keys of sections in a dictionary or list, such as `metadata.limits`."""
    for key, info in keys_of(model).items():
        if section := item_section_of(info.annotation):
            described = {name: field.description for name, field in section.model_fields.items()}
            width = max(map(len, described)) + 2
            lines = (f"{name:{width}}{text}" for name, text in described.items())
            item = "each of " + key if get_origin(info.annotation) is list else f"{key}.NAME"
            parser.add_argument_group(f"keys of {item}, in the file or as JSON", "\n".join(lines))


def _show_first(parser: argparse.ArgumentParser, sections: Sequence[str]) -> None:
    """Show the groups of some sections right after the options that are in none."""
    groups = parser._action_groups
    chosen = [group for group in groups if (group.title or "").removesuffix(" options").split(".")[0] in sections]
    others = [group for group in groups if group not in chosen]
    start = 1 + max(others.index(group) for group in (parser._optionals, *others[:1]))
    parser._action_groups = [*others[:start], *chosen, *others[start:]]


def _check_environment(model: type[BaseSettings]) -> None:
    """Raise UsageError for a variable with the model's prefix but without a key, which would otherwise be ignored.

    A model lists other variables with its prefix as `other_variables`: names, or prefixes that end with `_`.
    """
    prefix, others = model.model_config["env_prefix"], (*getattr(model, "other_variables", ()), *VARIABLES)
    other_prefixes = tuple(other for other in others if other.endswith("_"))
    known = {name.upper() for name in model.model_fields}
    for variable in sorted(os.environ):
        name = variable.removeprefix(prefix)
        if variable.startswith(prefix) and name not in others and not name.startswith(other_prefixes):
            section = name.partition("__")[0]
            if section not in known:
                near = [prefix + key.upper() + name[len(section) :] for key in suggest(section, model.model_fields)]
                raise UsageError(f"environment: {variable}: unknown key `{section.lower()}`{did_you_mean(near)}")


def _set_by(location: Sequence[Any], model: type[BaseSettings], flags: Mapping[str, Any]) -> str:
    """Return the note of a problem whose value comes from the environment; nothing if it does not."""
    variables = {name.upper(): name for name in os.environ}
    parts = [str(part) for part in location]
    for length in range(len(parts), 0, -1):
        name = (model.model_config["env_prefix"] + "__".join(parts[:length])).upper()
        if name in variables and not _has(flags, parts[:length]):
            return f" (set by the environment variable {variables[name]})"
    return ""


def _has(values: Any, keys: Sequence[str]) -> bool:
    """Return whether nested values have a key."""
    for key in keys:
        if not isinstance(values, Mapping) or key not in values:
            return False
        values = values[key]
    return True


class _Parser(argparse.ArgumentParser):
    """Parser whose errors are UsageErrors, with suggestions for unknown options."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see {self.prog} --help)")

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            self._refuse(unknown[0].partition("=")[0])
        return parsed

    def _refuse(self, name: str) -> NoReturn:
        if not name.startswith("-"):
            self.error(f"unexpected argument {name!r}")
        flags = [flag[2:] for action in self._actions for flag in action.option_strings if flag.startswith("--")]
        near = [f"--{flag}" for flag in suggest(name.lstrip("-"), flags)]
        self.error(f"unknown option `{name}`{did_you_mean(near)}")


def _missing(value_of: Callable[[str], Any], required: Sequence[str], prog: str) -> list[str]:
    """Return one sentence that names all required keys without a value, of alternatives the first; or nothing."""
    keys = [key.partition("|")[0] for key in required if not any(value_of(name) for name in key.split("|"))]
    if not keys:
        return []
    names, flags = (", ".join(form.format(key) for key in keys) for form in ("`{}`", "--{}"))
    subject, them = (f"key {names} is", "it") if len(keys) == 1 else (f"keys {names} are", "them")
    return [f"{subject} missing: {prog} needs {them}: set {them} in the file or as {flags}"]


def _get(config: Any, key: str) -> Any:
    for part in key.split("."):
        config = getattr(config, part)
    return config


def _get_item(values: Any, key: str) -> Any:
    for part in key.split("."):
        values = values.get(part) if isinstance(values, Mapping) else None
    return values
