"""The dotted keys of a configuration, descriptions of mistakes in them, and suggestions for misspelt ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import NoneType
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from curation.redaction import is_secret_name

MAX_SUGGESTIONS = 3


def keys_of(model: Any, prefix: str = "") -> dict[str, FieldInfo]:
    """Return every dotted key of a model with its field."""
    keys: dict[str, FieldInfo] = {}
    for name, info in model.model_fields.items():
        if section := section_of(info.annotation):
            keys |= keys_of(section, f"{prefix}{name}.")
        else:
            keys[prefix + name] = info
    return keys


def section_of(annotation: Any) -> type[BaseModel] | None:
    """Return the model of a section, which may be optional; None for the type of a key."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    sections = [part for part in get_args(annotation) if part is not NoneType]
    return section_of(sections[0]) if len(sections) == 1 and NoneType in get_args(annotation) else None


def item_section_of(annotation: Any) -> type[BaseModel] | None:
    """Return the model of sections in a dictionary (`metadata.limits`) or a list (`ingest.sources`)."""
    return section_of(get_args(annotation)[-1]) if get_origin(annotation) in (dict, list) else None


def describe_problem(problem: Any, model: type[BaseModel]) -> str:
    """Return a description of one validation problem, with suggestions for an unknown key."""
    location, container = _locate(problem["loc"], model)
    key = ".".join(location)
    if problem["type"] == "extra_forbidden":
        prefix = "".join(f"{part}." for part in location[:-1])
        near = suggest(key, {*all_keys(model), *(prefix + name for name in container.model_fields)})
        return f"unknown key `{key}`{did_you_mean(near)}"
    message = problem["msg"].removeprefix("Value error, ")
    shown = not isinstance(problem["input"], dict) and not any(map(is_secret_name, problem["loc"]))
    given = f", got {problem['input']!r}" if shown else ""
    return f"key `{key}`: {message}{given}" if key else message


def _locate(location: Iterable[Any], model: type[BaseModel]) -> tuple[list[str], type[BaseModel]]:
    """Return the parts of a problem's location that name keys, and the section that contains the last one."""
    names: list[str] = []
    container, annotation = model, None
    parts = iter(location)
    for part in parts:
        names.append(str(part))
        info = container.model_fields.get(str(part))
        if info is None:
            break
        annotation = info.annotation
        if section := item_section_of(annotation):
            names += [str(name) for name in [next(parts, None)] if name is not None]
        elif (section := section_of(annotation)) is None:
            break  # pydantic goes on with the members of unions and lists, which are not keys
        container = section
    if get_origin(annotation) is dict and not item_section_of(annotation):
        names += [str(name) for name in [next(parts, None)] if name not in (None, "[key]")]
    return names, container


def all_keys(model: type[BaseModel]) -> set[str]:
    """Return every dotted key and every section."""
    keys = keys_of(model)
    return {".".join(key.split(".")[:length]) for key in keys for length in range(1, key.count(".") + 2)}


def did_you_mean(names: list[str], quote: str = "`") -> str:
    """Return suggestions as they end a message; nothing without suggestions."""
    return f" (did you mean {' or '.join(f'{quote}{name}{quote}' for name in names)}?)" if names else ""


def suggest(name: str, known: Iterable[str]) -> list[str]:
    """Return the known dotted names that a misspelt one most likely means, at most three.

    They differ from it in case or hyphens, or else in the fewest characters, or else they have its last part.
    """
    names, folded = sorted(known), name.lower().replace("-", "_")
    if folded in names:
        return [folded]
    if near := _nearest(folded, {key: key for key in names}):
        return near
    leaves = {key: key.rpartition(".")[2] for key in names}
    leaf = folded.rpartition(".")[2]
    return [key for key in names if leaves[key] == leaf][:MAX_SUGGESTIONS] or _nearest(leaf, leaves)


def _nearest(name: str, spellings: dict[str, str]) -> list[str]:
    """Return the keys whose spelling has the smallest distance to a name, if it is small."""
    limit = max(1, (len(name) + 1) // 4)
    distances = {key: distance(name, spelling, limit) for key, spelling in spellings.items()}
    least = min(distances.values(), default=limit + 1)
    return [key for key in spellings if distances[key] == least][:MAX_SUGGESTIONS] if least <= limit else []


def distance(first: str, second: str, limit: int) -> int:
    """Return the number of insertions, deletions, substitutions and swaps of neighbors; `limit` + 1 if it is more."""
    if abs(len(first) - len(second)) > limit:
        return limit + 1
    rows = list(_distance_rows(first, second))
    return min(rows[-1][-1], limit + 1)


def _distance_rows(first: str, second: str) -> Iterator[list[int]]:
    before: list[int] = []
    row = list(range(len(second) + 1))
    yield row
    for i, a in enumerate(first, 1):
        two_before, before, row = before, row, [i]
        for j, b in enumerate(second, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a != b))
            if i > 1 and j > 1 and a == second[j - 2] and b == first[i - 2]:
                cost = min(cost, two_before[j - 2] + 1)
            row.append(cost)
        yield row
