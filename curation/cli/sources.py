"""The sources of a configuration: read a YAML file, and merge the values of several sources."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from curation.cli.keys import section_of
from curation.errors import UsageError

# errors of the text, and of scalars with explicit tags such as `!!int x`
NOT_YAML = (yaml.YAMLError, ValueError, TypeError, AttributeError, RecursionError)


class _PlainLoader(yaml.SafeLoader):
    """YAML loader that keeps scalars as text: the model converts them, and `batch: 2024-05-31` is not a date."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's hook
        first: [(tag, pattern) for tag, pattern in resolvers if tag.endswith((":null", ":merge"))]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def read_yaml(path: str) -> dict[str, Any]:
    """Return the keys and values of a YAML file.

    Raises UsageError if the file cannot be read, is not YAML, has no keys at the top level, or has a key twice.
    """
    try:
        loader = _PlainLoader(Path(path).read_text(encoding="utf-8"))
        node = loader.get_single_node()
        mistakes = list(_key_mistakes(node, "")) if node else []
        values = loader.construct_document(node) if node and not mistakes else {}
    except OSError as error:
        raise UsageError(f"config: cannot read {path}: {error.strerror}") from error
    except NOT_YAML as error:
        raise UsageError(f"config: {path} is not YAML: {_yaml_problem(error)}") from None
    if mistakes:
        raise UsageError(f"config: {path}: {'; '.join(mistakes)}")
    if not isinstance(values or {}, dict):
        raise UsageError(f"config: {path} must have keys and values at the top level, not a {type(values).__name__}")
    return values or {}


def _yaml_problem(error: Exception) -> str:
    """Return the problem and its place in one line, without the lines of the file, which may contain secrets."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if not isinstance(error, yaml.MarkedYAMLError):
        return " ".join(str(error).split())
    mark = error.problem_mark or error.context_mark
    place = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
    return " ".join(filter(None, [error.context, error.problem])) + place


def _key_mistakes(node: yaml.Node, prefix: str) -> Iterator[str]:
    """Yield a description of each key that is given twice or is not a name."""
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _key_mistakes(item, prefix)
    if not isinstance(node, yaml.MappingNode):
        return
    lines: dict[str, int] = {}
    for name, value in node.value:
        line = name.start_mark.line + 1
        if not isinstance(name, yaml.ScalarNode) or name.tag.endswith(":null"):
            yield f"line {line}: a key is not a name"
            continue
        key = f"{prefix}{name.value}"
        if not name.tag.endswith(":merge"):
            if name.value in lines:
                yield f"key `{key}` is given twice, in lines {lines[name.value]} and {line}: remove one"
            lines.setdefault(name.value, line)
        yield from _key_mistakes(value, f"{key}.")


def folder_of(path: str) -> str:
    """Return the folder to which relative paths in a config file refer.

    It is empty, which means the working directory, for a file in it and for a pipe such as `<(…)` in a shell.
    """
    folder = str(Path(path).parent)
    return folder if folder != "." and Path(path).is_file() else ""


def merge(model: type[BaseModel] | None, lower: Mapping[str, Any], higher: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of two sources; those of `higher` override those of `lower`.

    A model names groups of keys of which at most one may be set, in `alternatives`. A key of a group that is set in
    `higher` replaces all keys of the group that are set in `lower`.
    """
    merged = dict(lower)
    for group in getattr(model, "alternatives", ()):
        if any(higher.get(key) is not None for key in group):
            merged = {key: value for key, value in merged.items() if key not in group}
    for key, value in higher.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            info = model.model_fields.get(key) if model else None
            merged[key] = merge(section_of(info.annotation) if info else None, merged[key], value)
        else:
            merged[key] = value
    return merged
