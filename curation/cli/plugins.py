"""Classes that a configuration names by their import path, `package.module:Name`, with their parameters and models."""

from __future__ import annotations

import hashlib
import importlib
import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict, Field, model_validator

from curation.cli.locations import Location
from curation.errors import UsageError

IMPORT_PATH: Final = r"^\w+(\.\w+)*:\w+$"
FLOAT: Final = r"[+-]?(\d+\.\d*|\.\d+|\d+(?=[eE]))([eE][+-]?\d+)?"


class PluginSection(BaseModel):
    """A class with its parameters; one without parameters may be given by its import path alone."""

    model_config = ConfigDict(extra="allow", frozen=True)

    path_key: ClassVar[str]  # the field with the import path

    model: Location | None = Field(
        None, description="file or folder of the model that the class loads; all other keys are parameters of the class"
    )

    @model_validator(mode="before")
    @classmethod
    def _accept_path(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return {cls.path_key: value} if isinstance(value, str) else value
        return {key: part if key in cls.model_fields else _typed(part) for key, part in value.items()}

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters of the class, by name."""
        return {**(self.model_extra or {}), **({"model": self.model} if self.model else {})}


def _typed(value: Any) -> Any:
    """Return a parameter whose type no section declares: text that is a number, a truth value or null becomes that."""
    if isinstance(value, list):
        return [_typed(part) for part in value]
    if isinstance(value, dict):
        return {key: _typed(part) for key, part in value.items()}
    if isinstance(value, str) and re.fullmatch(r"-?(0|[1-9]\d*)|true|false|null", value):
        return json.loads(value)
    return float(value) if isinstance(value, str) and re.fullmatch(FLOAT, value) else value


def load_plugin(path: str, parameters: Mapping[str, Any], key: str) -> Any:
    """Return an object of the class at an import path.

    Raises UsageError, which starts with the `key` of the configuration, if the class cannot be imported or refuses its
    parameters.
    """
    module_name, _, name = path.partition(":")
    try:
        kind = getattr(importlib.import_module(module_name), name)
    except Exception as error:  # a module may raise anything
        raise UsageError(
            f"{key}: {path} cannot be imported ({_line(error)}): give module:Name of a class on the Python "
            f"path of this machine and of the executors"
        ) from error
    try:
        return kind(**parameters)
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(f"{key}: {path} refuses its parameters ({_line(error)}): correct them") from error


def missing_parts(made: Any, attributes: Sequence[str]) -> str:
    """Return what an object lacks of a protocol, for messages: attributes, or `__call__`; nothing if it lacks none."""
    missing = [name for name in attributes if not hasattr(made, name)]
    return ", ".join(missing) or ("" if callable(made) else "__call__")


def model_digest(path: str, key: str) -> str:
    """Return the SHA-256 of a model: of the names and contents of its file, or of the files of its folder.

    Raises UsageError, which names the key of the configuration, if it cannot be read.
    """
    root, digest = Path(path), hashlib.sha256()
    try:
        files = sorted(file for file in root.rglob("*") if file.is_file()) if root.is_dir() else [root]
        for file in files:
            state = file.stat()
            name = file.relative_to(root.parent if root == file else root)
            digest.update(f"{name}\0{_file_digest(file, state.st_size, state.st_mtime_ns)}\0".encode())
    except OSError as error:
        raise UsageError(f"{key}: model {path} cannot be read ({error.strerror}): correct the path") from error
    return digest.hexdigest()


@lru_cache(maxsize=1024)
def _file_digest(path: Path, _size: int, _modified: int) -> str:
    """Return the SHA-256 of a file; one with the same size and time has not changed since this process read it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
