"""What every command shares: reading the configuration, logging, and turning errors into exit codes."""

from __future__ import annotations

import argparse
import difflib
import logging
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar, cast

import yaml
from pydantic import ValidationError
from pydantic_settings import (
    BaseSettings,
    CliSettingsSource,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsError,
)

from curation.errors import UsageError, WorldcurateError

Settings = TypeVar("Settings", bound=BaseSettings)

log = logging.getLogger(__name__)

# variables that share the prefix of the jobs' keys without being one of them
OTHER_VARIABLES = ("CACHE", "TRAINING_", "EVALUATE_", "DOWNLOAD_", "API_")


def run(main: Callable[[Sequence[str]], None], argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0 done, 1 bug, else the code of its WorldcurateError."""
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
        force=True,
    )
    for chatty in ("py4j", "botocore", "boto3", "urllib3", "httpx", "wikipediaapi"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    try:
        main(sys.argv[1:] if argv is None else argv)
    except WorldcurateError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - the one line a user reads
        return error.exit_code
    except Exception:
        traceback.print_exc()
        print("error: this is a bug in worldcurate; the lines above say where", file=sys.stderr)  # noqa: T201 - as above
        return 1
    return 0


def load_config(
    model: type[Settings], argv: Sequence[str], *, prog: str, description: str, required: Sequence[str] = ()
) -> Settings:
    """Read a configuration: the YAML file of `--config`, overridden by the environment, overridden by flags.

    `required` names keys, dotted, that this command cannot do without. Raises UsageError with one line that names
    the key: unknown, missing, of a wrong type, or out of range. `--help` prints every key and exits.
    """
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    early.add_argument("--config")
    path = early.parse_known_args(argv)[0].config
    _check_environment(model)
    try:
        cli = _command_line(model, argv, prog, description)
        file = InitSettingsSource(model, _read_yaml(path) if path else {})

        class Loaded(model):  # type: ignore[valid-type, misc]  # the sources differ per call
            @classmethod
            def settings_customise_sources(
                cls, settings_cls: type[BaseSettings], **_: PydanticBaseSettingsSource
            ) -> tuple[PydanticBaseSettingsSource, ...]:
                return cli, EnvSettingsSource(settings_cls), file

        loaded = Loaded()
        # handed on as the plain model, which pickles and can be copied without reading the sources again
        config: Any = model.model_construct(**{name: getattr(loaded, name) for name in model.model_fields})
    except ValidationError as error:
        raise UsageError(f"config: {'; '.join(_say(problem, model) for problem in error.errors())}") from error
    except SettingsError as error:
        raise UsageError(f"config: {str(error).removeprefix('error parsing CLI: ')}") from error
    for key in required:
        if not _get(config, key):
            raise UsageError(f"config: key `{key}` is missing: {prog} needs it (in the file or as --{key})")
    return cast("Settings", config)


def own_parser(prog: str) -> argparse.ArgumentParser:
    """Return a parser for the options that a command has beside the config's; `--help` is left to the config."""
    return argparse.ArgumentParser(prog=prog, add_help=False, allow_abbrev=False, exit_on_error=False)


def parse_own(parser: argparse.ArgumentParser, argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Return a command's own options and the arguments that are left for the config; UsageError on a bad value."""
    try:
        return parser.parse_known_args(argv)
    except argparse.ArgumentError as error:
        raise UsageError(f"{error} (see {parser.prog} --help)") from error


def _check_environment(model: type[BaseSettings]) -> None:
    """Raise UsageError for a variable with the model's prefix that names no key: a typing error would go unseen."""
    prefix = model.model_config["env_prefix"]
    known = {name.upper() for name in model.model_fields}
    for variable in sorted(os.environ):
        name = variable.removeprefix(prefix)
        if variable.startswith(prefix) and not name.startswith(OTHER_VARIABLES):
            section = name.partition("__")[0]
            if section not in known:
                raise UsageError(f"environment: {variable} names no key: there is no `{section.lower()}`")


def _command_line(model: type[Settings], argv: Sequence[str], prog: str, description: str) -> Any:
    raw = argparse.RawDescriptionHelpFormatter  # a description shows the command's own options, a line each
    parser = _Parser(
        prog=prog,
        usage="%(prog)s [--config FILE] [--key value …]",
        description=description,
        allow_abbrev=False,
        formatter_class=raw,
    )
    parser.add_argument("--config", metavar="FILE", help="the YAML file with these keys")
    source = CliSettingsSource[argparse.ArgumentParser](
        model, cli_prog_name=prog, root_parser=parser, cli_avoid_json=True, cli_hide_none_type=True
    )
    arguments = parser.parse_args(argv)
    del arguments.config
    return source(parsed_args=arguments)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see {self.prog} --help)")


class _PlainLoader(yaml.SafeLoader):
    """YAML whose scalars stay text: the model knows the types, and `batch: 2024-05-31` is a name, not a date."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own hook
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
        raise UsageError(f"config: {path} must hold keys and values, not a {type(values).__name__}")
    return values or {}


def _say(problem: Any, model: type[BaseSettings]) -> str:
    """Return one validation problem as a person reads it."""
    # pydantic adds the tried member of a union to the place; a key is a plain name
    place = [str(part) for part in problem["loc"] if str(part).replace("_", "").isalnum()]
    key = ".".join(place)
    if problem["type"] == "extra_forbidden":
        near = difflib.get_close_matches(key, sorted(keys_of(model)), n=1)
        return f"unknown key `{key}`" + (f" (did you mean `{near[0]}`?)" if near else "")
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
