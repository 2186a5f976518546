"""Commands that have options in addition to the keys of a configuration."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Any, ClassVar, Generic, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from curation.cli.keys import describe_problem
from curation.cli.settings import config_parser, load_with
from curation.errors import UsageError

log = logging.getLogger(__name__)


class CommandOptions(BaseModel):
    """The options of one command: each field is a flag `--name` (or its alias), with its description as help.

    `former_flags` maps flags that were renamed to the fields they set; they still work, with a warning.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    former_flags: ClassVar[dict[str, str]] = {}


Settings = TypeVar("Settings", bound=BaseSettings)
Options = TypeVar("Options", bound=CommandOptions)


@dataclass(frozen=True)
class Command(Generic[Options, Settings]):
    """The command line of a command: its options and its configuration.

    Args:
        prog: the command, such as `python -m jobs.explain`.
        description: the text above the options in `--help`.
        options: the model of its options.
        config: the model of the configuration, whose keys are accepted too.
        required: dotted keys of the configuration that must be set; of alternatives, `a|b`, one must be.
        sections: sections of the configuration that `--help` shows first.
    """

    prog: str
    description: str
    options: type[Options]
    config: type[Settings]
    required: Sequence[str] = ()
    sections: Sequence[str] = ()

    def parse(self, argv: Sequence[str]) -> tuple[Options, Settings]:
        """Return the options and the configuration. Raises UsageError with one line that names the problem."""
        parser = config_parser(self.prog, self.description)
        group = parser.add_argument_group(f"options of {self.prog.rpartition('.')[2]}")
        for name, field in self.options.model_fields.items():
            _add_flag(group, field.alias or name, field)
        parser._action_groups.insert(0, parser._action_groups.pop())  # list the command's options first in --help
        config, given = load_with(parser, self.config, self._current_flags(argv), self.required, self.sections)
        given = {name: value for name, value in given.items() if value is not None}
        try:
            return self.options(**given), config
        except ValidationError as error:
            problems = "; ".join(describe_problem(problem, self.options) for problem in error.errors())
            raise UsageError(f"{problems.replace('key `', 'option `--')} (see {self.prog} --help)") from error

    def _current_flags(self, argv: Sequence[str]) -> list[str]:
        """Replace renamed flags, with a warning."""
        arguments = []
        for argument in argv:
            flag, equals, value = argument.partition("=")
            if flag in self.options.former_flags:
                current = f"--{self.options.former_flags[flag]}"
                log.warning("%s is now called %s", flag, current)
                flag = current
            arguments.append(f"{flag}{equals}{value}")
        return arguments


def _add_flag(group: Any, name: str, field: FieldInfo) -> None:
    """Add the flag of one field; the model itself converts and checks the value."""
    kind = _without_none(field.annotation)
    if kind is bool:
        group.add_argument(f"--{name}", action="store_true", default=None, help=field.description)
        return
    if get_origin(kind) is list:
        group.add_argument(f"--{name}", metavar=name.upper(), action="append", help=f"{field.description} (repeatable)")
        return
    extra = field.json_schema_extra
    if isinstance(extra, dict) and "bare" in extra:  # a flag whose value may be left out
        shown = {"metavar": extra["metavar"], "help": field.description}
        group.add_argument(f"--{name}", nargs="?", const=extra["bare"], default=None, **shown)
        return
    choices = get_args(kind) if get_origin(kind) is Literal else None
    default = "" if field.default is None else f" (default: {field.default})"
    metavar = "{" + ",".join(choices) + "}" if choices else getattr(kind, "__name__", "value").upper()
    group.add_argument(f"--{name}", metavar=metavar, choices=choices, help=f"{field.description}{default}")


def _without_none(annotation: Any) -> Any:
    """Return the type of an optional annotation `T | None`, or the annotation itself."""
    kinds = [kind for kind in get_args(annotation) if kind is not NoneType]
    return kinds[0] if len(kinds) == 1 and NoneType in get_args(annotation) else annotation
