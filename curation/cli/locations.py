"""Config keys that hold paths: a relative path in a config file is relative to the folder of that file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import BaseModel, BeforeValidator
from pydantic.fields import FieldInfo

from curation.cli.keys import item_section_of, section_of

SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


@dataclass(frozen=True)
class PathKey:
    """Marks the type of a key that holds paths.

    Attributes:
        words: values that are not paths.
        labeled: whether a value may be `label=path`.
    """

    words: tuple[str, ...] = ()
    labeled: bool = False

    def resolve(self, value: Any, folder: str) -> Any:
        """Return a value with its relative paths below `folder`, and `~` as the home folder."""
        if isinstance(value, dict):
            return {key: self.resolve(part, folder) for key, part in value.items()}
        if isinstance(value, list | tuple):
            return [self.resolve(part, folder) for part in value]
        if not isinstance(value, str) or not value or value.lower() in self.words or SCHEME.match(value):
            return value
        label, equals, path = value.partition("=") if self._is_labeled(value) else ("", "", value)
        if path == "~" or path.startswith("~/"):
            path = f"{Path.home()}{path[1:]}"
        is_relative = folder and not path.startswith("/") and not SCHEME.match(path)
        return f"{label}{equals}{folder.rstrip('/')}/{path}" if is_relative else label + equals + path

    def _is_labeled(self, value: str) -> bool:
        return self.labeled and "{code}" not in value and re.match(r"\w+=", value) is not None


Location = Annotated[str, PathKey()]
Locations = Annotated[list[str], BeforeValidator(lambda value: [value] if isinstance(value, str) else value), PathKey()]


def resolve_paths(model: type[BaseModel], values: Mapping[str, Any], folder: str) -> dict[str, Any]:
    """Return the values of a configuration, before validation, with relative paths below `folder`."""
    resolved = dict(values)
    for name, info in model.model_fields.items():
        value = resolved.get(name)
        if isinstance(value, Mapping) and (section := section_of(info.annotation)):
            resolved[name] = resolve_paths(section, value, folder)
        elif isinstance(value, Mapping) and (section := item_section_of(info.annotation)):
            resolved[name] = {key: _resolve_item(section, part, folder) for key, part in value.items()}
        elif isinstance(value, list | tuple) and (section := item_section_of(info.annotation)):
            resolved[name] = [_resolve_item(section, part, folder) for part in value]
        elif value is not None and (key := path_key(info)):
            resolved[name] = key.resolve(value, folder)
    return resolved


def _resolve_item(section: type[BaseModel], value: Any, folder: str) -> Any:
    return resolve_paths(section, value, folder) if isinstance(value, Mapping) else value


def path_key(info: FieldInfo) -> PathKey | None:
    """Return the mark of a field that holds paths; None for other fields."""
    return _find(reversed(info.metadata)) or _find([info.annotation])


def _find(parts: Any) -> PathKey | None:
    for part in parts:
        if isinstance(part, PathKey):
            return part
        if found := _find(getattr(part, "__metadata__", ())) or _find(get_args(part)):
            return found
    return None
